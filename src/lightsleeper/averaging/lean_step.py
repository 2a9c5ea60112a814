"""What torch does around a step, in less time: at batch size 1 that is a tenth of a small network's training step.

torch wraps the ``step`` of every optimizer class to run hooks and to name the step for a profiler, which takes tens of
microseconds whether there are any or not; and its ``no_grad`` makes an object at every call.
"""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import torch
from torch.optim import Optimizer
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks

__all__ = ["lean_step", "without_gradient"]


_Step = TypeVar("_Step", bound=Callable[..., Any])
_P = ParamSpec("_P")
_R = TypeVar("_R")


def lean_step(step: _Step) -> _Step:
    """Decorate an optimizer's ``step``: torch's wrapped one where there is a hook or a profiler, else the plain."""
    hooked = Optimizer.profile_hook_step(step)

    @functools.wraps(step)
    def lean(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        if _anyone_listens(self):
            return hooked(self, *args, **kwargs)
        return step(self, *args, **kwargs)

    lean.hooked = True  # type: ignore[attr-defined]  # by this torch knows that it need not wrap it
    return lean  # type: ignore[return-value]


def without_gradient(call: Callable[_P, _R]) -> Callable[_P, _R]:
    """Decorate as ``torch.no_grad()`` does."""

    @functools.wraps(call)
    def quiet(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        recording = torch.is_grad_enabled()
        torch.set_grad_enabled(False)
        try:
            return call(*args, **kwargs)
        finally:
            torch.set_grad_enabled(recording)

    return quiet


def _anyone_listens(optimizer: Optimizer) -> bool:
    return bool(
        optimizer._optimizer_step_pre_hooks
        or optimizer._optimizer_step_post_hooks
        or _global_optimizer_pre_hooks
        or _global_optimizer_post_hooks
        or torch._C._autograd._profiler_enabled()
    )
