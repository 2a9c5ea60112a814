"""Summaries of finished runs: best score, usable range of rates, steps to target, worst drop, diverged runs.

Every rule is the same for all methods. The best rate is chosen by the mean test score over seeds, for every method
alike; that flatters all of them, those with more rates in their grid a little more.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student_t

from lightsleeper.benchmarks.results_file import Result, RunKey
from lightsleeper.benchmarks.rivals import METHODS, family_of
from lightsleeper.benchmarks.tasks import task_named

__all__ = ["TARGET_METHOD", "summarise", "usable_range", "worst_drop"]

TARGET_METHOD = "one_cycle"
"""Its mean last score at its best rate is the target of every other method."""

_WITHIN = 0.02
_AT_CHANCE = 0.05


def summarise(results: Mapping[RunKey, Result]) -> list[dict[str, Any]]:
    """One row for each task, scenario, batch size and method, in running order.

    Keys of a row, beside those of the run:

    - `train_size`, `test_size`, `seeds`, `kind`, `rate_name`;
    - at the best rate: `best_rate`, `at_grid_edge`, `score`, `score_interval` (95 %, Student's t over seeds; None with
      one seed), `test_standard_error` (from the size of the test set alone; `task_standard_error` is the greatest of
      the task's), `worst_drop` and `worst_drop_epoch` (mean over seeds), `steps_to_target`, `share_to_target` (None:
      never), with the `target` itself;
    - `usable_range` and `range_at_grid_edge`;
    - over the whole grid: `diverged`, `at_chance`, `runs`, `seconds_per_run`;
    - `rates`: the same figures for each rate, with its mean curve.
    """
    groups: dict[tuple[str, str, int, int], dict[str, list[Result]]] = defaultdict(lambda: defaultdict(list))
    for key, result in results.items():
        groups[key.task, key.scenario, key.batch, key.steps][key.method].append(result)
    rows = []
    for by_method in groups.values():
        target = None
        if TARGET_METHOD in by_method:
            target = max(rate["score"] for rate in _rates(by_method[TARGET_METHOD], None))
        of_task = [_row(by_method[name], target) for name in METHODS if name in by_method]
        worst = max(row["test_standard_error"] for row in of_task)
        rows += [row | {"task_standard_error": worst} for row in of_task]
    return rows


def _row(results: Sequence[Result], target: float | None) -> dict[str, Any]:
    first = results[0]
    family, method = family_of(first.key.method), METHODS[first.key.method]
    rates = _rates(results, target)
    best = max(rates, key=lambda rate: rate["score"])
    grid = [rate["rate"] for rate in rates]
    low, high = usable_range(grid, [rate["score"] for rate in rates])
    return {
        "task": first.key.task,
        "title": task_named(first.key.task).title,
        "scenario": first.key.scenario,
        "batch": first.key.batch,
        "steps": first.key.steps,
        "method": method.name,
        "method_title": method.title,
        "kind": method.kind,
        "measure": task_named(first.key.task).score,
        "train_size": first.train_size,
        "test_size": first.test_size,
        "rate_name": family.rate_name,
        "default_rate": family.default_rate if family.default_rate in grid else None,
        "best_rate": best["rate"],
        "at_grid_edge": len(grid) > 1 and best["rate"] in (grid[0], grid[-1]),
        **{name: best[name] for name in _AT_BEST},
        "test_standard_error": float(np.mean([r.score_error for r in results if r.key.rate == best["rate"]])),
        "usable_range": high / low,
        "range_at_grid_edge": low == grid[0] or high == grid[-1],
        "target": target,
        "diverged": sum(rate["diverged"] for rate in rates),
        "at_chance": sum(rate["at_chance"] for rate in rates),
        "runs": len(results),
        "seconds_per_run": float(np.mean([result.seconds for result in results])),
        "rates": rates,
    }


_AT_BEST = (
    "seeds",
    "score",
    "score_interval",
    "worst_drop",
    "worst_drop_epoch",
    "steps_to_target",
    "share_to_target",
)


def _rates(results: Sequence[Result], target: float | None) -> list[dict[str, Any]]:
    """Figures of one method at each of its rates, ascending."""
    by_rate: dict[float, list[Result]] = defaultdict(list)
    for result in results:
        by_rate[result.key.rate].append(result)
    return [_rate(rate, by_rate[rate], target) for rate in sorted(by_rate)]


def _rate(rate: float, runs: Sequence[Result], target: float | None) -> dict[str, Any]:
    curves = np.array([run.scores for run in runs])
    mean, at_steps = curves.mean(axis=0), runs[0].at_steps
    reached = None if target is None else next((s for s, m in zip(at_steps, mean, strict=True) if m >= target), None)
    apart = _evaluations_an_epoch(runs[0])
    collapsed = [not run.diverged and run.scores[-1] < run.chance + _AT_CHANCE for run in runs]
    return {
        "rate": rate,
        "seeds": len(runs),
        "score": float(mean[-1]),
        "score_interval": _interval(curves[:, -1]),
        "diverged": sum(run.diverged for run in runs),
        "at_chance": sum(collapsed),
        "worst_drop": float(np.mean([worst_drop(curve) for curve in curves])),
        "worst_drop_epoch": float(np.mean([worst_drop(curve, apart=apart) for curve in curves])),
        "steps_to_target": reached,
        "share_to_target": None if reached is None else reached / at_steps[-1],
        "at_steps": list(at_steps),
        "curve": [float(score) for score in mean],
    }


def _evaluations_an_epoch(run: Result) -> int:
    """Evaluations that lie an epoch apart, at most a quarter of the run."""
    epoch_steps = min(run.train_size / run.key.batch, run.key.steps / 4)
    return max(1, round(epoch_steps * len(run.at_steps) / run.key.steps))


def _interval(scores: NDArray[np.float64]) -> list[float] | None:
    """Mean's 95 % interval over seeds, Student's t; None for a single seed."""
    if len(scores) < 2:
        return None
    half = float(student_t.ppf(0.975, len(scores) - 1)) * float(scores.std(ddof=1)) / math.sqrt(len(scores))
    return [float(scores.mean()) - half, float(scores.mean()) + half]


def usable_range(rates: Sequence[float], scores: Sequence[float], *, within: float = _WITHIN) -> tuple[float, float]:
    """Least and greatest rate around the best one, without a gap, whose score is within `within` of the best.

    Args:
        rates: ascending.
        scores: mean last score at each.
        within: of the best score.
    """
    best = int(np.argmax(scores))
    good = [score >= scores[best] - within - 1e-12 for score in scores]
    low = high = best
    while low > 0 and good[low - 1]:
        low -= 1
    while high < len(rates) - 1 and good[high + 1]:
        high += 1
    return rates[low], rates[high]


def worst_drop(scores: Sequence[float] | NDArray[np.float64], *, apart: int = 1) -> float:
    """Greatest loss of score between evaluations that lie `apart` evaluations apart, counted back from the last; >= 0.

    Monotonicity: 0 for a curve that never falls.
    """
    picked = np.asarray(scores)[::-1][::apart][::-1]
    return float(max(0.0, np.max(picked[:-1] - picked[1:], initial=0.0)))
