"""Folds: no source in two of them, every label in every fold, clear refusals."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightsleeper.errors import InputError
from lightsleeper.recordings import Recording, assign_folds, read_folder, unite_sources


def clip(label: str, source: str, fold: int | None = None) -> Recording:
    return Recording(np.ones(4, dtype=np.float32), 16_000.0, label, source, fold, f"{label}/{source}.wav")


def sources(recordings: Sequence[Recording]) -> set[str]:
    return {recording.source for recording in recordings}


def folded_clips(folds: Sequence[int]) -> list[Recording]:
    return [clip("a", f"{fold}-{n}", fold) for fold in folds for n in range(6)]


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
def test_every_label_is_in_every_fold(recordings: list[Recording], seed: int) -> None:
    folded = assign_folds(recordings, folds=3, seed=seed)
    present = {(recording.label, recording.fold) for recording in folded}
    assert present == {(recording.label, fold) for recording in recordings for fold in (1, 2, 3)}


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
    folded = assign_folds(recordings, seed=0)
    assert Counter((r.label, r.fold) for r in folded) == {(label, fold): 10 for label in "ab" for fold in (1, 2, 3, 4)}


def test_seed_decides_the_folds() -> None:
    recordings = [clip("a", str(n)) for n in range(40)]
    one, same, other = ([r.fold for r in assign_folds(recordings, seed=seed)] for seed in (1, 1, 2))
    assert one == same
    assert one != other


def test_folds_of_the_data_are_kept() -> None:
    recordings = folded_clips([0, 1, 5])
    assert assign_folds(recordings, folds=3, seed=0) == tuple(recordings)


def test_clips_without_fold_follow_their_source() -> None:
    recordings = [*folded_clips([1, 2, 3]), clip("b", "3-0"), clip("b", "new")]
    folded = assign_folds(recordings, folds=3, seed=0)
    assert folded[-2].fold == 3
    assert folded[-1].fold in (1, 2, 3)


def test_source_in_two_folds_is_refused_and_can_be_united() -> None:
    recordings = [*folded_clips([1, 2, 3]), clip("b", "tape", 1), clip("b", "tape", 2), clip("b", "tape", 2)]
    with pytest.raises(InputError, match="source tape lies in folds 1 and 2"):
        assign_folds(recordings, seed=0)
    united, moved = unite_sources(recordings)
    assert [r.fold for r in united[-3:]] == [2, 2, 2]
    assert united[:-3] == tuple(recordings[:-3])
    assert moved == ("b/tape.wav: moved from fold 1 to fold 2 of its source",)
    assert assign_folds(united, folds=3, seed=0) == united


def test_fewer_than_two_folds_are_refused() -> None:
    with pytest.raises(InputError, match="at least 2"):
        assign_folds(folded_clips([1]), folds=1, seed=0)


@pytest.mark.data
def test_household_sounds_have_one_leak_which_is_mended(data_dir: Path) -> None:
    recordings = read_folder(data_dir / "household_sounds").recordings
    with pytest.raises(InputError, match="source 131943"):
        assign_folds(recordings, seed=0)
    united, moved = unite_sources(recordings)
    assert len(moved) == 1
    assert Counter(r.fold for r in assign_folds(united, seed=0)) == {1: 192, 2: 193, 3: 191, 4: 192}
