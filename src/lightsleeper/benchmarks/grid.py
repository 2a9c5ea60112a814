"""A grid of runs: tasks x methods x rates x seeds, in parallel and resumable."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Protocol

import joblib
import torch

from lightsleeper.benchmarks.one_run import run_once
from lightsleeper.benchmarks.packages import optional_package
from lightsleeper.benchmarks.results_file import Result, RunKey, append_results, read_results
from lightsleeper.benchmarks.rivals import FAMILIES, family_of
from lightsleeper.benchmarks.scenarios import Scenario, check_scenario
from lightsleeper.benchmarks.scoring import chance, score_standard_error
from lightsleeper.benchmarks.tasks import Task, load, task_named
from lightsleeper.errors import InputError, LightsleeperError

__all__ = ["Grid", "Job", "Progress", "estimate_s", "jobs_left", "on_cluster", "run_grid"]


class Progress(Protocol):
    """Hears of the work's progress."""

    def begin(self, step: str, total: int) -> None:
        """A new step of so many units."""

    def advance(self, units: int = 1) -> None:
        """Units of the step are done."""


@dataclass(frozen=True)
class Grid:
    """What is asked.

    Attributes:
        tasks: in the order in which they are run.
        methods: names.
        seeds: 0 up to this.
        batches: batch sizes; none: each task's own.
        rates: replaces the common grid of effective learning rates; methods with grids of their own keep those.
        scenario: faults of the field.
        steps_divisor: runs are so many times shorter.
    """

    tasks: Sequence[Task]
    methods: Sequence[str]
    seeds: int = 3
    batches: Sequence[int] | None = None
    rates: Sequence[float] | None = None
    scenario: Scenario = "clean"
    steps_divisor: int = 1

    def __post_init__(self) -> None:
        for task in self.tasks:
            check_scenario(task, self.scenario)
        for name in self.methods:
            family_of(name)
        if self.seeds < 1:
            raise InputError(f"seeds is {self.seeds}: give at least 1")
        if any(batch < 1 for batch in self.batches or ()):
            raise InputError(f"batch sizes are {list(self.batches or ())}: give whole numbers of at least 1")
        if any(not rate > 0 for rate in self.rates or ()):
            raise InputError(f"learning rates are {list(self.rates or ())}: give positive numbers")

    def run_keys(self) -> list[RunKey]:
        """Every run and method that is asked, in running order: by task, batch size, seed."""
        families = [family for family in FAMILIES.values() if any(m.name in self.methods for m in family.methods)]
        return [
            RunKey(
                task=task.name,
                scenario=self.scenario,
                batch=batch,
                steps=max(1, task.steps_at(batch) // self.steps_divisor),
                method=method.name,
                version=family.version,
                rate=rate,
                seed=seed,
            )
            for task in self.tasks
            for batch in self.batches or (task.batch,)
            for seed in range(self.seeds)
            for family in families
            for rate in (sorted(self.rates) if self.rates and family.shares_grid else family.rates)
            for method in family.methods
            if method.name in self.methods
        ]


@dataclass(frozen=True)
class Job:
    """One training run and the methods to evaluate in it, which are of one family."""

    keys: tuple[RunKey, ...]
    folder: Path | None

    def run(self) -> list[Result]:
        """Train; reads the data of the task where this process has not yet."""
        torch.set_num_threads(1)
        first = self.keys[0]
        task = task_named(first.task)
        data = load(first.task, self.folder)
        curves = run_once(
            task,
            data,
            family_of(first.method),
            [key.method for key in self.keys],
            rate=first.rate,
            seed=first.seed,
            batch=first.batch,
            steps=first.steps,
            scenario=first.scenario,  # type: ignore[arg-type]
        )
        return [
            Result(
                key=key,
                at_steps=curve.at_steps,
                scores=tuple(round(score, 5) for score in curve.scores),
                diverged=curve.diverged,
                train_size=len(data.x_train),
                test_size=len(data.x_test),
                chance=chance(task.score, data.classes),
                score_error=score_standard_error(task.score, curve.scores[-1], data.y_test),
                seconds=round(curve.seconds, 3),
            )
            for key, curve in zip(self.keys, curves, strict=True)
        ]


def jobs_left(keys: Sequence[RunKey], finished: Mapping[RunKey, Result], folder: Path | None) -> list[Job]:
    """Training runs that are still to be made; methods of a family at one rate and seed share one."""
    left = [key for key in keys if key not in finished]

    def run_of(key: RunKey) -> tuple[object, ...]:
        return key.task, key.batch, key.seed, family_of(key.method).name, key.rate

    return [Job(tuple(of_run), folder) for _, of_run in groupby(left, key=run_of)]


def estimate_s(jobs: Sequence[Job], finished: Mapping[RunKey, Result]) -> float:
    """Core-seconds that the jobs will take: by this file's own finished runs of the task, else by the task's figure."""
    total = 0.0
    for job in jobs:
        task = task_named(job.keys[0].task)
        known = [result for key, result in finished.items() if key.task == task.name]
        share = job.keys[0].steps / task.steps
        measured = sum(result.seconds / result.key.steps for result in known)
        total += measured / len(known) * job.keys[0].steps if known else task.run_s * share
    return total


def run_grid(
    grid: Grid,
    results_path: Path,
    *,
    folder: Path | None,
    workers: int = 1,
    cluster: str | None = None,
    progress: Progress,
) -> dict[RunKey, Result]:
    """Make every run of the grid that the file does not hold yet; each is added to it as soon as it is finished.

    Args:
        grid: what is asked.
        results_path: file of finished runs.
        folder: data folder; on a cluster it must be at the same place for every worker.
        workers: processes.
        cluster: address of a Dask scheduler ("tcp://host:8786") that runs the jobs instead.
        progress: hears of every finished run.

    Returns:
        The results of the whole grid.

    Raises:
        MissingToolError: a package is missing that a method, a task or the cluster needs.
        LightsleeperError: the cluster cannot be reached.
    """
    keys = grid.run_keys()
    finished = read_results(results_path)
    jobs = jobs_left(keys, finished, folder)
    minutes = estimate_s(jobs, finished) / 60
    progress.begin(f"{len(jobs)} training runs, about {minutes:.1f} core-minutes", len(jobs))
    with on_cluster(cluster):
        parallel = joblib.Parallel(n_jobs=-1 if cluster else workers, return_as="generator_unordered")
        for results in parallel(joblib.delayed(job.run)() for job in jobs):
            append_results(results_path, results)
            finished |= {result.key: result for result in results}
            progress.advance()
    return {key: finished[key] for key in keys}


def on_cluster(cluster: str | None) -> AbstractContextManager[None]:
    """Where joblib's jobs go: to the Dask scheduler at this address; None leaves them on this machine.

    Raises MissingToolError where the package for it is missing, LightsleeperError where no scheduler answers.
    """
    return nullcontext() if cluster is None else _dask(cluster)


@contextmanager
def _dask(address: str) -> Iterator[None]:
    """Jobs of joblib go to the Dask cluster at this address."""
    distributed = optional_package("distributed", distribution="dask.distributed", extra="cluster")
    try:
        client = distributed.Client(address, timeout="10s")
    except (OSError, ValueError) as error:
        raise LightsleeperError(f"no Dask scheduler answers at {address}: {error}") from error
    with client, joblib.parallel_config(backend="dask"):
        yield
