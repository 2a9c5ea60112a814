"""A task for tests of the benchmark: three Gaussian classes in the plane, learned in a few dozen steps."""

from dataclasses import replace

import torch

from lightsleeper.benchmarks import networks
from lightsleeper.benchmarks.datasets import Dataset
from lightsleeper.benchmarks.results_file import Result, RunKey
from lightsleeper.benchmarks.tasks import Task


def blobs(*, train: int = 120, test: int = 60) -> Dataset:
    generator = torch.Generator().manual_seed(5)
    centres = torch.tensor([[2.0, 0.0], [-2.0, 1.0], [0.0, -3.0]])
    y = torch.randint(3, (train + test,), generator=generator)
    x = centres[y] + 0.5 * torch.randn(train + test, 2, generator=generator)
    return Dataset(x[:train], y[:train], x[train:], y[train:], classes=3, in_order=True)


BLOBS = Task(
    name="digits",  # a known name, for what looks tasks up
    title="three blobs",
    source="drawn here",
    read=lambda _: blobs(),
    network=lambda: networks.mlp(2, 8, 3),
    batch=4,
    steps=60,
    run_s=0.1,
    needs_folder=False,
    in_order=True,
)


def a_key(**changes: object) -> RunKey:
    key = RunKey(task="digits", scenario="clean", batch=4, steps=400, method="sgd", version=1, rate=0.1, seed=0)
    return replace(key, **changes)  # type: ignore[arg-type]


def a_result(scores: list[float], *, diverged: bool = False, **changes: object) -> Result:
    key = a_key(**changes)
    at_steps = tuple(key.steps * (part + 1) // len(scores) for part in range(len(scores)))
    return Result(key, at_steps, tuple(scores), diverged, 400, 100, 0.1, 0.03, 1.5)
