"""The command line: verbs, exit codes, one line for bad input, JSON on standard output, Ctrl-C."""

import json
import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from design_run import RATE_HZ, WAKE, TinyRun, burst, start, tiny_run, wait_for, write_clips, write_recordings
from lightsleeper.cli import run
from lightsleeper.design.run_folder import RUN_MARKS
from lightsleeper.errors import LightsleeperError
from lightsleeper.recordings import synthetic_recordings

VERBS = ("design", "evaluate", "simulate", "power", "verify", "yield", "export", "bench averaging")
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    return tiny_run(tmp_path_factory)


def said_line(capsys: Capture) -> str:
    """The one line of an error; nothing else is said but the progress of what went before."""
    said = capsys.readouterr()
    assert said.out == ""
    assert "Traceback" not in said.err
    lines = [line for line in said.err.splitlines() if line.startswith("lightsleeper: ")]
    others = [line for line in said.err.splitlines() if line not in lines and "0:0" not in line]
    assert others == []
    assert len(lines) == 1
    return lines[0]


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_every_verb_shows_an_example(verb: str, capsys: Capture):
    assert run([*verb.split(), "--help"]) == 0
    said = capsys.readouterr()
    assert re.search(rf"Example: lightsleeper {verb} \S+", said.out)
    assert "--json" in said.out
    assert said.err == ""


def test_help_is_what_a_bare_command_says(capsys: Capture):
    assert run([]) == run(["--help"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert all(said.out.count(f"\n  {verb.split()[0]} ") == 2 for verb in VERBS)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["desing"], "No such command 'desing'"),
        (["design", "--recording", "x"], "No such option: --recording"),
        (["power"], "Missing argument 'RUN'"),
        (["evaluate", "run"], "Missing option '--recordings'"),
        (["design", "--seed", "many"], "--seed"),
        (["evaluate", "run", "--recordings", "x", "--hours", "0"], "--hours"),
        (["simulate", "run", "x.wav", "--level-db-spl", "10000"], "--level-db-spl"),
    ],
)
def test_wrong_usage_is_one_line(arguments: list[str], words: str, capsys: Capture):
    assert run(arguments) == 2
    assert words in said_line(capsys)


def _cut_wav(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5_000])


BAD_FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (_cut_wav, "truncated"),
    "zero length": (lambda path: soundfile.write(path, np.zeros(0), RATE_HZ), "no samples"),
    "empty file": (lambda path: path.write_bytes(b""), "0 bytes"),
    "not a number": (
        lambda path: soundfile.write(path, np.where(np.arange(9_000) == 5, np.nan, 0.1), RATE_HZ, subtype="FLOAT"),
        "NaN",
    ),
    "silence": (lambda path: soundfile.write(path, np.zeros(9_000), RATE_HZ), "silence"),
    "no audio": (lambda path: path.write_text("dear diary " * 100, encoding="utf-8"), "not a readable"),
    "3 Hz": (lambda path: soundfile.write(path, burst(1)[:30], 3), "3 Hz is too low"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_file_is_named_and_skipped_only_where_asked(case: str, tmp_path: Path, capsys: Capture):
    spoil, words = BAD_FILES[case]
    folder = write_clips(tmp_path / "sounds", {"glass": 4, "dog": 4})
    spoil(folder / "dog" / "1.wav")
    out = tmp_path / "out"
    assert run(["design", "--recordings", str(folder), "--wake", "glass", "--out", str(out)]) == 2
    line = said_line(capsys)
    assert "dog/1.wav: " in line
    assert words in line
    assert "--skip-bad" in line
    assert run(["design", "--recordings", str(folder), "--wake", "gl", "--out", str(out), "--skip-bad"]) == 2
    assert "no recording has the label gl;" in said_line(capsys), "reading went past the file"
    assert [path.name for path in tmp_path.iterdir()] == ["sounds"]


@pytest.mark.parametrize(
    ("counts", "wake", "words"),
    [
        ({}, "glass", "holds no recordings"),
        (None, "glass", "no such folder"),
        ({"glass": 1}, "glass", "holds a single recording (glass/0.wav)"),
        ({"glass": 4, "dog": 4}, "cat", "no recording has the label cat; labels are dog, glass"),
        ({"glass": 4, "dog": 4}, "glas", "did you mean glass?"),
        ({"glass": 2, "dog": 4}, "glass", "recordings of 2 sources; needed are at least 3"),
        ({"glass": 4}, "glass", "has no clip of another label"),
    ],
)
def test_recordings_that_cannot_serve_are_one_line(
    counts: dict[str, int] | None, wake: str, words: str, tmp_path: Path, capsys: Capture
):
    folder = tmp_path / "sounds"
    if counts is not None:
        folder.mkdir()
        write_clips(folder, counts)
    out = tmp_path / "deep" / "out"
    assert run(["design", "--recordings", str(folder), "--wake", wake, "--out", str(out)]) == 2
    assert words in said_line(capsys)
    assert not out.exists()


def test_the_installed_command_ends_with_the_exit_code():
    process = start("design", "--nope")
    said, errors = process.communicate()
    assert (process.returncode, said) == (2, "")
    assert errors.count("\n") == 1
    assert errors.startswith("lightsleeper: No such option: --nope")


def test_an_out_folder_in_use_is_kept(tmp_path: Path, capsys: Capture):
    (tmp_path / "run").mkdir()
    for mark in RUN_MARKS:
        (tmp_path / "run" / mark).write_text("{}", encoding="utf-8")
    assert run(["design", "--out", str(tmp_path / "run")]) == 2
    assert "run: holds an older run, which is kept; choose another --out or say --force" in said_line(capsys)
    for mark in RUN_MARKS:
        (tmp_path / "run" / mark).unlink()
    (tmp_path / "run" / "diary.txt").write_text("mine", encoding="utf-8")
    assert run(["design", "--out", str(tmp_path / "run"), "--force"]) == 2
    assert "is not empty and no run" in said_line(capsys)
    assert run(["design", "--out", str(tmp_path / "run" / "diary.txt" / "deep")]) == 2
    assert "cannot be written" in said_line(capsys)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["diary.txt"]


@pytest.mark.parametrize(
    "verb",
    [
        ["evaluate", "--recordings", "."],
        ["simulate", "x.wav"],
        ["power"],
        ["verify"],
        ["yield"],
        ["export", "--to", "spice"],
    ],
)
def test_a_folder_that_is_no_run_is_one_line(verb: list[str], tmp_path: Path, capsys: Capture):
    assert run([verb[0], str(tmp_path), *verb[1:]]) == 2
    assert f"{tmp_path}: is no finished run (no summary.json)" in said_line(capsys)


def test_other_errors_have_their_exit_codes(monkeypatch: pytest.MonkeyPatch, capsys: Capture):
    def fail(error: BaseException) -> Any:
        def load(*_: object) -> None:
            raise error

        monkeypatch.setattr("lightsleeper.design.load_design", load)
        return run(["power", "run"])

    assert fail(LightsleeperError("a tool\nfailed")) == 1
    assert said_line(capsys) == "lightsleeper: a tool failed"
    assert fail(KeyboardInterrupt()) == 130
    assert said_line(capsys) == "lightsleeper: interrupted; nothing was written"
    assert run(["yield", "run"]) == 130
    assert said_line(capsys) == "lightsleeper: interrupted; finished chips are kept"
    with pytest.raises(ZeroDivisionError):
        fail(ZeroDivisionError())


def _keep(process: subprocess.Popen[str], heard: list[str]) -> None:
    """Standard error as it comes: progress is drawn again and again, without an end of line."""
    assert process.stderr is not None
    while part := os.read(process.stderr.fileno(), 65_536):
        heard.append(part.decode(errors="replace"))


@pytest.mark.slow
def test_ctrl_c_in_the_midst_of_training_leaves_nothing(tmp_path: Path):
    """Threads are inside torch then, which must not change the exit code."""
    folder = write_recordings(tmp_path / "sounds", synthetic_recordings(seed=2, clips_per_label=3).recordings)
    spec = tmp_path / "endless.toml"
    spec.write_text(
        "[training]\nscenes = 3\nscene_s = 60.0\ncircuit_steps = 0\nnetwork_steps = 1000000\n", encoding="utf-8"
    )
    heard: list[str] = []
    with start("design", spec, "--recordings", folder, "--out", tmp_path / "runs" / "run") as process:
        reader = threading.Thread(target=_keep, args=(process, heard))
        reader.start()
        try:
            wait_for(lambda: "training networks" in "".join(heard), process)
            assert [path.name[:16] for path in (tmp_path / "runs").iterdir()] == [".run.unfinished-"]
            process.send_signal(signal.SIGINT)
            process.wait(timeout=60)
        finally:
            process.kill()
            reader.join()
    assert process.returncode == 130
    assert "".join(heard).endswith("lightsleeper: interrupted; nothing was written\n")
    assert list((tmp_path / "runs").iterdir()) == []


@pytest.mark.slow
def test_design_prints_pure_json_and_its_progress_apart(tiny: TinyRun):
    assert json.loads(tiny.stdout) == tiny.summary
    for step in ("reading recordings", "training networks", "hearing test streams", "writing the run"):
        assert step in tiny.stderr


@pytest.mark.slow
def test_evaluate_on_recordings_never_seen(tiny: TinyRun, tmp_path: Path, capsys: Capture):
    clips = synthetic_recordings(seed=9, clips_per_label=2).recordings
    folder = write_recordings(tmp_path / "other sounds", clips)
    (folder / "fan" / "bad.wav").write_bytes(b"")
    asked = ["evaluate", str(tiny.folder), "--recordings", str(folder), "--hours", "0.25", "--snr-db", "20", "--json"]
    assert run(asked) == 2
    assert "fan/bad.wav" in said_line(capsys)
    assert run([*asked, "--skip-bad"]) == 0
    figures = json.loads(capsys.readouterr().out)
    task, first = figures["task"], figures["first_stage"]
    assert (task["wake"], task["recordings"], task["synthetic"]) == (WAKE, "other sounds", False)
    assert (task["clips"], task["test_clips"], task["train_clips"]) == (len(clips), len(clips), 0)
    assert (task["test_hours"], task["test_events"], task["snr_db"]) == (0.4, 24, 20.0)
    assert len(task["skipped"]) == 1
    assert first["recall"] == first["hits"] / 24
    assert set(first["recall_by_snr_db"]) == {"10"}
    assert first["power_w"] == tiny.summary["first_stage"]["power_w"]
    assert set(figures) >= {"task", "first_stage", "system", "energy", "seeds", "versions"}
    for block in ("first_stage", "system", "energy"):
        assert set(figures[block]) >= set(tiny.summary[block]) - {"validation"}


@pytest.mark.slow
def test_evaluate_prints_a_table(tiny: TinyRun, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch):
    summary = tiny.summary
    monkeypatch.setattr("lightsleeper.design.evaluate_design", lambda *_, **__: summary)
    folder = write_clips(tmp_path / "sounds", {"glass": 2})
    assert run(["evaluate", str(tiny.folder), "--recordings", str(folder)]) == 0
    out = capsys.readouterr().out
    assert "(synthetic recordings)" in out
    first = summary["first_stage"]
    row = next(line for line in out.splitlines() if "first stage: recall" in line)
    assert f"{first['recall']:.3f}" in row
    assert f"{first['recall_interval'][0]:.3f} to {first['recall_interval'][1]:.3f}" in row
    task = summary["task"]
    assert f"{task['test_events']} events, {task['test_foreign']} foreign sounds" in out


@pytest.mark.slow
@pytest.mark.parametrize("case", ["only the wake sound", "no wake sound", "missing"])
def test_evaluate_refuses_what_cannot_be_counted(case: str, tiny: TinyRun, tmp_path: Path, capsys: Capture):
    counts = {"only the wake sound": {WAKE: 3}, "no wake sound": {"dog": 2, "rain": 2}, "missing": {}}[case]
    words = {"only the wake sound": "all recordings are", "no wake sound": "labels are dog, rain", "missing": "no such"}
    folder = write_clips(tmp_path / "sounds", counts)
    assert run(["evaluate", str(tiny.folder), "--recordings", str(folder)]) == 2
    assert words[case] in said_line(capsys)


@pytest.mark.slow
def test_simulate_lists_wakes_and_writes_waveforms(tiny: TinyRun, tmp_path: Path, capsys: Capture):
    sound, waves = tmp_path / "burst.wav", tmp_path / "waves.npz"
    soundfile.write(sound, np.concatenate([np.zeros(RATE_HZ), burst(4, duration_s=2.0)]), RATE_HZ)
    asked = ["simulate", str(tiny.folder), str(sound), "--level-db-spl", "70", "--waveforms", str(waves)]
    assert run([*asked, "--json"]) == 0
    said = capsys.readouterr()
    result = json.loads(said.out)
    assert (result["level_db_spl"], result["duration_s"]) == (70.0, 3.0)
    with np.load(waves, allow_pickle=False) as arrays:
        assert set(arrays.files) >= set(result["nets"]) >= {"fast", "slow", "floor", "hidden", "score", "integral"}
        crosses = bool((arrays["integral"] >= result["threshold_v"]).any())
    assert crosses == bool(result["wakes_s"])
    assert run(asked) == 0
    out = capsys.readouterr().out
    assert all(re.search(rf"\b{net}\b", out) for net in result["nets"])
    times = ", ".join(f"{time:.2f} s" for time in result["wakes_s"]) or "never"
    assert f"wakes: {times} (threshold {1e3 * result['threshold_v']:.1f} mV)" in " ".join(out.split())
    assert run(["simulate", str(tiny.folder), str(tmp_path / "missing.wav")]) == 2
    assert "missing.wav: no such file" in said_line(capsys)


@pytest.mark.slow
def test_power_is_that_of_the_summary(tiny: TinyRun, capsys: Capture, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "300")
    assert run(["power", str(tiny.folder), "--json"]) == 0
    energy = json.loads(capsys.readouterr().out)
    assert energy == tiny.summary["energy"]
    assert run(["power", str(tiny.folder)]) == 0
    out = capsys.readouterr().out
    for system in (energy["analyse_first"], *energy["digitise_first"].values()):
        for part in system["parts"]:
            shown = next(line for line in out.splitlines() if part["part"] in line and part["state"] in line)
            assert shown
            assert any(f"{1e6 * part['power_w']:.2f}" in line for line in out.splitlines() if part["part"] in line)
    for name, extension in energy["battery_life_extension_percent"].items():
        assert f"against {name}: {extension:+.0f} % battery life" in out


@pytest.mark.slow
def test_power_at_another_rate(tiny: TinyRun, capsys: Capture):
    days = []
    for rate in ("0", "5", "50"):
        assert run(["power", str(tiny.folder), "--wakes-per-hour", rate, "--json"]) == 0
        days.append(json.loads(capsys.readouterr().out)["analyse_first"]["battery_days"])
    assert days == sorted(days, reverse=True)
    assert days[0] > days[-1]
