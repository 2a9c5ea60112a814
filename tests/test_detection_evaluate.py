"""Figures of a decision on streams with known events."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightsleeper.detection import Decision, Stream, combined_rate_interval, evaluate, poisson_rate_interval
from lightsleeper.errors import InputError

RATE_HZ = 10.0


def stream(
    duration_s: float, pulses_s: list[float], events: list[tuple[float, float, str, bool]] | None = None
) -> Stream:
    """Scores of 1 for 0.2 s at each pulse, else 0; events are (onset, end, label, wake)."""
    scores = np.zeros(round(duration_s * RATE_HZ))
    for pulse_s in pulses_s:
        scores[round(pulse_s * RATE_HZ) : round(pulse_s * RATE_HZ) + 2] = 1.0
    onsets, ends, labels, wake = zip(*events, strict=True) if events else ((), (), (), ())
    return Stream(
        scores,
        RATE_HZ,
        np.array(onsets, dtype=np.float64),
        np.array(ends, dtype=np.float64),
        np.array(labels, dtype=np.str_),
        np.array(wake, dtype=np.bool_),
    )


EVENTS = [
    (10.0, 11.0, "glass", True),
    (20.0, 22.0, "cough", False),
    (40.0, 41.0, "glass", True),
    (50.0, 52.0, "rain", False),
    (60.0, 61.0, "glass", True),
    (80.0, 82.0, "cough", False),
]
DECISION = Decision(0.5)


def test_hand_counted_scene():
    # Hit at 10.4, false in the first cough twice, late hit at 43, nothing for the third glass, one wake between events.
    dense = stream(100.0, [10.4, 20.2, 22.8, 43.0, 90.0], EVENTS)
    floor = stream(7200.0, [100.0, 5000.0])
    figures = evaluate([dense], [floor], DECISION)
    assert (figures.events, figures.hits, figures.late_hits) == (3, 1, 1)
    assert figures.recall == pytest.approx(1 / 3)
    assert figures.latency_median_s == pytest.approx(0.4)
    assert figures.foreign_sounds == 3
    assert figures.by_label == {"cough": (2, 2), "rain": (0, 1)}
    assert (figures.false_wakes, figures.floor_wakes) == (5, 3)
    # Six windows: three glass of 2 s with 4 s late, three foreign of 3 s.
    assert figures.floor_hours == pytest.approx((7200 + 100 - 3 * 6 - 3 * 3) / 3600)
    expected = combined_rate_interval([(2, 3, 60.0), (3, figures.floor_hours, 1.0)])
    assert (figures.false_wakes_per_hour, *figures.false_wakes_per_hour_interval) == pytest.approx(expected)
    assert figures.false_wakes_per_100_foreign == pytest.approx(200 / 3)
    assert figures.false_wakes_per_hour_floor_interval == poisson_rate_interval(3, figures.floor_hours)
    # Pulses of 0.2 s; the two at 20.2 and 22.8 s are 2.4 s apart, so two bursts.
    assert figures.awake_share == pytest.approx(7 * 0.2 / 7300)


def test_density_scales_the_foreign_part_only():
    dense, floor = stream(100.0, [20.2], EVENTS), stream(3600.0, [7.0])
    at_60 = evaluate([dense], [floor], DECISION)
    at_20 = evaluate([dense], [floor], DECISION, foreign_per_hour=20.0)
    floor_rate = at_60.false_wakes_per_hour_floor
    assert at_60.false_wakes_per_hour - floor_rate == pytest.approx(20.0)
    assert at_20.false_wakes_per_hour - floor_rate == pytest.approx(20.0 / 3)


def test_without_floor_streams_the_gaps_are_the_floor():
    figures = evaluate([stream(100.0, [20.2, 30.0], EVENTS)], [], DECISION)
    assert figures.floor_wakes == 1
    assert figures.floor_hours == pytest.approx(73 / 3600)
    assert figures.false_wakes_per_hour_floor == pytest.approx(3600 / 73)


def test_dense_and_floor_streams_may_have_their_own_rates():
    dense = stream(100.0, [10.4], EVENTS)
    doubled = replace(dense, scores=np.repeat(dense.scores, 2), rate_hz=2 * RATE_HZ)
    assert evaluate([doubled], [], DECISION) == evaluate([dense], [], DECISION)


def test_wake_in_a_foreign_sound_within_a_late_window_is_false():
    events = [(10.0, 11.0, "glass", True), (13.0, 14.0, "cough", False)]
    figures = evaluate([stream(100.0, [13.5], events)], [], DECISION)
    assert figures.late_hits == 0
    assert figures.by_label == {"cough": (1, 1)}


def test_scores_always_above_threshold_hit_nothing_and_show_in_the_awake_share():
    dense = replace(stream(100.0, [], EVENTS), scores=np.ones(1000))
    figures = evaluate([dense], [], DECISION)
    assert figures.hits == 0
    assert figures.false_wakes == 1
    assert figures.awake_share == 1.0


def test_unmeasured_figures_are_nan_and_none_in_json():
    figures = evaluate([], [stream(3600.0, [])], DECISION, foreign_per_hour=0.0)
    assert math.isnan(figures.recall)
    assert math.isnan(figures.latency_median_s)
    plain = json.loads(json.dumps(figures.as_dict(), allow_nan=False))
    assert plain["recall"] is None
    assert plain["recall_interval"] == [None, None]
    assert plain["false_wakes_per_hour"] == 0.0
    assert plain["false_wakes_per_hour_interval"][1] == pytest.approx(3.689, abs=1e-3)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 12), st.floats(0.5, 3.0))
def test_accounts_add_up_on_random_scenes(seed, count, threshold):
    rng = np.random.default_rng(seed)
    onsets = rng.uniform(0, 115, count)
    wake = np.concatenate((rng.random(count - 1) < 0.5, [False]))
    dense = Stream(
        rng.normal(size=1200), RATE_HZ, onsets, onsets + rng.uniform(0, 9, count), np.full(count, "sound"), wake
    )
    figures = evaluate([dense], [stream(60.0, [30.0])], Decision(threshold))
    assert figures.hits + figures.late_hits <= figures.events == wake.sum()
    assert figures.false_wakes == sum(wakes for wakes, _ in figures.by_label.values()) + figures.floor_wakes
    assert figures.foreign_sounds == sum(sounds for _, sounds in figures.by_label.values())
    grid = (np.arange(60000) + 0.5) / 60000 * 120.0
    free = np.ones(grid.size, dtype=bool)
    for onset, end, is_wake in zip(dense.onsets_s, dense.ends_s, dense.wake, strict=True):
        free &= ~((grid >= onset) & (grid <= end + 1.0))
        following = onsets[~wake & (onsets > end + 1.0)]
        late_until = min(end + 5.0, following.min() if following.size else np.inf)
        free &= ~(is_wake & (grid > end + 1.0) & (grid <= late_until))
    assert figures.floor_hours * 3600 == pytest.approx(60 + free.mean() * 120, abs=0.1)


@pytest.mark.parametrize(
    ("dense", "floor", "message"),
    [
        ([], [], "no streams"),
        ([], [stream(10.0, [])], "no foreign sound"),
        ([stream(100.0, [], EVENTS)], [stream(100.0, [], EVENTS)], "floor stream holds events"),
        ([stream(10.0, [], [(0.0, 10.0, "rain", False)])], [], "without a gap"),
    ],
)
def test_streams_that_cannot_give_the_figures_are_refused(dense, floor, message):
    with pytest.raises(InputError, match=message):
        evaluate(dense, floor, DECISION)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rate_hz": 0.0}, "rate"),
        ({"labels": np.array(["glass"])}, "labels"),
        ({"ends_s": np.zeros(6)}, "before its onset"),
        ({"scores": np.zeros(100)}, "outside the stream"),
    ],
)
def test_streams_that_contradict_themselves_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        replace(stream(100.0, [], EVENTS), **change)
