"""Settle: averaged SGD without a learning rate to tune, for devices in the field."""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim import Optimizer

from lightsleeper.averaging.anchor import Anchor, FileAnchor, MemoryAnchor
from lightsleeper.averaging.settle_rule import BLEND, Control, Verdict
from lightsleeper.averaging.wrapper import Loss, unique_parameters
from lightsleeper.errors import InputError, LightsleeperError

__all__ = ["Settle"]

_STATE_VERSION = 1
DRIFT_EVERY = 4
"""Steps between measurements of drift, which take a pass over the weights more."""


class Settle(Optimizer):
    """Learning-rate-free averaged SGD: any starting rate, no schedule, no budget, no validation set.

    The rule is written down in :mod:`lightsleeper.averaging.settle_rule`. Pass the loss to :meth:`step`: it costs
    nothing, and without it no bad stretch is noticed and nothing is rolled back. Evaluate and deploy within
    :meth:`averaged`. Takes two extra copies of the trainable weights, one with `anchor_file`.

    In a distributed run give the mean of the loss over the ranks, or they may part.

    Args:
        params: parameters or parameter groups, float32 or float64 (mixed precision: by autocast). The rates of groups
            keep their ratios.
        lr: rate to start from, above 0. A scheduler's changes multiply what the rule has made of it.
        anchor_file: keep the last good average in this file instead of in memory; about 10 ln(steps/160) + 10 writes.

    Raises:
        InputError: nothing to train, a parameter of another type, or `lr` is out of range.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        *,
        lr: float = 0.01,
        anchor_file: Path | None = None,
    ) -> None:
        given: Any = list(params)
        if not given:
            raise InputError("Settle got no parameters: give model.parameters()")
        if not (math.isfinite(lr) and lr > 0.0):
            raise InputError(f"lr is {lr!r}: give a finite number above 0; 0.01 will do")
        super().__init__(given, {"lr": lr})
        if not self._trainable():
            raise InputError("Settle got no trainable parameter: there is nothing to average")
        self.control: Control | None = None
        self._anchor: Anchor = MemoryAnchor(self.state) if anchor_file is None else FileAnchor(anchor_file)
        self._own_weights: list[tuple[Tensor, Tensor]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        # Hooks and the step that a scheduler patched in hold closures; torch leaves them out of pickles too.
        return {k: v for k, v in self.__dict__.items() if k != "step" and not k.startswith("_optimizer_")}

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group; its weights join the average with the next step."""
        super().add_param_group(param_group)
        for parameter in self.param_groups[-1]["params"]:
            if parameter.dtype not in (torch.float32, torch.float64):
                raise InputError(
                    f"Settle got a parameter of {parameter.dtype}, in which an average does not move: keep weights in "
                    "float32 and use autocast"
                )

    @property
    def nbytes(self) -> int:
        """Bytes of the extra copies."""
        fast = sum(z.numel() * z.element_size() for z in self._fast(list(self.state)))
        return fast + self._anchor.nbytes

    def _trainable(self) -> list[Tensor]:
        return [p for p in unique_parameters(self.param_groups) if p.requires_grad]

    def _fast(self, parameters: list[Tensor]) -> list[Tensor]:
        return [self.state[p]["fast"] for p in parameters if "fast" in self.state[p]]

    @overload
    def step(self, closure: None = None, *, loss: Loss | None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float], *, loss: Loss | None = None) -> float: ...

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
        with torch.no_grad():
            self._step(None if loss is None else float(loss.detach() if isinstance(loss, Tensor) else loss))
        return result

    def _step(self, loss: float | None) -> None:
        parameters = self._trainable()
        fast = self._join(parameters)
        control = self.control = self.control or Control(size=_norm(fast))
        moving = [(p, z, self._ratio(p)) for p, z in zip(parameters, fast, strict=True) if p.grad is not None]
        gradients = [_dense(p.grad) for p, _, _ in moving]
        square = _norm(gradients) ** 2 if gradients else 0.0
        if not (math.isfinite(square) and (loss is None or math.isfinite(loss))):
            control.skipped_steps += 1
            return
        step = control.step_size(self.param_groups[0]["lr"], square)
        share = control.averaging_share()
        if not control.probing:
            if control.age % DRIFT_EVERY == 0:
                control.measure_drift(_away([(p, z) for p, z, _ in moving], gradients), step, square)
            self._move(parameters, fast, moving, gradients, step=step, share=share)
        self._follow(control.judge(loss), control, parameters, fast)

    def _ratio(self, parameter: Tensor) -> float:
        """Rate of the parameter's group over that of the first."""
        if len(self.param_groups) == 1:
            return 1.0
        first = self.param_groups[0]["lr"]
        group = next(g for g in self.param_groups if any(p is parameter for p in g["params"]))
        return float(group["lr"] / first) if first else 0.0

    def _join(self, parameters: list[Tensor]) -> list[Tensor]:
        """Fast weights of the parameters; where one is new, it begins at the parameter."""
        new = [p for p in parameters if "fast" not in self.state[p]]
        for parameter in new:
            self.state[parameter]["fast"] = parameter.detach().clone()
        if new:
            self._anchor.join(new)
        return self._fast(parameters)

    def _move(
        self,
        parameters: list[Tensor],
        fast: list[Tensor],
        moving: list[tuple[Tensor, Tensor, float]],
        gradients: list[Tensor],
        *,
        step: float,
        share: float,
    ) -> None:
        """``z -= e g; w = lerp(w, z, k) - (1-k)(1-b) e g``, which moves x = (w - (1-b) z)/b by ``k (z - x)``."""
        steps = [step * ratio for _, _, ratio in moving]
        if len(set(steps)) == 1:
            torch._foreach_add_([z for _, z, _ in moving], gradients, alpha=-steps[0])
            torch._foreach_lerp_(parameters, fast, share)
            torch._foreach_add_([p for p, _, _ in moving], gradients, alpha=-(1.0 - share) * (1.0 - BLEND) * steps[0])
            return
        for (_, z, _), gradient, own in zip(moving, gradients, steps, strict=True):
            z.add_(gradient, alpha=-own)
        torch._foreach_lerp_(parameters, fast, share)
        for (p, _, _), gradient, own in zip(moving, gradients, steps, strict=True):
            p.add_(gradient, alpha=-(1.0 - share) * (1.0 - BLEND) * own)

    def _follow(self, verdict: Verdict, control: Control, parameters: list[Tensor], fast: list[Tensor]) -> None:
        if verdict is Verdict.GO_ON:
            return
        if verdict is Verdict.ACCEPT:
            average = _average(parameters, fast)
            moved = _norm(list(torch._foreach_sub(average, self._anchor.read(parameters))))
            self._anchor.replace(parameters, average)
            control.accept(moved, self.param_groups[0]["lr"])
        elif verdict is Verdict.ROLL_BACK:
            anchor = self._anchor.read(parameters)
            torch._foreach_copy_(parameters, anchor)
            torch._foreach_copy_(fast, anchor)
        control.size = _norm(fast)

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
        average = _average(parameters, self._fast(parameters))
        if not all(bool(torch.isfinite(value).all()) for value in average):
            raise LightsleeperError("weights became NaN or infinite outside of step(): something else changed them")
        with torch.no_grad():
            self._own_weights = [(p, p.detach().clone()) for p in parameters]
            for parameter, value in zip(parameters, average, strict=True):
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


def _dense(gradient: Tensor | None) -> Tensor:
    assert gradient is not None
    return gradient.to_dense() if gradient.is_sparse else gradient


def _norm(tensors: list[Tensor]) -> float:
    return float(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(tensors))))


def _away(moving: list[tuple[Tensor, Tensor]], gradients: list[Tensor]) -> float:
    """``<g, x - z>``; since w - z = b (x - z), x need not be made."""
    ahead = torch._foreach_sub([p for p, _ in moving], [z for _, z in moving])
    products = [torch.dot(g.reshape(-1), d.reshape(-1)) for g, d in zip(gradients, ahead, strict=True)]
    return float(torch.stack(products).sum()) / BLEND


def _average(parameters: list[Tensor], fast: list[Tensor]) -> list[Tensor]:
    """``x = z + (w - z)/b``."""
    if not parameters:
        return []
    with torch.no_grad():
        return list(torch._foreach_add(fast, torch._foreach_sub(parameters, fast), alpha=1.0 / BLEND))
