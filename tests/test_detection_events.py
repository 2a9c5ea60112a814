"""Matching wakes to events."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightsleeper.detection import attribute_wakes, match_wakes
from lightsleeper.errors import InputError

TENTHS = st.integers(0, 600).map(lambda tenth: tenth / 10)
EVENTS = st.lists(st.tuples(TENTHS, st.integers(0, 80).map(lambda tenth: tenth / 10)), max_size=8)


def times(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)


def test_hit_late_and_false():
    matches = match_wakes(times(9.9, 10.0, 11.5, 33.0, 36.0, 38.1), times(10, 30, 50), times(11, 32, 51))
    assert matches.hit.tolist() == [True, True, False]
    assert matches.wake_index.tolist() == [1, 3, -1]
    np.testing.assert_allclose(matches.latency_s, [0.0, 3.0])
    np.testing.assert_allclose(matches.false_wakes_s, [9.9, 38.1])
    assert not matches.late.any()


@pytest.mark.parametrize(
    ("wake_s", "outcome"),
    [(9.99, "false"), (10.0, "hit"), (13.0, "hit"), (13.01, "late"), (17.0, "late"), (17.01, "false")],
)
def test_edges_of_the_windows(wake_s, outcome):
    matches = match_wakes(times(wake_s), times(10.0), times(12.0))
    found = "hit" if matches.hit[0] else "late" if matches.late[0] else "false"
    assert found == outcome
    assert matches.false_wakes_s.size == (outcome == "false")


def test_several_wakes_in_one_event_are_one_hit_and_none_is_false():
    matches = match_wakes(times(10.2, 11, 12, 13), times(10.0), times(12.0))
    assert matches.hit.sum() == 1
    assert matches.false_wakes_s.size == 0
    assert matches.latency_s.tolist() == pytest.approx([0.2])


def test_late_window_ends_at_the_next_event():
    matches = match_wakes(times(14.0), times(10.0, 13.5), times(12.0, 13.6))
    assert matches.hit.tolist() == [False, True]
    assert matches.late.tolist() == [False, False]


def test_late_window_ends_at_the_next_foreign_sound():
    wakes, onsets, ends = times(13.2, 15.0), times(10.0), times(12.0)
    assert match_wakes(wakes, onsets, ends).false_wakes_s.size == 0
    barred = match_wakes(wakes, onsets, ends, other_onsets_s=times(14.0))
    assert barred.late.tolist() == [True]
    assert barred.false_wakes_s.tolist() == [15.0]


def test_late_wake_after_a_hit_is_neither_late_nor_false():
    matches = match_wakes(times(10.5, 15.0), times(10.0), times(12.0))
    assert matches.hit.tolist() == [True]
    assert matches.late.tolist() == [False]
    assert matches.false_wakes_s.size == 0


def test_burst_begun_before_the_onset_does_not_hit():
    matches = match_wakes(times(9.0), times(10.0), times(12.0))
    assert not matches.hit.any()
    assert matches.false_wakes_s.tolist() == [9.0]


def test_events_keep_their_order_when_given_unsorted():
    matches = match_wakes(times(10.5, 30.5), times(30.0, 50.0, 10.0), times(31.0, 51.0, 11.0))
    assert matches.hit.tolist() == [True, False, True]
    assert matches.wake_index.tolist() == [1, -1, 0]


@settings(max_examples=200, deadline=None)
@given(st.lists(TENTHS, max_size=20), EVENTS)
def test_every_wake_has_one_fate_and_hits_never_exceed_events_or_wakes(wakes, events):
    onsets = np.array([onset for onset, _ in events], dtype=np.float64)
    ends = onsets + np.array([length for _, length in events], dtype=np.float64)
    matches = match_wakes(np.array(wakes, dtype=np.float64), onsets, ends)
    assert matches.hit.sum() <= min(len(events), len(wakes))
    assert not (matches.hit & matches.late).any()
    assert (matches.latency_s >= 0).all()
    assert matches.latency_s.size == matches.hit.sum()
    for wake in wakes:
        excused = any(onset <= wake <= end + 5.0 for onset, end in zip(onsets, ends, strict=True))
        inside = any(onset <= wake <= end + 1.0 for onset, end in zip(onsets, ends, strict=True))
        if inside:
            assert wake not in matches.false_wakes_s
        if not excused:
            assert wake in matches.false_wakes_s


@settings(max_examples=200, deadline=None)
@given(st.lists(TENTHS, max_size=20), EVENTS)
def test_attribution_is_the_latest_event_that_holds_the_wake(wakes, events):
    onsets = np.array([onset for onset, _ in events], dtype=np.float64)
    ends = onsets + np.array([length for _, length in events], dtype=np.float64)
    found = attribute_wakes(np.array(wakes, dtype=np.float64), onsets, ends)
    for wake, index in zip(wakes, found, strict=True):
        holding = [k for k in range(len(events)) if onsets[k] <= wake <= ends[k] + 1.0]
        if not holding:
            assert index == -1
        else:
            assert index in holding
            assert onsets[index] == onsets[holding].max()


def test_attribution_walks_back_to_a_long_event_behind_short_ones():
    onsets, ends = times(0.0, 2.0, 4.0), times(20.0, 2.5, 4.5)
    assert attribute_wakes(times(10.0, 4.2, 30.0), onsets, ends).tolist() == [0, 2, -1]


@pytest.mark.parametrize(
    ("wakes", "onsets", "ends", "message"),
    [
        (times(1), times(2.0), times(1.0), "before its onset"),
        (times(1), times(1.0, 2.0), times(3.0), "one end per onset"),
        (times(np.nan), times(1.0), times(2.0), "wakes_s"),
        (times(1), times(np.inf), times(np.inf), "onsets_s"),
        (np.zeros((1, 1)), times(1.0), times(2.0), "one-dimensional"),
    ],
)
def test_unusable_times_are_refused(wakes, onsets, ends, message):
    with pytest.raises(InputError, match=message):
        match_wakes(wakes, onsets, ends)


@pytest.mark.parametrize("name", ["tolerance_s", "late_s"])
def test_negative_windows_are_refused(name):
    with pytest.raises(InputError, match=name):
        match_wakes(times(1.0), times(1.0), times(2.0), **{name: -1.0})
