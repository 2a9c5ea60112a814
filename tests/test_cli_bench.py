"""`lightsleeper bench averaging` on the command line."""

import json
import re
from pathlib import Path

import pytest

from lightsleeper import benchmarks
from lightsleeper.benchmarks import grid
from lightsleeper.cli import run

BENCH = ["bench", "averaging"]
SMALL = ["--tasks", "digits", "--methods", "sgd,one_cycle", "--seeds", "1", "--lr-grid", "0.1,0.3", "--quick"]
Capture = pytest.CaptureFixture[str]


def line_of(capsys: Capture) -> str:
    said = capsys.readouterr()
    (line,) = [line for line in said.err.splitlines() if line.startswith("lightsleeper: ")]
    assert "Traceback" not in said.err
    assert said.out == ""
    return line


def test_json_holds_one_row_a_method_and_the_second_call_trains_nothing(tmp_path: Path, capsys: Capture):
    assert run([*BENCH, *SMALL, "--out", str(tmp_path), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["method"] for row in rows] == ["sgd", "one_cycle"]
    before = (tmp_path / "runs.jsonl").read_bytes()
    assert run([*BENCH, *SMALL, "--out", str(tmp_path)]) == 0
    assert (tmp_path / "runs.jsonl").read_bytes() == before
    printed = capsys.readouterr().out
    assert "1200 training examples" in re.sub(r"\s+", " ", printed)
    assert f"{rows[0]['score']:.3f}" in printed
    assert str(tmp_path / "averaging.html") in printed


def test_cost_prints_bytes_to_the_byte(tmp_path: Path, capsys: Capture):
    arguments = [*BENCH, "--cost", "--methods", "sgd,schedule_free,lawa", "--quick", "--json"]
    assert run(arguments) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    by_method = {row["method"]: row for row in rows if "batch 1" in row["setting"]}
    assert by_method["plain SGD"]["bytes_per_weight"] == 0
    assert by_method["sgd"]["bytes_per_weight"] == by_method["schedule_free"]["bytes_per_weight"] == 4
    assert by_method["lawa"]["bytes_per_weight"] == 24
    assert run(arguments[:-1]) == 0
    assert "10136" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--tasks", "mnist"], "no task 'mnist': choose from digits"),
        (["--tasks", "digits", "--methods", "adam"], "no method 'adam': choose from sgd"),
        (["--tasks", "activity"], "--data or LIGHTSLEEPER_DATA"),
        (["--tasks", "digits", "--batch", "1,many"], "--batch is '1,many'"),
        (["--tasks", "digits", "--lr-grid", "0.1,-3"], "give positive numbers"),
        (["--tasks", "digits", "--scenario", "storm"], "clean, glitch, change, ordered"),
        (["--scenario", "ordered"], "no task with a recording order"),
        (["--data", "no-such-folder"], "no-such-folder: no such folder"),
        (["--cost", "--methods", "adam"], "no method 'adam'"),
    ],
)
def test_bad_input_is_one_line(arguments, words, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("LIGHTSLEEPER_DATA", raising=False)
    assert run([*BENCH, *arguments, "--out", str(tmp_path / "out")]) == 2
    assert words in line_of(capsys)
    assert not (tmp_path / "out").exists()


def test_interrupted_says_what_is_kept(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch):
    def interrupts(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(grid, "run_once", interrupts)
    assert run([*BENCH, *SMALL, "--out", str(tmp_path)]) == 130
    assert line_of(capsys) == "lightsleeper: interrupted; finished runs are kept"


def test_every_known_name_is_offered():
    assert set(benchmarks.HEADLINE) <= set(benchmarks.TASKS)
    assert "settle" in benchmarks.METHODS
    assert benchmarks.SCENARIOS == ("clean", "glitch", "change", "ordered")
