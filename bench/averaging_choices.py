"""What the choices around a write-back of PSWA cost or bring: optimizer state, BatchNorm statistics, memory.

Tasks: scikit-learn's digits (8x8) and, where LIGHTSLEEPER_DATA names a folder with fashion_mnist/, Fashion-MNIST pooled
to 14x14 (3,000 training images). Networks: an MLP, and a depthwise-separable CNN with BatchNorm. SGD, momentum 0.9,
batch 32, constant rate. "1x" is SGD's best rate on a validation set from a grid of factors of about 3; "3x" is three
times that. Every run sees the same batches and starts from the same weights as its rivals of the same seed, so
differences are paired; intervals are Student's, 95 %. BatchNorm's statistics have no part in training, so re-estimating
them matters at the evaluation alone. Needs scikit-learn. About 5 minutes on one free core.

Example: python bench/averaging_choices.py --seeds 5 --json choices.json
"""

import argparse
import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats
from sklearn.datasets import load_digits
from torch import Tensor, nn

from lightsleeper.averaging import PSWA, BatchNormRefresh, plan_memory, reestimate_batch_norm
from lightsleeper.errors import LightsleeperError

BATCH = 32
RATES = (0.03, 0.1, 0.3, 1.0, 3.0)
NOT_TRAINED = 1.0


@dataclass(frozen=True)
class Task:
    name: str
    train: tuple[Tensor, Tensor]
    validation: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    epochs: int
    network: Callable[[], nn.Module]


def separable(channels: int, classes: int) -> nn.Sequential:
    def block(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
        depthwise = nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False)
        pointwise = nn.Conv2d(inputs, outputs, 1, bias=False)
        return [depthwise, nn.BatchNorm2d(inputs), nn.ReLU(), pointwise, nn.BatchNorm2d(outputs), nn.ReLU()]

    stem = [nn.Conv2d(1, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()]
    blocks = [*block(channels, 2 * channels, 2), *block(2 * channels, 2 * channels, 1)]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2 * channels, classes))


def tasks() -> list[Task]:
    found = []
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16 - 0.3
    labels = torch.tensor(digits.target)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    parts = [(images[rows], labels[rows]) for rows in order.split([1000, 300, 497])]
    nets = {
        "MLP": lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)),
        "DS-CNN": lambda: separable(8, 10),
    }
    found += [Task(f"digits {name}", *parts, epochs=8, network=net) for name, net in nets.items()]
    folder = os.environ.get("LIGHTSLEEPER_DATA")
    if not folder:
        return found
    data = np.load(Path(folder) / "fashion_mnist" / "fashion_mnist.npz")

    def pooled(split: str, rows: slice) -> tuple[Tensor, Tensor]:
        x = torch.tensor(data[f"x_{split}"][rows], dtype=torch.float32)[:, None] / 255 - 0.3
        return nn.functional.avg_pool2d(x, 2), torch.tensor(data[f"y_{split}"][rows], dtype=torch.long)

    parts = [pooled("train", slice(3000)), pooled("train", slice(50_000, 52_000)), pooled("test", slice(2000))]
    nets = {
        "MLP": lambda: nn.Sequential(nn.Flatten(), nn.Linear(196, 64), nn.ReLU(), nn.Linear(64, 10)),
        "DS-CNN": lambda: separable(8, 10),
    }
    return found + [Task(f"fashion {name}", *parts, epochs=3, network=net) for name, net in nets.items()]


def batches(task: Task, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    x, y = task.train
    order = torch.randperm(len(y), generator=generator)
    for rows in order[: len(y) // BATCH * BATCH].split(BATCH):
        yield x[rows], y[rows]


@torch.no_grad()
def error(model: nn.Module, data: tuple[Tensor, Tensor]) -> float:
    model.eval()
    wrong = torch.cat([model(x).argmax(1) for x in data[0].split(500)]) != data[1]
    model.train()
    return float(wrong.float().mean())


@dataclass(frozen=True)
class Choice:
    """PSWA over periods of half an epoch with one thing chosen otherwise; SGD alone where ``options`` is None."""

    name: str
    options: dict[str, Any] | None = None
    batch_norm: str = "keep"
    bytes_per_weight: float | None = None


def run(task: Task, choice: Choice, *, lr: float, seed: int) -> tuple[float, float]:
    """Validation and test error at the end, of the average where there is one; 1 where training failed."""
    torch.manual_seed(seed)
    model = task.network()
    base = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    steps_per_epoch = len(task.train[1]) // BATCH
    optimizer: torch.optim.Optimizer = base
    if choice.options is not None:
        options = dict(choice.options)
        if choice.batch_norm == "refresh":
            options["after_write_back"] = BatchNormRefresh(model, batches=10)
        if choice.bytes_per_weight is not None:
            weights = sum(p.numel() for p in model.parameters())
            options["plan"] = plan_memory(model, budget_bytes=int(choice.bytes_per_weight * weights) + 100)
        # So that training does not end at a write-back, where averaged and own weights are the same.
        optimizer = PSWA(base, period=steps_per_epoch // 2 + 1, **options)
    generator = torch.Generator().manual_seed(seed + 1000)
    try:
        for _ in range(task.epochs):
            for x, y in batches(task, generator):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x), y).backward()
                optimizer.step()
        with optimizer.averaged() if isinstance(optimizer, PSWA) else contextlib.nullcontext():
            if choice.batch_norm == "re-estimate":
                reestimate_batch_norm(model, batches(task, generator), limit=30)
            return error(model, task.validation), error(model, task.test)
    except LightsleeperError:
        return NOT_TRAINED, NOT_TRAINED


SGD = Choice("SGD alone", None)
KEEP = Choice("PSWA, state kept, BatchNorm kept", {})
STATE = [Choice(f'state="{state}"', {"state": state}) for state in ("reset", "average")]
BATCH_NORM = [
    Choice("BatchNorm re-estimated from 30 batches", {}, "re-estimate"),
    Choice("BatchNorm from the next 10 batches", {}, "refresh"),
]
MEMORY = [Choice(f"plan of {size:g} bytes a weight", {}, "keep", size) for size in (3.0, 2.0, 1.0, 0.5)]
THINNED = Choice("sampled each 4th step", {"sample_every": 4})


def interval(values: list[float]) -> tuple[float, float]:
    """Mean and half-width of its 95 % interval."""
    spread = float(np.std(values, ddof=1)) / len(values) ** 0.5
    return float(np.mean(values)), float(stats.t.ppf(0.975, len(values) - 1)) * spread


def measure(seeds: int) -> list[dict[str, Any]]:
    rows = []
    for task in tasks():
        validation = {lr: np.mean([run(task, SGD, lr=lr, seed=s)[0] for s in range(3)]) for lr in RATES}
        best = min(validation, key=lambda lr: validation[lr])
        grid = ", ".join(f"{lr:g}: {100 * value:.1f}" for lr, value in validation.items())
        print(f"\n{task.name}: SGD's validation error in % by rate: {grid}", flush=True)
        choices = [SGD, *STATE, *(BATCH_NORM if "CNN" in task.name else [THINNED])]
        choices += MEMORY if task.name == "digits MLP" else []
        for factor in (1, 3):
            kept: list[float] = []
            for choice in (KEEP, *choices):
                started = time.perf_counter()
                errors = [run(task, choice, lr=factor * best, seed=100 + s)[1] for s in range(seeds)]
                kept = kept or errors
                row = {"task": task.name, "lr": factor * best, "factor": factor, "choice": choice.name, "seeds": seeds}
                row["test_error"], row["test_error_half_width"] = interval(errors)
                row["minus_kept"], row["minus_kept_half_width"] = interval(
                    [a - b for a, b in zip(errors, kept, strict=True)]
                )
                row["seconds_a_run"] = (time.perf_counter() - started) / seeds
                rows.append(row)
                print(
                    f"  {factor}x {row['lr']:g}  {choice.name:<40} {100 * row['test_error']:5.2f} "
                    f"+- {100 * row['test_error_half_width']:.2f} %   minus kept {100 * row['minus_kept']:+.2f} "
                    f"+- {100 * row['minus_kept_half_width']:.2f}   {row['seconds_a_run']:.2f} s",
                    flush=True,
                )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = measure(given.seeds)
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
