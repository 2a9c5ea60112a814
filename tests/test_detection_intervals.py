"""Intervals against published values, identities and their coverage."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import poisson

from lightsleeper.detection import (
    combined_rate_interval,
    poisson_rate_interval,
    wilson_interval,
    zero_count_upper_bound,
)
from lightsleeper.errors import InputError


def test_wilson_known_answer():
    assert wilson_interval(42, 50) == pytest.approx((0.715, 0.917), abs=5e-4)


@given(st.integers(1, 200), st.data())
def test_wilson_holds_the_share_and_mirrors(trials, data):
    successes = data.draw(st.integers(0, trials))
    low, high = wilson_interval(successes, trials)
    assert 0 <= low <= successes / trials <= high <= 1
    mirrored = wilson_interval(trials - successes, trials)
    assert (1 - mirrored[1], 1 - mirrored[0]) == pytest.approx((low, high), abs=1e-12)


def test_garwood_known_answers():
    assert poisson_rate_interval(0, 1.0) == pytest.approx((0.0, 3.689), abs=1e-3)
    assert poisson_rate_interval(10, 2.0) == pytest.approx((4.795 / 2, 18.390 / 2), abs=1e-3)


@given(st.integers(1, 300), st.floats(0.1, 100.0))
def test_garwood_limits_leave_each_tail_its_share(count, hours):
    low, high = poisson_rate_interval(count, hours)
    assert poisson.sf(count - 1, low * hours) == pytest.approx(0.025, rel=1e-6)
    assert poisson.cdf(count, high * hours) == pytest.approx(0.025, rel=1e-6)


def test_rule_of_three():
    assert zero_count_upper_bound(30.0) == pytest.approx(0.1, rel=2e-3)
    assert poisson.cdf(0, zero_count_upper_bound(7.0) * 7.0) == pytest.approx(0.05)


@given(st.integers(0, 100), st.floats(0.5, 50.0))
def test_combination_of_one_part_is_garwood(count, hours):
    rate, low, high = combined_rate_interval([(count, hours, 1.0)])
    assert rate == count / hours
    assert (low, high) == pytest.approx(poisson_rate_interval(count, hours))


def test_combination_is_tighter_than_the_sum_of_limits_and_wider_than_each():
    parts = [(12, 300.0, 60.0), (3, 10.0, 1.0)]
    rate, low, high = combined_rate_interval(parts)
    assert rate == pytest.approx(12 / 300 * 60 + 0.3)
    limits = [[weight * limit for limit in poisson_rate_interval(count, size)] for count, size, weight in parts]
    assert limits[0][0] + limits[1][0] < low < rate < high < limits[0][1] + limits[1][1]
    assert high - rate > max(
        limit[1] - weight * n / size for limit, (n, size, weight) in zip(limits, parts, strict=True)
    )


@pytest.mark.parametrize(("per_sound", "per_hour"), [(0.01, 0.05), (0.05, 1.0), (0.3, 0.1), (0.002, 3.0)])
def test_combination_covers_the_true_rate(per_sound, per_hour):
    rng = np.random.default_rng(7)
    sounds, hours, truth, draws = 400.0, 8.0, 60 * per_sound + per_hour, 2000
    counts = zip(rng.poisson(per_sound * sounds, draws), rng.poisson(per_hour * hours, draws), strict=True)
    covered = 0
    known: dict[tuple[int, int], bool] = {}
    for pair in counts:
        if pair not in known:
            _, low, high = combined_rate_interval([(int(pair[0]), sounds, 60.0), (int(pair[1]), hours, 1.0)])
            known[pair] = low <= truth <= high
        covered += known[pair]
    assert covered / draws >= 0.94


def refused_calls():
    return [
        lambda: wilson_interval(3, 2),
        lambda: wilson_interval(0, 0),
        lambda: poisson_rate_interval(-1, 1.0),
        lambda: poisson_rate_interval(1, 0.0),
        lambda: poisson_rate_interval(1, math.nan),
        lambda: zero_count_upper_bound(1.0, confidence=1.0),
        lambda: combined_rate_interval([]),
        lambda: combined_rate_interval([(1, 1.0, -2.0)]),
    ]


@pytest.mark.parametrize("call", refused_calls())
def test_unusable_counts_are_refused(call):
    with pytest.raises(InputError):
        call()
