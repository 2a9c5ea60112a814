"""One training loop for both stages: an optimizer under PSWA, and the curves of moving and averaged weights."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lightsleeper.averaging import PSWA

__all__ = ["Curve", "Task", "train"]

POINTS = 20
"""Points of a training curve."""

Batch = TypeVar("Batch")


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Loss on one fixed sample of the training examples, over steps.

    Attributes:
        step: (n,).
        loss: (n,) of the weights as they move.
        averaged_loss: (n,) of their average.
    """

    step: NDArray[np.int64]
    loss: NDArray[np.float64]
    averaged_loss: NDArray[np.float64]


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


def train(
    model: nn.Module, optimizer: PSWA, task: Task[Batch], *, steps: int, report: Callable[[int], None] | None = None
) -> Curve:
    """Take `steps` steps and leave the averaged weights in `model`; `report` is called with 1 after every step."""
    every = max(1, steps // POINTS)
    points: list[tuple[int, float, float]] = []
    for step in range(1, steps + 1):
        loss = task.loss(task.next_batch())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step(loss=loss)
        task.after_step()
        if step % every == 0:
            points.append((step, *_probe(optimizer, task)))
        if report is not None:
            report(1)
    with optimizer.averaged():
        averaged = {name: value.detach().clone() for name, value in model.state_dict().items()}
    model.load_state_dict(averaged)
    # Samples are taken before the clamp, so their mean may lie outside by a little.
    task.after_step()
    return Curve(*(np.array([point[i] for point in points]) for i in range(3)))


@torch.no_grad()
def _probe(optimizer: PSWA, task: Task[Batch]) -> tuple[float, float]:
    """Loss of the moving and of the averaged weights on the probe."""
    moving = float(task.loss(task.probe))
    with optimizer.averaged():
        return moving, float(task.loss(task.probe))
