"""`lightsleeper verify`: a finished first stage, simulator against ngspice, on a recording."""

from pathlib import Path

from lightsleeper.circuits.spice import Verification, engine_version, verify_frontend
from lightsleeper.design.material import read_recordings
from lightsleeper.design.measure import Design
from lightsleeper.design.progress import Progress
from lightsleeper.recordings import Recording, read_recording

__all__ = ["verify_design"]


def verify_design(
    design: Design, recording: Path | None, *, progress: Progress, workers: int | None = None
) -> Verification:
    """Every block of the first stage and the whole chain at small signals and on the loudest part of a recording.

    Args:
        design: the design.
        recording: audio file; without one, the first clip of the wake sound among the design's own recordings.
        progress: told of the steps.
        workers: ngspice processes side by side; None takes the number of cores.
    """
    engine_version()  # a missing ngspice is told now, and not after the recordings are read
    clip = _own_clip(design, progress) if recording is None else _read(recording, design.spec.scene.rate_hz)
    found = verify_frontend(design.frontend, clip.samples, clip.rate_hz, progress=progress, workers=workers)
    found.conditions["recording"] = clip.file
    return found


def _own_clip(design: Design, progress: Progress) -> Recording:
    recordings = read_recordings(design.spec, progress).recordings
    return next(clip for clip in recordings if clip.label == design.spec.wake)


def _read(path: Path, rate_hz: float) -> Recording:
    return read_recording(path, rate_hz=int(rate_hz), label="", source=path.stem, fold=None, file=str(path))
