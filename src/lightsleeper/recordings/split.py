"""Division of recordings into train, validation and test parts that share no source."""

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lightsleeper.errors import InputError
from lightsleeper.recordings.recording import Recording

__all__ = ["Split", "assign_folds", "check_split", "split_recordings", "unite_sources"]

SHARES = (0.5, 0.25, 0.25)
TRAIN, VALIDATION, TEST = 0, 1, 2


@dataclass(frozen=True)
class Split:
    """Recordings to learn from, to set thresholds with, and to measure on; no source lies in two of them."""

    train: tuple[Recording, ...]
    validation: tuple[Recording, ...]
    test: tuple[Recording, ...]


def split_recordings(
    recordings: Sequence[Recording],
    *,
    seed: int,
    test_fold: int | None = None,
    validation_fold: int | None = None,
) -> Split:
    """Split by the folds that came with the data, or else by source to 50/25/25 %.

    With three folds or more, `test_fold` (default: the highest) is the test part, `validation_fold` (default: the next
    highest) the validation part, the rest is learnt from; recordings without a fold join by `assign_folds`. With two
    folds the other fold is shared 2:1 over train and validation. Without folds, or with a single one, whole sources are
    shared out, stratified by label.

    Raises `InputError` where a source lies in two folds, a named fold does not exist, or a part would be empty.
    """
    _check_folds(recordings)
    present = sorted({recording.fold for recording in recordings if recording.fold is not None})
    for name, fold in (("test", test_fold), ("validation", validation_fold)):
        if fold is not None and fold not in present:
            raise InputError(f"{name} fold {fold} is not among the folds of the recordings ({_listing(present)})")
    if test_fold is not None and test_fold == validation_fold:
        raise InputError(f"fold {test_fold} is asked for as test and as validation fold; name two folds")
    if len(present) < 2:
        parts = _share_out(recordings, SHARES, seed)
    elif len(present) == 2 and validation_fold is None:
        parts = _with_two_folds(recordings, present[-1] if test_fold is None else test_fold, seed)
    else:
        parts = _by_fold(assign_folds(recordings, folds=len(present), seed=seed), test_fold, validation_fold)
    members = [tuple(r for r, part in parts if part == wanted) for wanted in (TRAIN, VALIDATION, TEST)]
    for name, part_members in zip(("train", "validation", "test"), members, strict=True):
        if not part_members:
            raise InputError(
                f"the {name} part is empty: {len(recordings)} recordings of {_source_count(recordings)} sources in "
                f"{len(present)} folds are too few; at least 3 sources or 3 folds are needed"
            )
    return Split(*members)


def check_split(split: Split, wake: str) -> None:
    """Raise `InputError` where `wake` is no label of the split or has no clip of its own in one of the parts."""
    parts = {"train": split.train, "validation": split.validation, "test": split.test}
    everything = [recording for part in parts.values() for recording in part]
    labels = sorted({recording.label for recording in everything})
    if wake not in labels:
        close = difflib.get_close_matches(wake, labels, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise InputError(f"no recording has the label {wake}; {hint}labels are {_listing(labels)}")
    counts = {name: sum(recording.label == wake for recording in part) for name, part in parts.items()}
    if min(counts.values()) == 0:
        sources = _source_count([recording for recording in everything if recording.label == wake])
        per_part = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise InputError(
            f"{wake}: has {sum(counts.values())} clips from {sources} sources ({per_part}); needed are clips from at "
            "least 3 sources, one in each part: record more or correct the folds"
        )


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


def _by_fold(
    recordings: Sequence[Recording], test_fold: int | None, validation_fold: int | None
) -> list[tuple[Recording, int]]:
    """Part of each recording where folds decide."""
    descending = sorted({recording.fold for recording in recordings if recording.fold is not None}, reverse=True)
    test = test_fold if test_fold is not None else next(fold for fold in descending if fold != validation_fold)
    validation = validation_fold if validation_fold is not None else next(fold for fold in descending if fold != test)
    part_of_fold = {validation: VALIDATION, test: TEST}
    return [(recording, part_of_fold.get(recording.fold or 0, TRAIN)) for recording in recordings]


def _with_two_folds(recordings: Sequence[Recording], test_fold: int, seed: int) -> list[tuple[Recording, int]]:
    """The test fold stands; the other fold is shared 2:1 over train and validation."""
    folded = assign_folds(recordings, folds=2, seed=seed)
    test = [(recording, TEST) for recording in folded if recording.fold == test_fold]
    others = [recording for recording in folded if recording.fold != test_fold]
    return [*_share_out(others, (2 / 3, 1 / 3), seed), *test]


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


def _source_count(recordings: Sequence[Recording]) -> int:
    return len({recording.source for recording in recordings})


def _listing(values: Sequence[object]) -> str:
    return ", ".join(map(str, values)) or "none"
