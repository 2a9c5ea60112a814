"""Scores to wakes: merging, causality, averaging, hysteresis."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lightsleeper.detection import Decision
from lightsleeper.detection.decision import running_mean
from lightsleeper.errors import InputError

SCORES = st.lists(st.integers(-5, 5), min_size=1, max_size=120).map(lambda values: np.array(values, dtype=np.float64))


def reference_wakes(scores: NDArray[np.float64], decision: Decision, rate_hz: float) -> list[float]:
    """The rule read aloud, one score after the other."""
    window = max(round(decision.average_window_s * rate_hz), 1)
    active, last_active, wakes = False, -np.inf, []
    for k in range(scores.size):
        mean = scores[max(0, k - window + 1) : k + 1].mean()
        was_active = active
        active = mean >= decision.threshold or (active and mean + decision.hysteresis >= decision.threshold)
        if active and not was_active and (k - last_active) / rate_hz >= decision.suppression_s:
            wakes.append(k / rate_hz)
        if active:
            last_active = k
    return wakes


@settings(max_examples=200, deadline=None)
@given(
    SCORES,
    st.sampled_from([-2.5, 0.0, 1.3]),
    st.sampled_from([0.0, 0.5, 1.0]),
    st.sampled_from([0.0, 1.0, 2.0]),
    st.sampled_from([0.0, 0.75]),
)
def test_wakes_follow_the_rule_read_score_by_score(scores, threshold, window_s, suppression_s, hysteresis):
    decision = Decision(threshold + 0.01, window_s, suppression_s, hysteresis)
    assert decision.wakes(scores, rate_hz=8.0).tolist() == reference_wakes(scores, decision, 8.0)


@settings(max_examples=100, deadline=None)
@given(SCORES, st.data())
def test_wakes_are_causal(scores, data):
    cut = data.draw(st.integers(1, scores.size))
    decision = Decision(1.0, average_window_s=0.5, suppression_s=1.0, hysteresis=0.4)
    whole = decision.wakes(scores, rate_hz=10.0)
    part = decision.wakes(scores[:cut], rate_hz=10.0)
    np.testing.assert_array_equal(part, whole[whole < cut / 10.0])


@pytest.mark.parametrize("length", [1, 2, 19, 20, 21, 40, 49, 50, 51, 200])
@pytest.mark.parametrize("suppression_s", [0.0, 0.1, 2.0, 5.0])
def test_one_burst_is_one_wake_for_every_length_and_grouping(length, suppression_s):
    scores = np.zeros(400)
    scores[100 : 100 + length] = 1.0
    spans = Decision(0.5, suppression_s=suppression_s).awake_spans(scores, rate_hz=10.0)
    np.testing.assert_allclose(spans, [[10.0, 10.0 + length / 10.0]])


def test_crossings_each_closer_than_suppression_are_one_wake():
    scores = np.zeros(600)
    scores[100:300:19] = 1.0
    assert Decision(0.5, suppression_s=2.0).wakes(scores, rate_hz=10.0).tolist() == [10.0]


def test_crossings_as_far_as_suppression_are_two_wakes():
    scores = np.zeros(100)
    scores[[10, 30]] = 1.0
    assert Decision(0.5, suppression_s=2.0).wakes(scores, rate_hz=10.0).tolist() == [1.0, 3.0]
    assert Decision(0.5, suppression_s=2.1).wakes(scores, rate_hz=10.0).tolist() == [1.0]


def test_awake_share_unmasks_an_endless_burst():
    scores = np.tile([1.0, 0.0], 500)
    spans = Decision(0.5, suppression_s=2.0).awake_spans(scores, rate_hz=10.0)
    assert spans.shape == (1, 2)
    assert np.diff(spans).sum() == pytest.approx(99.9)


def test_averaging_delays_a_step_by_the_share_it_needs():
    scores = np.concatenate((np.zeros(100), np.ones(100)))
    assert Decision(0.8, average_window_s=1.0).wakes(scores, rate_hz=10.0).tolist() == [10.7]


def test_hysteresis_bridges_a_shallow_dip_but_not_a_deep_one():
    scores = np.array([0.0, 1.0, 0.7, 1.0, 0.4, 1.0, 0.0])
    plain = Decision(0.9, suppression_s=0.0)
    assert plain.wakes(scores, rate_hz=1.0).tolist() == [1.0, 3.0, 5.0]
    held = Decision(0.9, suppression_s=0.0, hysteresis=0.3)
    assert held.wakes(scores, rate_hz=1.0).tolist() == [1.0, 5.0]


@pytest.mark.parametrize("window", [1, 2, 7, 100, 1003, 5000])
def test_running_mean_is_the_mean_of_the_last_scores(window):
    scores = np.random.default_rng(4).normal(size=1003)
    expected = [scores[max(0, k - window + 1) : k + 1].mean() for k in range(scores.size)]
    np.testing.assert_allclose(running_mean(scores, window=window), expected, atol=1e-13)


def test_running_mean_forgets_a_huge_score_once_it_has_left():
    scores = np.zeros(100)
    scores[5], scores[50:] = 1e17, 1.0
    assert running_mean(scores, window=10)[-1] == 1.0


@pytest.mark.parametrize("scores", [np.empty(0), np.zeros((2, 3)), np.array([0.0, np.nan]), np.array([np.inf])])
def test_unusable_scores_are_refused(scores):
    with pytest.raises(InputError, match="scores"):
        Decision(0.5).wakes(scores, rate_hz=10.0)


@pytest.mark.parametrize("rate_hz", [0.0, -1.0, float("nan")])
def test_unusable_rate_is_refused(rate_hz):
    with pytest.raises(InputError, match="rate"):
        Decision(0.5).wakes(np.zeros(3), rate_hz=rate_hz)


@pytest.mark.parametrize("field", ["average_window_s", "suppression_s", "hysteresis"])
def test_negative_settings_are_refused(field):
    with pytest.raises(InputError, match=field):
        Decision(0.5, **{field: -1.0})


def test_threshold_that_is_no_number_is_refused():
    with pytest.raises(InputError, match="threshold"):
        Decision(float("nan"))
