"""Operating curves against evaluation one threshold at a time; choices of thresholds; area."""

import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightsleeper.detection import (
    Decision,
    OperatingCurve,
    Stream,
    evaluate,
    operating_curve,
    partial_area,
    threshold_for_budget,
    threshold_for_recall,
)
from lightsleeper.errors import InputError


def random_stream(rng: np.random.Generator, events: int, *, samples: int = 300, rate_hz: float = 5.0) -> Stream:
    onsets = rng.uniform(0, samples / rate_hz - 1, events)
    wake = np.arange(events) % 2 == 0
    lengths = rng.uniform(0, 4, events)
    return Stream(
        np.round(rng.normal(size=samples), 1), rate_hz, onsets, onsets + lengths, np.full(events, "sound"), wake
    )


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 2**31),
    st.sampled_from([0.0, 0.6, 2.0]),
    st.sampled_from([0.0, 1.0, 2.0, 100.0]),
    st.sampled_from([0.0, 0.5]),
)
def test_curve_is_exact_at_every_threshold(seed, window_s, suppression_s, hysteresis):
    rng = np.random.default_rng(seed)
    dense, floor = [random_stream(rng, 4), random_stream(rng, 2)], [random_stream(rng, 0)]
    rule = Decision(0.0, window_s, suppression_s, hysteresis)
    curve = operating_curve(dense, floor, decision=rule)
    assert (np.diff(curve.thresholds) < 0).all()
    for point in range(0, curve.thresholds.size, max(curve.thresholds.size // 25, 1)):
        figures = evaluate(dense, floor, replace(rule, threshold=float(curve.thresholds[point])))
        assert curve.recall[point] == pytest.approx(figures.recall)
        assert curve.false_wakes_per_hour[point] == pytest.approx(figures.false_wakes_per_hour)
        assert curve.awake_share[point] == pytest.approx(figures.awake_share)


def test_point_holds_down_to_the_next_threshold():
    rng = np.random.default_rng(3)
    dense = [random_stream(rng, 4)]
    curve = operating_curve(dense)
    for point in range(1, curve.thresholds.size - 1, 5):
        between = (curve.thresholds[point] + curve.thresholds[point + 1]) / 2
        figures = evaluate(dense, [], Decision(float(between)))
        assert curve.false_wakes_per_hour[point] == pytest.approx(figures.false_wakes_per_hour)
        assert curve.recall[point] == pytest.approx(figures.recall)


def test_curve_starts_with_nothing_and_folds_back_when_bursts_merge():
    curve = operating_curve([random_stream(np.random.default_rng(1), 4)])
    assert (curve.recall[0], curve.false_wakes_per_hour[0], curve.awake_share[0]) == (0.0, 0.0, 0.0)
    assert curve.false_wakes_per_hour[-1] < curve.false_wakes_per_hour.max()
    assert curve.awake_share[-1] > 0.99


def test_ten_hours_at_100_hz_take_seconds():
    rng = np.random.default_rng(2)
    dense = random_stream(rng, 2000, samples=3_600_000, rate_hz=100.0)
    dense = replace(dense, scores=rng.normal(size=3_600_000))
    started = time.perf_counter()
    curve = operating_curve([dense], points=200)
    # Measured 0.5 s; a loop over thresholds and samples would take minutes.
    assert time.perf_counter() - started < 15
    assert curve.thresholds.size == 200


def test_thinned_keeps_both_ends():
    curve = operating_curve([random_stream(np.random.default_rng(1), 4)])
    thin = curve.thinned(5)
    assert thin.thresholds.size == 5
    assert (thin.thresholds[0], thin.thresholds[-1]) == (curve.thresholds[0], curve.thresholds[-1])
    assert curve.thinned(10**6).thresholds.size == curve.thresholds.size


FOLDED = OperatingCurve(
    thresholds=np.array([5.0, 4.0, 3.0, 2.0, 1.0]),
    recall=np.array([0.0, 0.5, 0.8, 0.9, 0.1]),
    false_wakes_per_hour=np.array([0.0, 1.0, 4.0, 9.0, 0.5]),
    awake_share=np.array([0.0, 0.1, 0.2, 0.4, 1.0]),
)


@pytest.mark.parametrize(("budget", "threshold"), [(0.0, 5.0), (0.9, 5.0), (1.0, 4.0), (8.9, 3.0), (9.0, 1.0)])
def test_budget_is_searched_from_the_top(budget, threshold):
    assert threshold_for_budget(FOLDED, false_wakes_per_hour=budget) == threshold


@pytest.mark.parametrize(("recall", "threshold"), [(0.05, 4.0), (0.5, 4.0), (0.81, 2.0)])
def test_recall_takes_the_highest_threshold(recall, threshold):
    assert threshold_for_recall(FOLDED, recall=recall) == threshold


def test_recall_out_of_reach_names_the_best():
    with pytest.raises(InputError, match=r"best is 0\.9"):
        threshold_for_recall(FOLDED, recall=0.95)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.0, 2000.0))
def test_chosen_threshold_keeps_its_budget(seed, budget):
    dense = [random_stream(np.random.default_rng(seed), 4)]
    threshold = threshold_for_budget(operating_curve(dense), false_wakes_per_hour=budget)
    assert evaluate(dense, [], Decision(threshold)).false_wakes_per_hour <= budget + 1e-9


def test_det_does_not_fold_back():
    rate, miss = FOLDED.det()
    assert rate.tolist() == [0.0, 1.0, 4.0, 9.0, 9.0]
    np.testing.assert_allclose(miss, [1.0, 0.5, 0.2, 0.1, 0.9])


@pytest.mark.parametrize("max_per_hour", [0.3, 1.0, 2.0, 7.7, 10.0])
@pytest.mark.parametrize("points", [2, 3, 37])
def test_area_of_a_linear_curve_is_exact(max_per_hour, points):
    rate = np.linspace(0.0, 10.0, points)
    area = partial_area(rate, 1.0 - rate / 10.0, max_per_hour=max_per_hour)
    assert area == pytest.approx(max_per_hour - max_per_hour**2 / 20)


@given(st.floats(0.0, 1.0), st.floats(0.1, 50.0))
def test_area_scales_with_the_limit(miss, max_per_hour):
    area = partial_area(np.array([0.5, 3.0]), np.array([miss, miss]), max_per_hour=max_per_hour)
    assert area == pytest.approx(miss * max_per_hour)


def test_area_of_a_vertical_step():
    rate, miss = np.array([0.0, 1.0, 1.0, 2.0]), np.array([1.0, 1.0, 0.0, 0.0])
    assert partial_area(rate, miss, max_per_hour=2.0) == pytest.approx(1.0)
    assert partial_area(rate, miss, max_per_hour=1.0) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("rate", "miss", "limit"),
    [
        ([], [], 1.0),
        ([0.0, 1.0], [1.0], 1.0),
        ([1.0, 0.0], [0.0, 1.0], 1.0),
        ([0.0, np.nan], [1.0, 1.0], 1.0),
        ([0.0], [1.0], 0.0),
    ],
)
def test_curves_without_an_area_are_refused(rate, miss, limit):
    with pytest.raises(InputError):
        partial_area(np.array(rate), np.array(miss), max_per_hour=limit)


def test_curve_without_wake_events_is_refused():
    silent = random_stream(np.random.default_rng(0), 2)
    with pytest.raises(InputError, match="no wake event"):
        operating_curve([replace(silent, wake=np.zeros(2, dtype=bool))])


def test_package_stands_alone():
    code = (
        "import sys, lightsleeper.detection; "
        "ours = {name.split('.')[1] for name in sys.modules if name.startswith('lightsleeper.')}; "
        "assert ours == {'detection', 'errors'}, ours; "
        "assert not {'torch', 'numba', 'pydantic'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
