"""One training run: a family of methods on a task at one rate and seed, evaluated along the way."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from lightsleeper.benchmarks.datasets import Dataset
from lightsleeper.benchmarks.rivals import Family, Plan, Training
from lightsleeper.benchmarks.scenarios import Scenario, batches, test_labels
from lightsleeper.benchmarks.scoring import chance, evaluate, loss_of
from lightsleeper.benchmarks.tasks import Task
from lightsleeper.errors import LightsleeperError

__all__ = ["EVALUATIONS", "Curve", "run_once"]

EVALUATIONS = 40


@dataclass(frozen=True)
class Curve:
    """What one method did in one run.

    Attributes:
        method: its name.
        at_steps: steps done at each evaluation.
        scores: score at each; chance from where the run diverged.
        diverged: the loss or the weights became NaN or infinite.
        seconds: that the run took, evaluations of the whole family included.
    """

    method: str
    at_steps: tuple[int, ...]
    scores: tuple[float, ...]
    diverged: bool
    seconds: float


def run_once(
    task: Task,
    data: Dataset,
    family: Family,
    methods: Sequence[str],
    *,
    rate: float,
    seed: int,
    batch: int,
    steps: int,
    scenario: Scenario = "clean",
) -> list[Curve]:
    """Train once and evaluate each of the methods after every fortieth of the run; equal arguments, equal scores.

    Test data never steer the run. A run ends early where it diverges: chance stands for the rest.
    """
    began = time.perf_counter()
    torch.manual_seed(seed)
    network = task.network()
    plan = Plan(steps=steps, epoch_steps=max(1, round(len(data.x_train) / batch)))
    training = family.build(network, rate, plan, methods)
    at_steps = tuple(dict.fromkeys(max(1, round(steps * part / EVALUATIONS)) for part in range(1, EVALUATIONS + 1)))
    scores: dict[str, list[float]] = {name: [] for name in methods}
    diverged = False
    stream = batches(data, batch=batch, steps=steps, seed=seed, scenario=scenario)
    try:
        done = 0
        for stop in at_steps:
            for _ in range(stop - done):
                x, y = next(stream)
                _step(training, network, task, x, y)
            done = stop
            _require_finite(network)
            labels = test_labels(data, scenario, done=done, steps=steps)
            for name in methods:
                with training.views[name]() as deployed:
                    score = evaluate(task.score, deployed, data.x_test, labels, classes=data.classes)
                scores[name].append(score)
    except (_DivergedError, LightsleeperError):  # the averaging optimizers refuse weights that are not finite
        diverged = True
    seconds = time.perf_counter() - began
    worst = chance(task.score, data.classes)
    return [
        Curve(name, at_steps, (*own, *[worst] * (len(at_steps) - len(own))), diverged, seconds)
        for name, own in scores.items()
    ]


class _DivergedError(Exception):
    pass


def _step(training: Training, network: nn.Module, task: Task, x: torch.Tensor, y: torch.Tensor) -> None:
    optimizer = training.optimizer
    optimizer.zero_grad()
    loss = loss_of(task.score, network(x), x, y)
    if not training.takes_loss and not math.isfinite(loss.item()):
        raise _DivergedError
    loss.backward()  # type: ignore[no-untyped-call]
    if training.takes_loss:
        optimizer.step(loss=loss)
    else:
        optimizer.step()
    for follow in training.after_step:
        follow()


def _require_finite(network: nn.Module) -> None:
    if not all(bool(torch.isfinite(parameter).all()) for parameter in network.parameters()):
        raise _DivergedError
