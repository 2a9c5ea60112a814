"""What the periodic averaging optimizers share: sampling and write-back, the averaged view, checkpoints."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from lightsleeper.averaging.optimizer_state import StateAtWriteBack, StatePolicy
from lightsleeper.averaging.sampling import SamplingGate
from lightsleeper.averaging.wrapper import NonFinite, OptimizerWrapper, unique_parameters
from lightsleeper.errors import InputError, LightsleeperError

__all__ = ["PeriodicOptimizer", "WeightValues"]

WeightValues = list[tuple[Tensor, Tensor]]
"""Parameters, each with a value for it of the same shape."""

_STATE_VERSION = 2


class PeriodicOptimizer(OptimizerWrapper):
    """Base of PSWA, PWALKS and PSWM; a subclass says what is sampled and what is written back.

    Args:
        base: the optimizer that makes the steps.
        gate: when to sample and to write back.
        state: what becomes of the inner optimizer's state at a write-back.
        nonfinite: ``"raise"`` or ``"skip"`` when the loss is NaN or infinite.
        after_write_back: called after each write-back.
    """

    def __init__(
        self,
        base: Optimizer,
        *,
        gate: SamplingGate,
        state: StateAtWriteBack,
        nonfinite: NonFinite,
        after_write_back: Callable[[], object] | None,
    ) -> None:
        super().__init__(base, nonfinite=nonfinite)
        self.gate = gate
        self.state_policy = StatePolicy(base, state)
        self.after_write_back = after_write_back
        self.write_backs = 0
        self._own_weights: WeightValues | None = None

    @property
    def window_steps(self) -> int:
        """Steps from one write-back to the next. A run of fewer steps has none, and trains as ``base`` alone does."""
        return self.gate.steps_per_window

    def __repr__(self) -> str:
        head, line_end, groups = super().__repr__().partition("\n")
        return (
            f"{head}{line_end}    {self.steps} steps made, {self.write_backs} write-backs, "
            f"one after each {self.window_steps} steps{line_end}{groups}"
        )

    def _trainable(self) -> list[Tensor]:
        """Return the parameters that are not frozen now, each once."""
        return [p for p in unique_parameters(self.param_groups) if p.requires_grad]

    def _sample(self) -> None:
        """Take the present weights as a sample."""
        raise NotImplementedError

    def _end_period(self) -> None:
        """Act at the end of a period, before a write-back that falls there too."""

    def _end_window(self) -> WeightValues:
        """End the window and return what is written back; nothing where it had no sample."""
        raise NotImplementedError

    def _estimates(self) -> WeightValues:
        """Return the best present estimate of the averaged weights; nothing where the weights themselves are."""
        raise NotImplementedError

    def _options(self) -> dict[str, Any]:
        """Return the options that a checkpoint must share with the optimizer that continues from it."""
        gate = self.gate
        return {
            "period": gate.period,
            "sample_share": gate.sample_share,
            "sample_probability": gate.sample_probability,
            "write_back_every": gate.write_back_every,
            "sample_every": gate.sample_every,
            "seed": gate.seed,
            "state": self.state_policy.kind,
        }

    def _rule_state(self, parameters: list[Tensor]) -> dict[str, Any]:
        """Return the subclass's own part of a checkpoint."""
        raise NotImplementedError

    def _load_rule_state(self, state: dict[str, Any], parameters: list[Tensor]) -> None:
        """Continue from the subclass's own part of a checkpoint."""
        raise NotImplementedError

    def _before_step(self) -> None:
        if self._own_weights is not None:
            raise InputError(
                "step() inside averaged(): the weights are the average there, leave the context to train on"
            )

    def _after_step(self) -> None:
        step, self.steps = self.steps, self.steps + 1
        if self.gate.samples(step):
            self._sample()
            self.state_policy.sample()
        if self.gate.ends_period(step):
            with torch.no_grad():
                self._end_period()
                if self.gate.ends_window(step):
                    self._write_back()

    def _write_back(self) -> None:
        values = self._end_window()
        if not values:
            return
        self._require_finite(values)
        _assign([(parameter, value) for parameter, value in values if parameter.requires_grad])
        self.state_policy.write_back()
        self.write_backs += 1
        if self.after_write_back is not None:
            with torch.enable_grad():
                self.after_write_back()

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Give the parameters the best averaged weights; on leaving, also by an exception, exactly their own again.

        In the middle of a period that is the mean of its samples so far; before its first sample, the mean last written
        back; before that, the weights as they are. A copy of the weights is held meanwhile. :meth:`step` is refused
        inside. BatchNorm buffers are left alone: see :mod:`lightsleeper.averaging.batch_norm`.

        Raises:
            LightsleeperError: the weights had become NaN or infinite.
        """
        if self._own_weights is not None:
            yield
            return
        values = self._estimates()
        self._require_finite(values)
        with torch.no_grad():
            own = [(parameter, parameter.detach().clone()) for parameter, _ in values]
            _assign(values)
        self._own_weights = own
        try:
            yield
        finally:
            self._own_weights = None
            with torch.no_grad():
                _assign(own)

    def _require_finite(self, values: WeightValues) -> None:
        # A NaN or infinity that was ever sampled stays in a running mean, so one look at the end finds it.
        if values and not math.isfinite(sum(n.item() for n in torch._foreach_norm([v for _, v in values], ord=1))):
            raise LightsleeperError(
                f"weights became NaN or infinite by step {self.steps}: lower the learning rate or clip the gradients, "
                "and pass loss= to step() to catch a bad loss before it reaches the weights"
            )

    def state_dict(self) -> dict[str, Any]:
        """Return the inner optimizer's ``state`` and ``param_groups``, and ``averaging``; tensors by reference.

        Taken inside :meth:`averaged` it holds the run's own weights too, as the model's ``state_dict`` does not then.
        """
        for pre_hook in self._optimizer_state_dict_pre_hooks.values():
            pre_hook(self)
        parameters = unique_parameters(self.param_groups)
        places = {id(parameter): index for index, parameter in enumerate(parameters)}
        packed = dict(self.base.state_dict())
        packed["averaging"] = {
            "version": _STATE_VERSION,
            "method": type(self).__name__,
            "options": self._options(),
            "shapes": [list(p.shape) for p in parameters],
            "steps": self.steps,
            "skipped_steps": self.skipped_steps,
            "write_backs": self.write_backs,
            "rule": self._rule_state(parameters),
            "optimizer_state": self.state_policy.state_dict(),
            "own_weights": [(places[id(parameter)], value) for parameter, value in self._own_weights or ()],
        }
        for post_hook in self._optimizer_state_dict_post_hooks.values():
            packed = post_hook(self, packed) or packed
        return packed

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a checkpoint: given the model's weights of that moment too, training goes on to the same bits.

        Where the checkpoint was taken inside :meth:`averaged`, the parameters are given the run's own weights again:
        load the model's first.

        Raises:
            InputError: the checkpoint is of another kind, version or method, or of other options or parameter shapes;
                or the call is inside :meth:`averaged`.
        """
        if self._own_weights is not None:
            raise InputError("load_state_dict() inside averaged(): leave the context, which would undo it")
        for pre_hook in self._optimizer_load_state_dict_pre_hooks.values():
            state_dict = pre_hook(self, state_dict) or state_dict
        parameters = unique_parameters(self.param_groups)
        saved = self._checked(state_dict, parameters)
        self.base.load_state_dict({key: value for key, value in state_dict.items() if key != "averaging"})
        self.steps = saved["steps"]
        self.skipped_steps = saved["skipped_steps"]
        self.write_backs = saved["write_backs"]
        self._load_rule_state(saved["rule"], parameters)
        self.state_policy.load_state_dict(saved["optimizer_state"])
        with torch.no_grad():
            _assign([(parameters[index], value) for index, value in saved["own_weights"]])
        for post_hook in self._optimizer_load_state_dict_post_hooks.values():
            post_hook(self)

    def _checked(self, state_dict: dict[str, Any], parameters: list[Tensor]) -> dict[str, Any]:
        saved = state_dict.get("averaging")
        method = type(self).__name__
        if not isinstance(saved, dict):
            raise InputError(
                f"the state_dict holds no averaging state: load it into the inner optimizer, {method}.base"
            )
        if saved.get("version") != _STATE_VERSION:
            raise InputError(
                f"the state_dict is of version {saved.get('version')}, this release reads version {_STATE_VERSION}"
            )
        if saved["method"] != method:
            raise InputError(f"the state_dict was saved by {saved['method']}: load it into that, not into {method}")
        options = self._options()
        for name, value in saved["options"].items():
            if options.get(name) != value:
                raise InputError(
                    f"the state_dict was saved with {name}={value!r}: build {method} with it, not {options.get(name)!r}"
                )
        shapes = [list(p.shape) for p in parameters]
        if saved["shapes"] != shapes:
            raise InputError(f"the state_dict is of parameters shaped {saved['shapes']}, this optimizer's are {shapes}")
        return saved


def _assign(values: WeightValues) -> None:
    if values:
        torch._foreach_copy_([parameter for parameter, _ in values], [value for _, value in values])
