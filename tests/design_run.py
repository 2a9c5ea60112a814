"""One tiny run through the real command line, made once, and the recordings that the tests of the main job share."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from lightsleeper.design import Silent, Spec
from lightsleeper.design.material import Material, gather
from lightsleeper.recordings import FLOOR_LABELS, Recording

RATE_HZ = 16_000
WAKE = "glass_breaking"
TINY = """\
[training]
scenes = 6
scene_s = 60.0
first_steps = 10
circuit_steps = 1
network_steps = 300
digital_steps = 20
[evaluation]
dense_hours = 0.25
floor_hours = 0.25
validation_hours = 0.25
snr_db = [10.0]
"""
"""The smallest design whose recall still stands clear of chance."""


@dataclass(frozen=True)
class TinyRun:
    """A finished run and what the command said."""

    folder: Path
    spec_file: Path
    stdout: str
    stderr: str

    @property
    def summary(self) -> dict[str, Any]:
        return json.loads((self.folder / "summary.json").read_text(encoding="utf-8"))


def start(*arguments: str | Path) -> subprocess.Popen[str]:
    """The installed command in a process of its own."""
    command = [str(Path(sys.executable).with_name("lightsleeper")), *map(str, arguments)]
    environment = os.environ | {"FORCE_COLOR": "1"} if "--json" not in command else None
    # A suite that a shell started in the background ignores Ctrl-C, and its children would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def tiny_run(factory: pytest.TempPathFactory) -> TinyRun:
    """A design on the built-in recordings, made once a session."""
    return _tiny_run(factory.getbasetemp() / "tiny")


def repeated_run(factory: pytest.TempPathFactory) -> TinyRun:
    """The same design, made once a session, where `kill -9` ended another one before."""
    return _repeated_run(tiny_run(factory).spec_file, factory.getbasetemp() / "repeated")


@cache
def _tiny_run(base: Path) -> TinyRun:
    base.mkdir()
    spec = base / "tiny.toml"
    spec.write_text(TINY, encoding="utf-8")
    return _finished(spec, base / "run")


@cache
def _repeated_run(spec: Path, base: Path) -> TinyRun:
    base.mkdir()
    out = base / "run"
    killed = start("design", spec, "--out", out)
    wait_for(lambda: list(out.parent.iterdir()), killed)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    assert [path.name.startswith(".run.unfinished-") for path in out.parent.iterdir()] == [True]
    return _finished(spec, out)


def _finished(spec: Path, out: Path) -> TinyRun:
    process = start("design", spec, "--out", out, "--json")
    stdout, stderr = process.communicate()
    assert process.returncode == 0, stderr
    return TinyRun(out, spec, stdout, stderr)


def wait_for(happened: Any, process: subprocess.Popen[str], *, limit_s: float = 60.0) -> None:
    """Until `happened()` is true while the process runs."""
    end = time.monotonic() + limit_s
    while not happened():
        assert process.poll() is None, "ended before its time"
        assert time.monotonic() < end, "did not happen"
        time.sleep(0.02)


@cache
def tiny_spec() -> Spec:
    """The spec of the tiny run."""
    return Spec.model_validate(tomllib.loads(TINY))


@cache
def tiny_material() -> Material:
    """What the tiny run learnt from and was tested on."""
    return gather(tiny_spec(), Silent())


def shuffled(material: Material, *, seed: int) -> Material:
    """The clips with their labels dealt out anew, so that nothing is to be learnt.

    Labels of the background stay, since a background with glass breaking in it would be another scene.
    """
    everything = [*material.train, *material.test]
    dealt = [index for index, recording in enumerate(everything) if recording.label not in FLOOR_LABELS]
    permuted = np.random.default_rng(seed).permutation(dealt)
    labels = {index: everything[other].label for index, other in zip(dealt, permuted, strict=True)}
    clips = [dataclasses.replace(r, label=labels.get(i, r.label)) for i, r in enumerate(everything)]
    folds = {fold: tuple(r for r in clips if r.fold == fold) for fold in material.folds}
    return dataclasses.replace(material, folds=folds, test=tuple(r for r in clips if r.fold == material.test_fold))


def burst(seed: int, *, duration_s: float = 1.0) -> np.ndarray:
    """A decaying burst of noise."""
    time_s = np.arange(round(duration_s * RATE_HZ)) / RATE_HZ
    return 0.3 * np.random.default_rng(seed).standard_normal(time_s.size).clip(-3, 3) * np.exp(-5 * time_s)


def write_clips(folder: Path, counts: dict[str, int]) -> Path:
    """A folder of short clips, `label/number.wav`."""
    for number, label in enumerate(counts):
        (folder / label).mkdir(parents=True)
        for clip in range(counts[label]):
            soundfile.write(folder / label / f"{clip}.wav", burst(100 * number + clip), RATE_HZ)
    return folder


def write_recordings(folder: Path, recordings: Sequence[Recording]) -> Path:
    """Recordings as WAV files, one sub-folder per label."""
    for number, recording in enumerate(recordings):
        path = folder / recording.label / f"{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, recording.samples, round(recording.rate_hz))
    return folder
