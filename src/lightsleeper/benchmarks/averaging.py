"""`lightsleeper bench averaging`: runs what is asked, writes rows and page, and hands back the rows."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightsleeper.benchmarks.cost import COST_SETTINGS, measure_cost
from lightsleeper.benchmarks.figures import write_page
from lightsleeper.benchmarks.grid import Grid, Progress, run_grid
from lightsleeper.benchmarks.rivals import DEFAULT_METHODS, method_named
from lightsleeper.benchmarks.tables import summarise
from lightsleeper.benchmarks.tasks import Task, chosen_tasks, data_folder
from lightsleeper.errors import InputError
from lightsleeper.report.run_folder import write_whole

__all__ = ["bench_averaging", "bench_cost"]

_QUICK_DIVISOR = 10


def bench_averaging(
    out: Path,
    *,
    data: Path | None = None,
    tasks: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    batches: Sequence[int] | None = None,
    seeds: int = 3,
    rates: Sequence[float] | None = None,
    scenario: str = "clean",
    quick: bool = False,
    workers: int = 1,
    cluster: str | None = None,
    progress: Progress,
) -> list[dict[str, Any]]:
    """Train every method on every task that is asked, as far as OUT/runs.jsonl does not hold it yet.

    Args:
        out: folder of runs.jsonl (finished runs), rows.json and averaging.html; made where there is none.
        data: data folder; without it the one that LIGHTSLEEPER_DATA names.
        tasks: names; without them the headline tasks, of which only scikit-learn's digits needs no data folder. In the
            scenario "ordered" those of them that have an order.
        methods: names; without them all.
        batches: batch sizes; without them each task's own.
        seeds: number of seeds.
        rates: replaces the common grid of effective learning rates.
        scenario: clean, glitch, change or ordered.
        quick: runs of a tenth of the length, for a look; their figures are kept apart.
        workers: processes.
        cluster: address of a Dask scheduler.
        progress: hears of finished runs.

    Returns:
        The rows of `summarise`.

    Raises:
        InputError: an unknown name, or a value out of range.
        MissingToolError: a package is missing.
    """
    folder = data_folder(data)
    asked = chosen_tasks(tasks, folder)
    if scenario == "ordered" and tasks is None:
        asked = _in_order(asked)
    grid = Grid(
        tasks=asked,
        methods=list(methods) if methods is not None else DEFAULT_METHODS,
        seeds=seeds,
        batches=batches,
        rates=rates,
        scenario=scenario,  # type: ignore[arg-type]  # the grid checks it
        steps_divisor=_QUICK_DIVISOR if quick else 1,
    )
    results = run_grid(grid, out / "runs.jsonl", folder=folder, workers=workers, cluster=cluster, progress=progress)
    rows = summarise(results)
    write_whole(out / "rows.json", json.dumps({"rows": rows}, indent=1, allow_nan=False))
    write_page(out / "averaging.html", rows)
    return rows


def _in_order(tasks: Sequence[Task]) -> list[Task]:
    kept = [task for task in tasks if task.in_order]
    if not kept:
        raise InputError("no task with a recording order without recordings: name their folder with --data")
    return kept


def bench_cost(methods: Sequence[str] | None, *, quick: bool = False, progress: Progress) -> list[dict[str, Any]]:
    """Time per step over plain SGD and bytes of state per weight, of the methods named or of all.

    Raises:
        InputError: an unknown method.
    """
    names = [method_named(name).name for name in (methods if methods is not None else DEFAULT_METHODS)]
    progress.begin("cost of a step", len(COST_SETTINGS) * (len(names) + 1))
    rows = []
    for row in measure_cost(names, rounds=3 if quick else 25):
        rows.append(row)
        progress.advance()
    return rows
