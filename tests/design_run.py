"""One tiny run through the real command line, made once a session, and recordings that tests of the main job share."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from filelock import FileLock

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
chips = 0
digital_steps = 20
[evaluation]
dense_hours = 0.3
floor_hours = 0.1
validation_hours = 0.1
snr_db = [10.0]
"""
"""The smallest design whose recall still stands clear of chance; six streams are too few to learn mismatch from."""


@dataclass(frozen=True)
class TinyRun:
    """A finished run and what the command said."""

    folder: Path
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
    return _once(_shared(factory) / "tiny", _tiny_run)


def repeated_run(factory: pytest.TempPathFactory) -> TinyRun:
    """The same design, made once a session, where `kill -9` ended another one before."""
    return _once(_shared(factory) / "repeated", _repeated_run)


def _shared(factory: pytest.TempPathFactory) -> Path:
    """Folder that all processes of the session share."""
    base = factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


def _once(base: Path, make: Callable[[Path], TinyRun]) -> TinyRun:
    """The run that `make` leaves in the folder `base`; whoever comes second waits for it."""
    with FileLock(base.with_suffix(".lock")):
        if not base.exists():
            base.mkdir()
            run = make(base)
            (base / "said.json").write_text(json.dumps([run.stdout, run.stderr]), encoding="utf-8")
    stdout, stderr = json.loads((base / "said.json").read_text(encoding="utf-8"))
    return TinyRun(base / "run", stdout, stderr)


def _tiny_run(base: Path) -> TinyRun:
    return _finished(_spec_file(base), base / "run")


def _repeated_run(base: Path) -> TinyRun:
    out = base / "run"
    spec = _spec_file(base)
    before = {*base.iterdir()}
    killed = start("design", spec, "--out", out)
    wait_for(lambda: {*base.iterdir()} - before, killed)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    (left,) = {*base.iterdir()} - before
    assert left.name.startswith(".run.unfinished-")
    return _finished(spec, out)


def _spec_file(base: Path) -> Path:
    path = base / "tiny.toml"
    path.write_text(TINY, encoding="utf-8")
    return path


def _finished(spec: Path, out: Path) -> TinyRun:
    process = start("design", spec, "--out", out, "--json")
    stdout, stderr = process.communicate()
    assert process.returncode == 0, stderr
    return TinyRun(out, stdout, stderr)


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
