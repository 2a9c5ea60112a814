"""Useful work beside a trainer: the worker itself, and a short measurement of real processes."""

import json
import sys
from pathlib import Path

import pytest

from device_build import tiny_library, tiny_samples
from lightsleeper import cli
from lightsleeper.device import TrainerLibrary, bench_idle, beside
from lightsleeper.device.foreground import Worker
from lightsleeper.errors import LightsleeperError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="SCHED_IDLE, /proc")


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("beside")
    tiny_library(made)
    tiny_samples(made / "d.npz")
    return made


def test_steady_work_never_rests_and_periodic_work_does(folder: Path):
    library = TrainerLibrary(folder / "tiny.so")
    steady = Worker(library, duty=1.0).work(0.2)
    assert steady.per_s > 10
    assert steady.late_s == ()
    seldom = Worker(library, duty=0.1).work(0.2)
    assert seldom.cpu_share < 0.6 < 1.5 * steady.cpu_share + 0.6
    assert 1 <= len(seldom.late_s) <= 11
    assert all(late_s > 0.0 for late_s in seldom.late_s)
    assert seldom.per_s == pytest.approx(2 * len(seldom.late_s) / 0.2, rel=1.0)


@pytest.mark.slow
def test_an_idle_trainer_leaves_the_processor_to_steady_work_and_a_normal_one_takes_half(folder: Path):
    """Compared with each other on one processor, so that others on it do no harm: what one takes the other lacks."""
    rows = bench_idle(
        library=folder / "tiny.so", data=folder / "d.npz", duties=(1.0,), budgets=(1.0,), rounds=2, round_s=1.0
    )
    by_trainer = {row.trainer: row for row in rows}
    assert list(by_trainer) == ["idle 100%", "nice 19", "normal"]
    assert by_trainer["idle 100%"].trainer_cpu_share < 0.03 < by_trainer["normal"].trainer_cpu_share
    assert by_trainer["normal"].work_kept_percent < by_trainer["idle 100%"].work_kept_percent
    assert all(row.foreground == "steady" and row.late_alone_s is None for row in rows)
    assert all(2**20 < row.trainer_memory_bytes < 64_000_000 for row in rows)


def test_the_command_prints_what_was_measured(folder: Path, monkeypatch, capsys):
    monkeypatch.setattr(beside, "_WARM_UP_S", {True: 0.1, False: 0.1})
    files = ["--library", str(folder / "tiny.so"), "--data", str(folder / "d.npz")]
    arguments = ["bench", "idle", *files, "--duty", "30%", "--cpu", "50%", "--rounds", "2", "--round-s", "0.1"]
    assert cli.run([*arguments, "--any-processor", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [(row["trainer"], row["foreground"]) for row in rows] == [
        (trainer, "periodic 30%") for trainer in ("idle 50%", "nice 19", "normal")
    ]
    for row in rows:
        assert row["placement"] == "any processor"
        assert row["work_kept_range"][0] <= row["work_kept_percent"] <= row["work_kept_range"][1]
        assert row["late_alone_s"][0] <= row["late_alone_s"][1]
    assert cli.run(arguments) == 0
    assert "of the memory is left for useful work" in capsys.readouterr().out


def test_a_trainer_that_ends_is_an_error(folder: Path, monkeypatch):
    monkeypatch.setattr(beside, "_WARM_UP_S", {True: 0.1, False: 0.1})
    monkeypatch.setattr(beside, "_commands", lambda *_: {"idle": ["-c", "pass"]})
    with pytest.raises(LightsleeperError, match="ended with code 0 while it was measured"):
        bench_idle(library=folder / "tiny.so", data=folder / "d.npz", duties=(0.3,), rounds=3, round_s=0.3)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--duty", "0%"], "--duty and --cpu: give shares over 0 %"),
        (["--cpu", ""], "--duty and --cpu: give shares over 0 %"),
        (["--cpu", "150%"], "'150%' is no share"),
        (["--library", "no-such.so"], "no-such.so: no such library"),
        (["--data", "no-such.npz"], "no-such.npz: no such file"),
    ],
)
def test_bad_input_is_one_line(folder: Path, arguments, words, capsys):
    files = ["--library", str(folder / "tiny.so"), "--data", str(folder / "d.npz")]
    assert cli.run(["bench", "idle", *files, *arguments]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("lightsleeper: ")]
    assert words in line
