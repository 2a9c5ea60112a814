"""An optimizer around another optimizer, which to schedulers, scalers and checkpoints looks like the inner one."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, Literal, overload

from torch import Tensor
from torch.optim import Optimizer

from lightsleeper.averaging.lean_step import lean_step
from lightsleeper.errors import InputError

__all__ = ["Loss", "NonFinite", "NonFiniteLossError", "OptimizerWrapper", "unique_parameters"]

Loss = Tensor | float
NonFinite = Literal["raise", "skip"]


class NonFiniteLossError(InputError):
    """The loss is NaN or infinite. The step was not made, so the weights are those before it."""

    loss: float = math.nan


def unique_parameters(groups: Iterable[dict[str, Any]]) -> list[Tensor]:
    """Return the parameters of all groups in order, each once."""
    return list({id(p): p for group in groups for p in group["params"]}.values())


class OptimizerWrapper(Optimizer):
    """Base of optimizers that act after the steps of another one.

    ``param_groups``, ``state`` and ``defaults`` are the inner optimizer's own objects, so learning-rate schedulers may
    be built on either. A subclass does its work in :meth:`_after_step`, which runs only when a step was really made.

    Args:
        base: the optimizer that makes the steps.
        nonfinite: what to do when the loss (``step(loss=...)``, or the first one that the closure returns) is NaN or
            infinite: ``"raise"`` :class:`NonFiniteLossError`, or ``"skip"`` the step and count it in ``skipped_steps``.
            Reading the loss waits for an accelerator, so there leave ``loss`` out where that costs.

    Raises:
        InputError: ``base`` is no optimizer or holds no trainable parameter.
    """

    def __init__(self, base: Optimizer, *, nonfinite: NonFinite = "raise") -> None:
        if not isinstance(base, Optimizer):
            raise InputError(f"{type(base).__name__} is no torch optimizer: wrap one, for example torch.optim.SGD(...)")
        if not any(p.requires_grad for p in unique_parameters(base.param_groups)):
            raise InputError("the wrapped optimizer holds no trainable parameter: there is nothing to average")
        if nonfinite not in ("raise", "skip"):
            raise InputError(f'nonfinite is {nonfinite!r}: give "raise" or "skip"')
        self.base = base
        self.nonfinite = nonfinite
        self.steps = 0
        self.skipped_steps = 0
        # Sets up hooks and profiling as Optimizer.__init__ does, which would also make groups and state of its own.
        super().__setstate__({})

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The inner optimizer's parameter groups."""
        return self.base.param_groups

    @param_groups.setter
    def param_groups(self, value: list[dict[str, Any]]) -> None:
        self.base.param_groups = value

    @property
    def state(self) -> defaultdict[Tensor, Any]:
        """The inner optimizer's state by parameter."""
        return self.base.state

    @state.setter
    def state(self, value: defaultdict[Tensor, Any]) -> None:
        self.base.state = value

    @property
    def defaults(self) -> dict[str, Any]:
        """The inner optimizer's default options."""
        return self.base.defaults

    @defaults.setter
    def defaults(self, value: dict[str, Any]) -> None:
        self.base.defaults = value

    def __getstate__(self) -> dict[str, Any]:
        # Hooks and the step that a scheduler patched in hold closures; torch leaves them out of pickles too.
        return {k: v for k, v in self.__dict__.items() if k != "step" and not k.startswith("_optimizer_")}

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group to the inner optimizer."""
        self.base.add_param_group(param_group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the gradients."""
        self.base.zero_grad(set_to_none)

    @overload
    def step(self, closure: None = None, *, loss: Loss | None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float], *, loss: Loss | None = None) -> float: ...

    @lean_step
    def step(self, closure: Callable[[], float] | None = None, *, loss: Loss | None = None) -> float | None:
        """Make one step of the inner optimizer, then average.

        Args:
            closure: recomputes the loss and its gradients, as for any torch optimizer.
            loss: this batch's loss, a scalar; with it a NaN or infinite loss is caught before it reaches the weights.
                In a distributed run give the mean over the ranks: where one alone skips a step, they part.

        Returns:
            What the inner optimizer returns: the closure's loss, or None.

        Raises:
            NonFiniteLossError: the loss is NaN or infinite and ``nonfinite`` is ``"raise"``.
        """
        self._before_step()
        try:
            if loss is not None:
                self._check_loss(loss)
            result = self.base.step() if closure is None else self.base.step(self._guarded(closure))
        except NonFiniteLossError as error:
            if self.nonfinite == "raise":
                raise
            self.skipped_steps += 1
            return None if closure is None else error.loss
        self._after_step()
        return result

    def _before_step(self) -> None:
        """Refuse a step that must not be made now."""

    def _after_step(self) -> None:
        """Act on the weights after a step was made; gradients are recorded here."""
        raise NotImplementedError

    def _check_loss(self, loss: Loss) -> None:
        value = float(loss.detach() if isinstance(loss, Tensor) else loss)
        if math.isfinite(value):
            return
        error = NonFiniteLossError(
            f"loss is {value} at step {self.steps}: lower the learning rate or clip the gradients, "
            'or build the optimizer with nonfinite="skip"'
        )
        error.loss = value
        raise error

    def _guarded(self, closure: Callable[[], float]) -> Callable[[], float]:
        """Check the closure's first loss only: no weight has moved then, as in a line search one may have later.

        A trainer's closure may return None, for a batch that it left out.
        """
        first = True

        def guarded() -> float:
            nonlocal first
            loss = closure()
            if first and loss is not None:
                self._check_loss(loss)
            first = False
            return loss

        return guarded
