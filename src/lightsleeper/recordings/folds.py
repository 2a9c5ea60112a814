"""Folds that share no source: made where there are none, mended where a source lies in two."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from lightsleeper.errors import InputError
from lightsleeper.recordings.recording import Recording

__all__ = ["assign_folds", "unite_sources"]


def assign_folds(recordings: Sequence[Recording], *, folds: int = 4, seed: int) -> tuple[Recording, ...]:
    """Give each recording without a fold one, whole sources at a time and stratified by label.

    Folds that exist are kept, and a source that has one takes its other clips into it. New folds are numbered from 1,
    or are the existing ones where there are as many as `folds`. Raises `InputError` where a source lies in two folds.
    """
    if folds < 2:
        raise InputError(f"folds is {folds}; at least 2 are needed")
    _check_folds(recordings)
    present = sorted({recording.fold for recording in recordings if recording.fold is not None})
    numbers = present if len(present) == folds else sorted({*present, *range(1, folds + 1)})
    known = {recording.source: numbers.index(recording.fold) for recording in recordings if recording.fold is not None}
    shared = _share_out(recordings, [1 / len(numbers)] * len(numbers), seed, known=known)
    return tuple(
        recording if recording.fold is not None else replace(recording, fold=numbers[part])
        for recording, part in shared
    )


def unite_sources(recordings: Sequence[Recording]) -> tuple[tuple[Recording, ...], tuple[str, ...]]:
    """Move all clips of a source that lies in several folds into one: that of most of its clips, at a tie the lowest.

    Published folds are not always free of leaks (ESC-50 has Freesound clip 131943 in folds 2 and 3). Returns the
    recordings in their order and one line for each clip that was moved, to be stated with every figure.
    """
    folds_of: dict[str, Counter[int]] = {}
    for recording in recordings:
        if recording.fold is not None:
            folds_of.setdefault(recording.source, Counter())[recording.fold] += 1
    home = {source: min(folds, key=lambda fold: (-folds[fold], fold)) for source, folds in folds_of.items()}
    united, moved = [], []
    for recording in recordings:
        fold = home.get(recording.source)
        if recording.fold is None or recording.fold == fold:
            united.append(recording)
            continue
        united.append(replace(recording, fold=fold))
        moved.append(f"{recording.file}: moved from fold {recording.fold} to fold {fold} of its source")
    return tuple(united), tuple(moved)


def _check_folds(recordings: Sequence[Recording]) -> None:
    """Raise where a source lies in two folds."""
    folds: dict[str, int] = {}
    for recording in recordings:
        if recording.fold is None:
            continue
        first = folds.setdefault(recording.source, recording.fold)
        if first != recording.fold:
            raise InputError(
                f"source {recording.source} lies in folds {first} and {recording.fold} (second: {recording.file}); "
                "put all of its clips into one fold (unite_sources does)"
            )


def _share_out(
    recordings: Sequence[Recording],
    shares: Sequence[float],
    seed: int,
    *,
    known: Mapping[str, int] | None = None,
) -> list[tuple[Recording, int]]:
    """Part of each recording; whole sources, rarest label first, each to the part that lacks most of that label.

    Iterative stratification: K. Sechidis, G. Tsoumakas, I. Vlahavas, ECML PKDD 2011. Large sources go first, so that
    each part gets a source of each label that has as many sources as there are parts (and none in common with others).
    """
    labels_of: dict[str, Counter[str]] = {}
    for recording in recordings:
        labels_of.setdefault(recording.source, Counter())[recording.label] += 1
    totals: Counter[str] = Counter(recording.label for recording in recordings)
    missing = {label: np.array(shares) * total for label, total in totals.items()}
    present = {label: np.zeros(len(shares), dtype=bool) for label in totals}
    part_of: dict[str, int] = {}

    def place(source: str, part: int) -> None:
        part_of[source] = part
        for label, count in labels_of[source].items():
            missing[label][part] -= count
            present[label][part] = True

    for source, part in (known or {}).items():
        place(source, part)
    rng = np.random.default_rng(seed)
    names = sorted(labels_of)
    shuffled = [names[index] for index in rng.permutation(len(names))]
    for label in sorted(totals, key=lambda name: (totals[name], name)):
        waiting = [source for source in shuffled if source not in part_of and label in labels_of[source]]
        for source in sorted(waiting, key=lambda name: -labels_of[name][label]):
            overall = sum(missing.values())
            order = np.lexsort((-np.asarray(overall), present[label], -missing[label].round(9)))
            place(source, int(order[0]))
    return [(recording, part_of[recording.source]) for recording in recordings]
