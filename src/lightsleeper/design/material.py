"""The recordings of a design: read, freed of leaks between folds, and split by source."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lightsleeper.design.progress import Progress
from lightsleeper.design.spec import Spec
from lightsleeper.errors import InputError
from lightsleeper.recordings import (
    Recording,
    RecordingSet,
    assign_folds,
    read_folder,
    synthetic_recordings,
    unite_sources,
)

__all__ = ["Material", "check_label", "gather", "read_recordings"]

FEWEST_FOLDS = 3
BUILT_IN_RATE_HZ = 16_000
MOST_FOLDS = 4


@dataclass(frozen=True)
class Material:
    """Recordings by their part in the design.

    Attributes:
        folds: fold -> recordings for training and, in turn, for validation.
        test: recordings that nothing but the final figures sees.
        test_fold: their fold.
        everything: the set as read.
        moved: one line for each clip moved because its source lay in two folds.
    """

    folds: dict[int, tuple[Recording, ...]]
    test: tuple[Recording, ...]
    test_fold: int
    everything: RecordingSet
    moved: tuple[str, ...]

    @property
    def train(self) -> tuple[Recording, ...]:
        """All recordings outside the test fold."""
        return tuple(recording for part in self.folds.values() for recording in part)


def read_recordings(spec: Spec, progress: Progress) -> RecordingSet:
    """The folder of the spec, or the built-in synthetic recordings."""
    progress.begin("reading recordings", 0)
    if not spec.recordings:
        if spec.scene.rate_hz < BUILT_IN_RATE_HZ:
            raise InputError(f"scene.rate_hz: the built-in recordings need {BUILT_IN_RATE_HZ} Hz or more")
        return synthetic_recordings(seed=spec.seed, rate_hz=int(spec.scene.rate_hz))
    return read_folder(Path(spec.recordings), rate_hz=int(spec.scene.rate_hz), skip_bad=spec.skip_bad)


def gather(spec: Spec, progress: Progress) -> Material:
    """Read and split the recordings of a spec.

    Raises:
        InputError: bad recordings; no such label; too few clips of the wake sound, or no other sounds.
    """
    everything = read_recordings(spec, progress)
    united, moved = unite_sources(everything.recordings)
    check_label(united, spec.wake)
    folded = assign_folds(united, folds=_fold_count(everything, spec.wake), seed=spec.seed)
    numbers = sorted({recording.fold for recording in folded if recording.fold is not None})
    if len(numbers) < FEWEST_FOLDS:
        raise InputError(
            f"the recordings come in {len(numbers)} folds; needed are at least {FEWEST_FOLDS}, or none: "
            "folds are then made from their sources"
        )
    test_fold = numbers[-1] if spec.evaluation.test_fold is None else spec.evaluation.test_fold
    if test_fold not in numbers:
        raise InputError(f"evaluation.test_fold is {test_fold}; the recordings have the folds {numbers}")
    folds = {n: tuple(r for r in folded if r.fold == n) for n in numbers if n != test_fold}
    test = tuple(r for r in folded if r.fold == test_fold)
    material = Material(folds=folds, test=test, test_fold=test_fold, everything=everything, moved=moved)
    _check(material, spec.wake)
    return material


def check_label(recordings: Sequence[Recording], wake: str) -> None:
    """Raise where no recording has the label `wake`; the message lists those that exist."""
    labels = sorted({recording.label for recording in recordings})
    if wake not in labels:
        close = difflib.get_close_matches(wake, labels, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise InputError(f"no recording has the label {wake}; {hint}labels are {', '.join(labels)}")


def _fold_count(everything: RecordingSet, wake: str) -> int:
    """Folds that came with the data, or else up to four, as many as the wake sound has sources."""
    if len(everything.folds) >= FEWEST_FOLDS:
        return len(everything.folds)
    sources = len({r.source for r in everything.recordings if r.label == wake})
    if sources < FEWEST_FOLDS:
        raise InputError(
            f"{wake}: has recordings of {sources} sources; needed are at least {FEWEST_FOLDS}, "
            "so that training, validation and test share none"
        )
    return min(MOST_FOLDS, sources)


def _check(material: Material, wake: str) -> None:
    """Every fold needs wake events and foreign sounds."""
    for fold, part in {**material.folds, material.test_fold: material.test}.items():
        kinds = {recording.label == wake for recording in part}
        if kinds != {True, False}:
            missing = "no clip of another label" if False not in kinds else f"no clip of {wake}"
            raise InputError(f"fold {fold} has {missing}; every fold needs wake sounds and other sounds")
