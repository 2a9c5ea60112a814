"""Batches of a run: which examples at which step, and the faults of the field that some scenarios put in."""

from collections.abc import Iterator
from typing import Literal, get_args

import torch
from torch import Tensor

from lightsleeper.benchmarks.datasets import Dataset
from lightsleeper.benchmarks.tasks import Task
from lightsleeper.errors import InputError

__all__ = ["GLITCH_BATCHES", "SCENARIOS", "Scenario", "batches", "check_scenario", "rotated", "test_labels"]

Scenario = Literal["clean", "glitch", "change", "ordered"]
SCENARIOS: tuple[Scenario, ...] = get_args(Scenario)
GLITCH_BATCHES = 40
_GLITCH_GAIN = 20.0


def check_scenario(task: Task, scenario: Scenario) -> None:
    """Refuse a scenario that means nothing on a task.

    Raises:
        InputError: unknown scenario, or one that the task's data do not allow.
    """
    if scenario not in SCENARIOS:
        raise InputError(f"no scenario {scenario!r}: choose from {', '.join(SCENARIOS)}")
    if scenario == "ordered" and not task.in_order:
        raise InputError(f"task {task.name} has no recording order: leave it out of the scenario ordered")
    if scenario in ("glitch", "change") and task.score == "AUC":
        raise InputError(f"task {task.name} trains without labels: leave it out of the scenario {scenario}")


def rotated(labels: Tensor, classes: int) -> Tensor:
    """Labels after the lasting change: each is the next class."""
    return (labels + 1) % classes


def test_labels(data: Dataset, scenario: Scenario, *, done: int, steps: int) -> Tensor:
    """Test labels after `done` steps: rotated from half-time on in the scenario "change"."""
    return rotated(data.y_test, data.classes) if scenario == "change" and done > steps // 2 else data.y_test


def batches(
    data: Dataset, *, batch: int, steps: int, seed: int, scenario: Scenario = "clean"
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches (x, y) of a run; equal arguments give equal batches.

    Epochs are permutations; a batch may reach over the end of one. "ordered" takes the examples as recorded, again and
    again. "glitch" corrupts 40 consecutive batches from a third of the run on: inputs times 20, labels at random.
    "change" rotates the labels by one from half-time on.
    """
    generator = torch.Generator().manual_seed(1_000_003 * seed + 17)
    count = len(data.x_train)
    rows = _rows(count, needed=steps * batch, generator=generator, ordered=scenario == "ordered")
    for step, chosen in enumerate(rows.view(steps, batch)):
        x, y = data.x_train[chosen], data.y_train[chosen]
        if scenario == "glitch" and 0 <= step - steps // 3 < GLITCH_BATCHES:
            x, y = _GLITCH_GAIN * x, torch.randint(data.classes, y.shape, generator=generator)
        elif scenario == "change" and step >= steps // 2:
            y = rotated(y, data.classes)
        yield x, y


def _rows(count: int, *, needed: int, generator: torch.Generator, ordered: bool) -> Tensor:
    epochs = -(-needed // count)
    orders = [torch.arange(count) if ordered else torch.randperm(count, generator=generator) for _ in range(epochs)]
    return torch.cat(orders)[:needed]
