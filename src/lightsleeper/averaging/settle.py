"""Settle: averaged SGD without a learning rate to tune, for devices in the field."""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import torch
from torch import Tensor
from torch.optim import Optimizer

from lightsleeper.averaging.anchor import Anchor, FileAnchor, MemoryAnchor
from lightsleeper.averaging.lean_step import lean_step, without_gradient
from lightsleeper.averaging.settle_rule import Control, Verdict
from lightsleeper.averaging.settle_weights import Weights, average, norm
from lightsleeper.averaging.wrapper import Loss, unique_parameters
from lightsleeper.errors import InputError, LightsleeperError

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

__all__ = ["Settle"]

_STATE_VERSION = 3
DRIFT_EVERY = 4
"""Steps between measurements of drift, which take a pass over the weights more."""


class Settle(Optimizer):
    """Learning-rate-free averaged SGD: any starting rate, no schedule, no budget, no validation set.

    The rule is written down in :mod:`lightsleeper.averaging.settle_rule`. Pass the loss to :meth:`step`: it costs
    nothing, and without it no bad stretch is noticed and nothing is rolled back. Evaluate and deploy within
    :meth:`averaged`. Takes two extra copies of the trainable weights, one with `anchor_file`; a network of up to 65,536
    weights a copy of its gradient more for the moment of a step.

    In a distributed run (DDP) give `process_group`, or the rules of ranks whose losses differ part, and with them their
    weights.

    Args:
        params: parameters or parameter groups, float32 or float64 (mixed precision: by autocast). The rates of groups
            keep their ratios.
        lr: rate to start from, above 0. A scheduler's changes multiply what the rule has made of it.
        weight_decay: times which the weights are added to their gradients, as in ``torch.optim.SGD``; at least 0.
        anchor_file: keep the last good average in this file instead of in memory; about 10 ln(steps/160) + 10 writes.
        process_group: the ranks that train one model together, such as ``torch.distributed.group.WORLD``. Each passes
            its own loss; every 16 steps one number goes round. A loss that is NaN or infinite on one rank then leaves
            its 16 steps unjudged, where alone it would skip the step.

    Raises:
        InputError: nothing to train, a parameter of another type, or `lr` or `weight_decay` is out of range.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        *,
        lr: float = 0.01,
        weight_decay: float = 0.0,
        anchor_file: Path | None = None,
        process_group: "ProcessGroup | None" = None,
    ) -> None:
        given: Any = list(params)
        if not given:
            raise InputError("Settle got no parameters: give model.parameters()")
        if not (math.isfinite(lr) and lr > 0.0):
            raise InputError(f"lr is {lr!r}: give a finite number above 0; 0.01 will do")
        super().__init__(given, {"lr": lr, "weight_decay": weight_decay})
        if not self._trainable():
            raise InputError("Settle got no trainable parameter: there is nothing to average")
        self.control: Control | None = None
        self._anchor: Anchor = MemoryAnchor(self.state) if anchor_file is None else FileAnchor(anchor_file)
        self._group = process_group
        self._present: Weights | None = None
        self._own_weights: list[tuple[Tensor, Tensor]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        # Hooks and the step that a scheduler patched in hold closures; torch leaves them out of pickles too.
        kept = {k: v for k, v in self.__dict__.items() if k != "step" and not k.startswith("_optimizer_")}
        return kept | {"_present": None}  # made again from the state, which holds it all

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group; its weights join the average with the next step."""
        super().add_param_group(param_group)
        decay = self.param_groups[-1]["weight_decay"]
        if not (math.isfinite(decay) and decay >= 0.0):
            raise InputError(f"weight_decay is {decay!r}: give a finite number of at least 0")
        for parameter in self.param_groups[-1]["params"]:
            if parameter.dtype not in (torch.float32, torch.float64):
                raise InputError(
                    f"Settle got a parameter of {parameter.dtype}, in which an average does not move: keep weights in "
                    "float32 and use autocast"
                )

    @property
    def nbytes(self) -> int:
        """Bytes of the extra copies."""
        fast: list[Tensor] = [values["fast"] for values in self.state.values() if "fast" in values]
        return sum(z.numel() * z.element_size() for z in fast) + self._anchor.nbytes

    def _trainable(self) -> list[Tensor]:
        return [p for p in unique_parameters(self.param_groups) if p.requires_grad]

    def _weights(self) -> Weights:
        """w and z of the parameters that are trainable now; those that are new begin at the parameter."""
        now = [p for group in self.param_groups for p in group["params"] if p.requires_grad]
        if self._present is None or not self._present.are_of(now):
            now = self._trainable()
            new = [p for p in now if "fast" not in self.state[p]]
            self._present = Weights(now, self.state)
            if new:
                self._anchor.join(new)
        return self._present

    @overload
    def step(self, closure: None = None, *, loss: Loss | None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float], *, loss: Loss | None = None) -> float: ...

    @lean_step
    def step(self, closure: Callable[[], float] | None = None, *, loss: Loss | None = None) -> float | None:
        """Make one step.

        A loss or a gradient that is NaN or infinite moves nothing and is counted in ``control.skipped_steps``.

        Args:
            closure: recomputes the loss and its gradients, as for any torch optimizer.
            loss: this batch's loss, a scalar.

        Returns:
            The closure's loss, or None.
        """
        if self._own_weights is not None:
            raise InputError(
                "step() inside averaged(): the weights are the average there, leave the context to train on"
            )
        result: float | None = None
        if closure is not None:
            with torch.enable_grad():
                result = closure()
            loss = result if loss is None else loss
        value = loss.item() if isinstance(loss, Tensor) else loss
        self._step(value)
        return result

    @without_gradient
    def _step(self, loss: float | None) -> None:
        weights = self._weights()
        if len(self.param_groups) == 1:
            move = weights.move(decay=self.param_groups[0]["weight_decay"])
        else:
            move = weights.move_of_groups(*self._rates_and_decays(weights))
        if move is None:
            return
        control = self.control = self.control or Control(size=weights.size())
        if loss is not None and not math.isfinite(loss):
            if self._group is None:
                control.skipped_steps += 1
                return
            loss = None  # all ranks have the same gradient, and make the same step
        if not math.isfinite(move.square):
            control.skipped_steps += 1
            return
        step = control.step_size(self.param_groups[0]["lr"], move.square)
        share = control.averaging_share()
        if not control.probing:
            if control.age % DRIFT_EVERY == 0:
                control.measure_drift(move.away(), step, move.square)
            move.make(step, share)
        self._follow(control.judge(loss, shared=self._shared), control, weights)

    def _rates_and_decays(self, weights: Weights) -> tuple[list[float], list[float]]:
        """For each parameter the rate of its group over that of the first, and its weight decay."""
        first = self.param_groups[0]["lr"]
        of = {p: group for group in self.param_groups for p in group["params"]}
        own = [of[p] for p in weights.parameters]
        return [group["lr"] / first if first else 0.0 for group in own], [group["weight_decay"] for group in own]

    def _shared(self, total: float) -> float:
        """Mean over the ranks that train one model together."""
        if self._group is None:
            return total
        device = self.param_groups[0]["params"][0].device
        value = torch.tensor(total, dtype=torch.float64, device=device)
        torch.distributed.all_reduce(value, group=self._group)
        return float(value) / self._group.size()

    def _follow(self, verdict: Verdict, control: Control, weights: Weights) -> None:
        if verdict is Verdict.GO_ON:
            return
        parameters = weights.parameters
        if verdict is Verdict.ACCEPT:
            mean = average(parameters, weights.fast)
            moved = norm(list(torch._foreach_sub(mean, self._anchor.read(parameters))))
            self._anchor.replace(parameters, mean)
            control.accept(moved, self.param_groups[0]["lr"])
        elif verdict is Verdict.ROLL_BACK:
            anchor = self._anchor.read(parameters)
            torch._foreach_copy_(parameters, anchor)
            torch._foreach_copy_(weights.fast, anchor)
        control.size = weights.size()

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Give the parameters their average; on leaving, also by an exception, exactly their own weights again.

        A copy of the weights is held meanwhile. :meth:`step` is refused inside. BatchNorm buffers are left alone: see
        :mod:`lightsleeper.averaging.batch_norm`.

        Raises:
            LightsleeperError: the weights had become NaN or infinite.
        """
        if self._own_weights is not None:
            yield
            return
        parameters = [p for p in self._trainable() if "fast" in self.state[p]]
        mean = average(parameters, [self.state[p]["fast"] for p in parameters])
        if not all(bool(torch.isfinite(value).all()) for value in mean):
            raise LightsleeperError("weights became NaN or infinite outside of step(): something else changed them")
        with torch.no_grad():
            self._own_weights = [(p, p.detach().clone()) for p in parameters]
            for parameter, value in zip(parameters, mean, strict=True):
                parameter.copy_(value)
        try:
            yield
        finally:
            own, self._own_weights = self._own_weights, None
            with torch.no_grad():
                for parameter, value in own:
                    parameter.copy_(value)

    def state_dict(self) -> dict[str, Any]:
        """Return ``state`` and ``param_groups`` as any torch optimizer, and ``settle``; tensors by reference.

        Taken inside :meth:`averaged` it holds the run's own weights too, as the model's ``state_dict`` does not then.
        """
        packed = super().state_dict()
        parameters = unique_parameters(self.param_groups)
        places = {id(p): index for index, p in enumerate(parameters)}
        packed["settle"] = {
            "version": _STATE_VERSION,
            "shapes": [list(p.shape) for p in parameters],
            "control": None if self.control is None else self.control.state_dict(),
            "anchor": self._anchor.name,
            "own_weights": [(places[id(p)], value) for p, value in self._own_weights or ()],
        }
        return packed

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a checkpoint: given the model's weights of that moment too, training goes on to the same bits.

        Raises:
            InputError: the checkpoint is of another kind or version, or of other parameter shapes; or the call is
                inside :meth:`averaged`.
        """
        if self._own_weights is not None:
            raise InputError("load_state_dict() inside averaged(): leave the context, which would undo it")
        parameters = unique_parameters(self.param_groups)
        saved = self._checked(state_dict, [list(p.shape) for p in parameters])
        super().load_state_dict({key: value for key, value in state_dict.items() if key != "settle"})
        # torch hands over the checkpoint's own tensors where type and device agree.
        for values in self.state.values():
            values.update({name: tensor.clone() for name, tensor in values.items()})
        self._present = None
        self._anchor.follow(self.state)
        self.control = None if saved["control"] is None else Control(**saved["control"])
        with torch.no_grad():
            for index, value in saved["own_weights"]:
                parameters[index].copy_(value)

    def _checked(self, state_dict: dict[str, Any], shapes: list[list[int]]) -> dict[str, Any]:
        saved = state_dict.get("settle")
        if not isinstance(saved, dict):
            raise InputError("the state_dict was not saved by Settle: load it into the optimizer that saved it")
        if saved.get("version") != _STATE_VERSION:
            raise InputError(
                f"the state_dict is of version {saved.get('version')}, this release reads version {_STATE_VERSION}"
            )
        if saved["anchor"] != self._anchor.name:
            raise InputError(
                f"the state_dict was saved with its anchor in {saved['anchor']}: build Settle "
                f"{'without' if saved['anchor'] == MemoryAnchor.name else 'with'} anchor_file"
            )
        if saved["shapes"] != shapes:
            raise InputError(f"the state_dict is of parameters shaped {saved['shapes']}, this optimizer's are {shapes}")
        return saved
