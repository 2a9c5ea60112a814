"""Splits and folds: no source on both sides, every label in every part, clear refusals."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightsleeper.errors import InputError
from lightsleeper.recordings import (
    Recording,
    Split,
    assign_folds,
    check_split,
    read_folder,
    split_recordings,
    unite_sources,
)


def clip(label: str, source: str, fold: int | None = None) -> Recording:
    return Recording(np.ones(4, dtype=np.float32), 16_000.0, label, source, fold, f"{label}/{source}.wav")


def sources(recordings: Sequence[Recording]) -> set[str]:
    return {recording.source for recording in recordings}


def parts(split: Split) -> tuple[tuple[Recording, ...], ...]:
    return split.train, split.validation, split.test


@st.composite
def clips_of_single_labels(draw: st.DrawFn) -> list[Recording]:
    """Recordings whose sources have one label each, three sources or more per label."""
    sizes = draw(st.lists(st.lists(st.integers(1, 12), min_size=3, max_size=9), min_size=1, max_size=4))
    return [
        clip(f"label{i}", f"{i}-{j}")
        for i, label_sizes in enumerate(sizes)
        for j, size in enumerate(label_sizes)
        for _ in range(size)
    ]


@given(recordings=clips_of_single_labels(), seed=st.integers(0, 1000))
@settings(max_examples=150, deadline=None)
def test_split_by_source_keeps_sources_whole_and_labels_everywhere(recordings: list[Recording], seed: int) -> None:
    split = split_recordings(recordings, seed=seed)
    assert sum(map(len, parts(split))) == len(recordings)
    assert sum(len(sources(part)) for part in parts(split)) == len(sources(recordings))
    for label in {recording.label for recording in recordings}:
        check_split(split, label)


@given(
    rows=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 20)), min_size=12, max_size=60),
    folds=st.integers(2, 5),
    seed=st.integers(0, 1000),
)
@settings(max_examples=150, deadline=None)
def test_assigned_folds_keep_sources_whole(rows: list[tuple[int, int]], folds: int, seed: int) -> None:
    recordings = [clip(f"label{label}", f"source{source}") for label, source in rows]
    folded = assign_folds(recordings, folds=folds, seed=seed)
    assert [(r.label, r.source) for r in folded] == [(r.label, r.source) for r in recordings]
    assert {r.fold for r in folded} <= set(range(1, folds + 1))
    fold_of = {(r.source, r.fold) for r in folded}
    assert len(fold_of) == len(sources(recordings))


def test_equal_sources_are_shared_out_evenly() -> None:
    recordings = [clip(label, f"{label}{n}") for label in ("a", "b") for n in range(40)]
    split = split_recordings(recordings, seed=0)
    for part, share in zip(parts(split), (20, 10, 10), strict=True):
        assert Counter(r.label for r in part) == {"a": share, "b": share}
    folded = assign_folds(recordings, seed=0)
    assert Counter((r.label, r.fold) for r in folded) == {(label, fold): 10 for label in "ab" for fold in (1, 2, 3, 4)}


def test_seed_decides_the_split() -> None:
    recordings = [clip("a", str(n)) for n in range(40)]
    assert split_recordings(recordings, seed=1) == split_recordings(recordings, seed=1)
    assert split_recordings(recordings, seed=1) != split_recordings(recordings, seed=2)


def folded_clips(folds: Sequence[int]) -> list[Recording]:
    return [clip("a", f"{fold}-{n}", fold) for fold in folds for n in range(6)]


@pytest.mark.parametrize(
    ("test_fold", "validation_fold", "expected"),
    [
        (None, None, ({1, 2}, {3}, {4})),
        (2, None, ({1, 3}, {4}, {2})),
        (None, 4, ({1, 2}, {4}, {3})),
        (1, 2, ({3, 4}, {2}, {1})),
    ],
)
def test_folds_of_the_data_decide(
    test_fold: int | None, validation_fold: int | None, expected: tuple[set[int], ...]
) -> None:
    recordings = folded_clips([1, 2, 3, 4])
    split = split_recordings(recordings, seed=0, test_fold=test_fold, validation_fold=validation_fold)
    assert tuple({r.fold for r in part} for part in parts(split)) == expected
    assert sum(map(len, parts(split))) == len(recordings)


def test_fold_zero_is_a_fold() -> None:
    split = split_recordings(folded_clips([0, 1, 2]), seed=0, test_fold=0)
    assert tuple({r.fold for r in part} for part in parts(split)) == ({1}, {2}, {0})


def test_two_folds_share_the_other_one() -> None:
    split = split_recordings(folded_clips([1, 2]), seed=0)
    assert tuple(len(part) for part in parts(split)) == (4, 2, 6)
    assert {r.fold for r in split.test} == {2}


def test_one_fold_is_split_by_source() -> None:
    recordings = [clip("a", str(n), 1) for n in range(8)]
    assert tuple(len(part) for part in parts(split_recordings(recordings, seed=0))) == (4, 2, 2)


def test_clips_without_fold_follow_their_source() -> None:
    recordings = [*folded_clips([1, 2, 3]), clip("b", "3-0"), clip("b", "new")]
    folded = assign_folds(recordings, folds=3, seed=0)
    assert folded[-2].fold == 3
    assert folded[-1].fold in (1, 2, 3)
    assert clip("b", "3-0").source in sources(split_recordings(recordings, seed=0).test)


def test_source_in_two_folds_is_refused_and_can_be_united() -> None:
    recordings = [*folded_clips([1, 2, 3]), clip("b", "tape", 1), clip("b", "tape", 2), clip("b", "tape", 2)]
    for act in (split_recordings, assign_folds):
        with pytest.raises(InputError, match="source tape lies in folds 1 and 2"):
            act(recordings, seed=0)
    united, moved = unite_sources(recordings)
    assert [r.fold for r in united[-3:]] == [2, 2, 2]
    assert united[:-3] == tuple(recordings[:-3])
    assert moved == ("b/tape.wav: moved from fold 1 to fold 2 of its source",)
    assert len(split_recordings(united, seed=0).validation) == 9


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"test_fold": 9}, "test fold 9 is not among .*1, 2, 3"),
        ({"validation_fold": 9}, "validation fold 9"),
        ({"test_fold": 2, "validation_fold": 2}, "name two folds"),
    ],
)
def test_folds_that_cannot_be_are_refused(keywords: dict[str, int], words: str) -> None:
    with pytest.raises(InputError, match=words):
        split_recordings(folded_clips([1, 2, 3]), seed=0, **keywords)


def test_empty_part_is_refused() -> None:
    with pytest.raises(InputError, match=r"(validation|test) part is empty"):
        split_recordings([clip("a", "x"), clip("a", "x"), clip("b", "x")], seed=0)
    with pytest.raises(InputError, match="train part is empty"):
        split_recordings(folded_clips([1, 2]), seed=0, test_fold=1, validation_fold=2)
    with pytest.raises(InputError, match="at least 2"):
        assign_folds(folded_clips([1]), folds=1, seed=0)


def test_check_split_counts_what_is_there() -> None:
    recordings = [clip("a", str(n)) for n in range(12)] + [clip("rare", "only")] * 5
    split = split_recordings(recordings, seed=0)
    check_split(split, "a")
    with pytest.raises(InputError, match=r"^rare: has 5 clips from 1 sources .*at least 3 sources"):
        check_split(split, "rare")
    with pytest.raises(InputError, match=r"label rre; did you mean rare\? labels are a, rare"):
        check_split(split, "rre")


@pytest.mark.data
def test_household_sounds_split_once_their_leak_is_mended(data_dir: Path) -> None:
    recordings = read_folder(data_dir / "household_sounds").recordings
    with pytest.raises(InputError, match="source 131943"):
        split_recordings(recordings, seed=0)
    united, moved = unite_sources(recordings)
    assert len(moved) == 1
    split = split_recordings(united, seed=0)
    assert tuple(map(len, parts(split))) == (385, 191, 192)
    check_split(split, "glass_breaking")
