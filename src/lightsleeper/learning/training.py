"""One training loop for both stages: averaged weights, and the curve of plain SGD to hold them against."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lightsleeper.averaging import PSWA, Settle

__all__ = ["Curve", "Task", "fit"]

POINTS = 20
"""Points of a training curve."""
SGD_MOMENTUM = 0.9
"""Of plain SGD, as practitioners run it."""

Batch = TypeVar("Batch")
Model = TypeVar("Model", bound=nn.Module)


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Loss on one fixed sample of the training examples, over steps.

    Attributes:
        step: (n,).
        loss: (n,) of the weights as they move.
        averaged_loss: (n,) of their average.
        sgd_loss: (n,) of plain SGD from the same start on the same batches.
    """

    step: NDArray[np.int64]
    loss: NDArray[np.float64]
    averaged_loss: NDArray[np.float64]
    sgd_loss: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Task(Generic[Batch]):
    """What is trained on.

    Attributes:
        next_batch: gives the next batch.
        loss: scalar loss of a batch.
        probe: the fixed sample behind the curve.
        after_step: called after every step, for example to clamp parameters.
    """

    next_batch: Callable[[], Batch]
    loss: Callable[[Batch], Tensor]
    probe: Batch
    after_step: Callable[[], None] = lambda: None


def fit(
    start: Callable[[], tuple[Model, Task[Batch]]],
    optimizer: Callable[[Model], PSWA | Settle],
    *,
    steps: int,
    sgd_rate: float | None,
    report: Callable[[int], None] | None = None,
) -> tuple[Model, Curve]:
    """Train a model to its averaged weights, and a twin by plain SGD for the curve.

    Args:
        start: gives a fresh model and its task, the same at every call.
        optimizer: makes the optimizer whose average is kept.
        steps: of training.
        sgd_rate: learning rate of the twin; None spares the whole curve, which then has no points.
        report: called with 1 after every step of the model.
    """
    model, task = start()
    averaging = optimizer(model)
    points: list[tuple[int, float, float]] = []

    def watch(step: int) -> None:
        if sgd_rate is not None and _is_point(step, steps):
            with averaging.averaged():
                averaged = _probe_loss(task)
            points.append((step, _probe_loss(task), averaged))
        if report is not None:
            report(1)

    _descend(task, averaging.zero_grad, lambda loss: averaging.step(loss=loss), steps, watch)
    with averaging.averaged():
        weights = {name: value.detach().clone() for name, value in model.state_dict().items()}
    model.load_state_dict(weights)
    # Samples are taken before the clamp, so their mean may lie outside by a little.
    task.after_step()
    step, loss, averaged_loss = (np.array([point[i] for point in points]) for i in range(3))
    twin = [] if sgd_rate is None else _sgd_losses(*start(), learning_rate=sgd_rate, steps=steps)
    return model, Curve(step=step, loss=loss, averaged_loss=averaged_loss, sgd_loss=np.array(twin))


def _sgd_losses(model: nn.Module, task: Task[Batch], *, learning_rate: float, steps: int) -> list[float]:
    """Losses on the probe at the points of the curve, while `model` trains by plain SGD."""
    optimizer = torch.optim.SGD(model.parameters(), lr=learning_rate, momentum=SGD_MOMENTUM)
    losses: list[float] = []

    def watch(step: int) -> None:
        if _is_point(step, steps):
            losses.append(_probe_loss(task))

    _descend(task, optimizer.zero_grad, lambda _: optimizer.step(), steps, watch)
    return losses


def _is_point(step: int, steps: int) -> bool:
    return step % max(1, steps // POINTS) == 0


def _descend(
    task: Task[Batch],
    zero_grad: Callable[[], object],
    make_step: Callable[[Tensor], object],
    steps: int,
    watch: Callable[[int], None],
) -> None:
    """Take `steps` steps on the task's batches; `watch` is called with the number of each."""
    for step in range(1, steps + 1):
        loss = task.loss(task.next_batch())
        zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        make_step(loss)
        task.after_step()
        watch(step)


@torch.no_grad()
def _probe_loss(task: Task[Batch]) -> float:
    return float(task.loss(task.probe))
