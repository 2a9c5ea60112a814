"""What Settle leaves out or to its user: momentum, weight decay, BatchNorm statistics, runs of ten times the length.

Tasks, batches and first weights are those of `lightsleeper bench averaging`: digits, activity and fashion_mlp, from the
default start. Momentum 0.9 is put before Settle: it is given the running mean of the gradients. The BatchNorm networks
are the MLPs with BatchNorm after the hidden layer, at batch 16 (at activity's batch of 1 there is none). Differences
are paired by seed; intervals are Student's, 95 %. About 7 minutes on one free core.

Example: python bench/settle_choices.py --data DIR --seeds 3 --json settle.json
"""

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor, nn

from lightsleeper.averaging import Settle, reestimate_batch_norm
from lightsleeper.benchmarks.datasets import Dataset
from lightsleeper.benchmarks.scenarios import batches
from lightsleeper.benchmarks.scoring import evaluate
from lightsleeper.benchmarks.tasks import load, task_named

TASKS = ("digits", "activity", "fashion_mlp")
LONG = 10
EVALUATIONS_A_LENGTH = 10


def score(network: nn.Module, data: Dataset) -> float:
    network.eval()
    value = evaluate("accuracy", network, data.x_test, data.y_test, classes=data.classes)
    network.train()
    return value


def train(
    network: nn.Module, optimizer: Settle, stream: Iterator[tuple[Tensor, Tensor]], steps: int, *, momentum: float = 0.0
) -> None:
    """Make so many steps; with momentum along the running mean of the gradients, from 0, its bias taken out."""
    means = [torch.zeros_like(p) for p in network.parameters()]
    for step in range(steps):
        x, y = next(stream)
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(network(x), y)
        loss.backward()
        if momentum:
            for mean, p in zip(means, network.parameters(), strict=True):
                assert p.grad is not None
                mean.lerp_(p.grad, 1.0 - momentum)
                p.grad.copy_(mean / (1.0 - momentum ** (step + 1)))
        optimizer.step(loss=loss)


def plain(name: str, data: Dataset, seed: int, *, momentum: float = 0.0, decay: float = 0.0) -> dict[str, float]:
    task = task_named(name)
    torch.manual_seed(seed)
    network = task.network()
    optimizer = Settle(network.parameters(), weight_decay=decay)
    stream = batches(data, batch=task.batch, steps=task.steps, seed=seed)
    train(network, optimizer, stream, task.steps, momentum=momentum)
    with optimizer.averaged():
        return {"score": score(network, data)}


def long(name: str, data: Dataset, seed: int) -> dict[str, float]:
    """Score at the task's own length, the worst from there on, and at ten times that."""
    task = task_named(name)
    torch.manual_seed(seed)
    network = task.network()
    optimizer = Settle(network.parameters())
    stream = batches(data, batch=task.batch, steps=LONG * task.steps, seed=seed)
    seen = []
    for _ in range(LONG * EVALUATIONS_A_LENGTH):
        train(network, optimizer, stream, task.steps // EVALUATIONS_A_LENGTH)
        with optimizer.averaged():
            seen.append(score(network, data))
    assert optimizer.control is not None
    return {
        "score": seen[-1],
        "at_own_length": seen[EVALUATIONS_A_LENGTH - 1],
        "worst_after": min(seen[EVALUATIONS_A_LENGTH - 1 :]),
        "roll_backs": optimizer.control.roll_backs,
    }


def batch_norm(name: str, data: Dataset, seed: int) -> dict[str, float]:
    """Score of the average with the running statistics as training left them, and re-estimated from 50 batches."""
    task = task_named(name)
    torch.manual_seed(seed)
    flatten, first, relu, last = task.network()
    network = nn.Sequential(flatten, first, nn.BatchNorm1d(first.out_features), relu, last)
    optimizer = Settle(network.parameters())
    stream = batches(data, batch=16, steps=task.steps_at(16) + 50, seed=seed)
    train(network, optimizer, stream, task.steps_at(16))
    with optimizer.averaged():
        kept = score(network, data)
        reestimate_batch_norm(network, stream, limit=50)
        return {"score": kept, "reestimated": score(network, data)}


CHOICES: dict[str, Callable[[str, Dataset, int], dict[str, float]]] = {
    "default": plain,
    "momentum 0.9": lambda name, data, seed: plain(name, data, seed, momentum=0.9),
    "weight decay 1e-4": lambda name, data, seed: plain(name, data, seed, decay=1e-4),
    "weight decay 1e-3": lambda name, data, seed: plain(name, data, seed, decay=1e-3),
    "BatchNorm, batch 16": batch_norm,
    "ten times as long": long,
}


def interval(values: list[float]) -> tuple[float, float]:
    """Mean and half-width of its 95 % interval."""
    spread = float(np.std(values, ddof=1)) / len(values) ** 0.5
    return float(np.mean(values)), float(stats.t.ppf(0.975, len(values) - 1)) * spread


def measure(folder: Path, seeds: int, tasks: list[str]) -> list[dict[str, Any]]:
    rows = []
    for name in tasks:
        data = load(name, folder)
        default: list[float] = []
        for choice, run in CHOICES.items():
            if name == "activity" and choice.startswith("BatchNorm"):
                continue
            found = [run(name, data, seed) for seed in range(seeds)]
            scores = [one["score"] for one in found]
            default = default or scores
            row: dict[str, Any] = {"task": name, "choice": choice, "seeds": seeds, "runs": found}
            row["score"], row["score_half_width"] = interval(scores)
            row["minus_default"], row["minus_default_half_width"] = interval(
                [a - b for a, b in zip(scores, default, strict=True)]
            )
            rows.append(row)
            print(
                f"{name:<12} {choice:<20} {100 * row['score']:5.2f} +- {100 * row['score_half_width']:.2f}   minus "
                f"default {100 * row['minus_default']:+.2f} +- {100 * row['minus_default_half_width']:.2f}   "
                + "  ".join(f"{key} {np.mean([one[key] for one in found]):.4g}" for key in found[0] if key != "score"),
                flush=True,
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--tasks", nargs="+", default=TASKS, choices=TASKS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = measure(given.data, given.seeds, given.tasks)
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
