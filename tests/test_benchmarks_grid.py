"""The grid: what is asked, resuming, workers, the estimate; and the whole benchmark on digits."""

import json
from pathlib import Path

import pytest

from lightsleeper.benchmarks import grid as grid_module
from lightsleeper.benchmarks.averaging import bench_averaging
from lightsleeper.benchmarks.grid import Grid, estimate_s, jobs_left, run_grid
from lightsleeper.benchmarks.results_file import read_results
from lightsleeper.benchmarks.tasks import TASKS
from lightsleeper.errors import InputError, LightsleeperError, MissingToolError


class Heard:
    """Progress that is remembered."""

    def __init__(self) -> None:
        self.totals: list[int] = []
        self.units = 0

    def begin(self, step: str, total: int) -> None:
        self.totals.append(total)

    def advance(self, units: int = 1) -> None:
        self.units += units


def small(**changes) -> Grid:
    asked = {"methods": ["sgd", "ema", "one_cycle"], "seeds": 2, "rates": [0.1, 0.3], "steps_divisor": 100}
    return Grid(tasks=[TASKS["digits"]], **{**asked, **changes})


def test_keys_are_every_combination_and_methods_of_a_family_share_a_job():
    keys = small().run_keys()
    assert len(keys) == len(set(keys)) == 3 * 2 * 2
    jobs = jobs_left(keys, {}, None)
    assert len(jobs) == 2 * 2 * 2
    assert {tuple(key.method for key in job.keys) for job in jobs} == {("sgd", "ema"), ("one_cycle",)}
    assert {key.steps for key in keys} == {30}


def test_own_grids_are_not_replaced_by_the_common_one():
    rates = {key.rate for key in small(methods=["dog"]).run_keys()}
    assert rates == {1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1}


def test_batches_override_the_task():
    assert {(key.batch, key.steps) for key in small(batches=[1, 16]).run_keys()} == {(1, 60), (16, 15)}


def test_a_broken_off_grid_does_only_the_rest_with_the_same_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    whole = run_grid(small(), tmp_path / "whole.jsonl", folder=None, progress=Heard())
    path = tmp_path / "runs.jsonl"
    train = grid_module.run_once
    done = 0

    def breaks_off(*given, **more):
        nonlocal done
        done += 1
        if done > 3:
            raise KeyboardInterrupt
        return train(*given, **more)

    monkeypatch.setattr(grid_module, "run_once", breaks_off)
    with pytest.raises(KeyboardInterrupt):
        run_grid(small(), path, folder=None, progress=Heard())
    monkeypatch.setattr(grid_module, "run_once", train)
    assert 0 < len(read_results(path)) < len(whole)
    path.write_bytes(path.read_bytes() + b'{"key": {"task": "dig')
    heard = Heard()
    resumed = run_grid(small(), path, folder=None, progress=heard)
    assert heard.totals == [8 - 3]
    assert heard.units == 5
    assert {key: result.scores for key, result in resumed.items()} == {
        key: result.scores for key, result in whole.items()
    }
    again = Heard()
    run_grid(small(), path, folder=None, progress=again)
    assert again.totals == [0]


def test_a_method_added_later_does_not_run_its_siblings_again(tmp_path: Path):
    path = tmp_path / "runs.jsonl"
    run_grid(small(methods=["sgd"]), path, folder=None, progress=Heard())
    lines = len(path.read_text().splitlines())
    heard = Heard()
    run_grid(small(methods=["sgd", "ema"]), path, folder=None, progress=heard)
    assert heard.totals == [4]
    assert len(path.read_text().splitlines()) == lines + 4


@pytest.mark.slow
def test_two_workers_give_the_results_of_one(tmp_path: Path):
    one = run_grid(small(), tmp_path / "one.jsonl", folder=None, progress=Heard())
    two = run_grid(small(), tmp_path / "two.jsonl", folder=None, workers=2, progress=Heard())
    assert {key: one[key].scores for key in one} == {key: two[key].scores for key in two}


def test_estimate_follows_measured_runs(tmp_path: Path):
    keys = small().run_keys()
    jobs = jobs_left(keys, {}, None)
    assert estimate_s(jobs, {}) == pytest.approx(8 * TASKS["digits"].run_s / 100)
    finished = run_grid(small(), tmp_path / "runs.jsonl", folder=None, progress=Heard())
    mean_s = sum(result.seconds for result in finished.values()) / len(finished)
    assert estimate_s(jobs, finished) == pytest.approx(8 * mean_s)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"seeds": 0}, "seeds is 0"),
        ({"batches": [0]}, "batch sizes"),
        ({"rates": [0.1, -1.0]}, "learning rates"),
        ({"methods": ["nothing"]}, "no method 'nothing'"),
        ({"scenario": "ordered"}, "no recording order"),
    ],
)
def test_bad_grids_are_refused(changes, says):
    with pytest.raises(InputError, match=says):
        small(**changes)


def test_cluster_needs_its_package_or_a_scheduler(tmp_path: Path):
    """Without `distributed` the package is named, with it the address at which nobody answers."""
    with pytest.raises(LightsleeperError) as caught:
        run_grid(small(), tmp_path / "r.jsonl", folder=None, cluster="tcp://127.0.0.1:1", progress=Heard())
    named = "lightsleeper[cluster]" if isinstance(caught.value, MissingToolError) else "tcp://127.0.0.1:1"
    assert named in str(caught.value)


def test_the_benchmark_writes_rows_and_page(tmp_path: Path):
    heard = Heard()
    rows = bench_averaging(
        tmp_path, tasks=["digits"], methods=["sgd", "one_cycle"], seeds=2, rates=[0.1, 0.3], quick=True, progress=heard
    )
    assert [row["method"] for row in rows] == ["sgd", "one_cycle"]
    assert all(row["score"] > 0.7 and row["steps"] == 300 and row["train_size"] == 1200 for row in rows)
    assert json.loads((tmp_path / "rows.json").read_text())["rows"] == rows
    assert "1200 training examples" in (tmp_path / "averaging.html").read_text(encoding="utf-8")
    assert len(read_results(tmp_path / "runs.jsonl")) == 8
