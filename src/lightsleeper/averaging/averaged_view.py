"""The averaged view for training loops that have hooks in place of a ``with`` block."""

import warnings
from collections.abc import Iterable
from contextlib import AbstractContextManager, ExitStack
from typing import Any, Protocol, TypeGuard

import torch
from torch.optim import Optimizer

from lightsleeper.averaging.wrapper import unique_parameters
from lightsleeper.errors import InputError

__all__ = ["AveragedView", "averaging_optimizers", "leave_averaged", "warn_of_a_short_run"]


class _Averaging(Protocol):
    param_groups: list[dict[str, Any]]

    def averaged(self) -> AbstractContextManager[None]: ...


class AveragedView:
    """Opens ``averaged()`` of some optimizers and closes it, each as often as one likes."""

    def __init__(self) -> None:
        self._contexts: ExitStack | None = None

    def open(self, optimizers: Iterable[_Averaging]) -> None:
        """Give the parameters their averages; nothing where that has been done."""
        if self._contexts is not None:
            return
        with ExitStack() as contexts:
            for optimizer in optimizers:
                contexts.enter_context(optimizer.averaged())
            self._contexts = contexts.pop_all()

    def close(self) -> None:
        """Give the parameters their own weights again; nothing where they have them."""
        if self._contexts is not None:
            contexts, self._contexts = self._contexts, None
            contexts.close()


def averaging_optimizers(optimizers: Iterable[Optimizer]) -> list[_Averaging]:
    """Return those that average, out of the wrappers that a trainer may have put around them.

    Raises:
        InputError: there is none.
    """
    found = [inner for inner in map(_unwrapped, optimizers) if _averages(inner)]
    if not found:
        raise InputError(
            "no optimizer of the trainer averages weights: give it one of lightsleeper.averaging, for example PSWA, "
            "or leave the callback out"
        )
    return found


def leave_averaged(optimizers: Iterable[_Averaging]) -> None:
    """Overwrite the parameters with their averages, for good."""
    for optimizer in optimizers:
        parameters = unique_parameters(optimizer.param_groups)
        with optimizer.averaged():
            averages = [parameter.detach().clone() for parameter in parameters]
        with torch.no_grad():
            for parameter, average in zip(parameters, averages, strict=True):
                parameter.copy_(average)


def warn_of_a_short_run(optimizers: Iterable[_Averaging], steps: float) -> None:
    """Warn where a run of so many steps ends before an optimizer's first write-back."""
    for optimizer in optimizers:
        window = getattr(optimizer, "window_steps", 0)
        if window > steps:
            warnings.warn(
                f"{type(optimizer).__name__} writes back each {window} steps and the run has {steps:g}: it trains as "
                "the inner optimizer alone; give a shorter period",
                stacklevel=2,
            )


def _unwrapped(optimizer: Optimizer) -> Optimizer:
    while not _averages(optimizer) and isinstance(getattr(optimizer, "optimizer", None), Optimizer):
        optimizer = optimizer.optimizer  # type: ignore[attr-defined]
    return optimizer


def _averages(optimizer: Any) -> TypeGuard[_Averaging]:
    return callable(getattr(optimizer, "averaged", None))
