"""Battery life against the table of power_and_parts.md section 5."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightsleeper.energy import (
    analyse_first,
    break_even_wakes_per_hour,
    digitise_first,
    extension_percent,
    life_days,
    life_interval,
    life_over_wakes,
    load_catalogue,
)
from lightsleeper.errors import InputError

CATALOGUE = load_catalogue()
CELL = CATALOGUE.battery("CR2032")
SYSTEM = analyse_first(CATALOGUE, analog_power_w=36e-6, wakes_per_hour=10)


@pytest.mark.parametrize(("usable", "days"), [(1.0, 21.0), (0.85, 17.9)])
def test_digitise_first_life(usable, days):
    assert life_days(1.337e-3, CELL, usable=usable) == pytest.approx(days, rel=0.01)


def test_life_curve_is_the_table():
    curve = life_over_wakes(SYSTEM, CELL, wakes_per_hour=np.array([0.0, 1, 10, 60, 87]))
    np.testing.assert_allclose(curve.life_days[:3], [355, 292, 112], rtol=0.01)
    np.testing.assert_allclose(curve.life_days[3:], [25, 18], atol=0.5)
    np.testing.assert_allclose(1.337e-3 / curve.power_w[:3], [19.9, 16.3, 6.3], rtol=0.01)


def test_break_even_is_87_wakes_an_hour():
    rival = digitise_first(CATALOGUE, true_wakes_per_hour=20)["catalogue"]
    even = break_even_wakes_per_hour(SYSTEM, rival.power_w())
    assert even == pytest.approx(87, rel=0.01)
    assert SYSTEM.power_w(even) == pytest.approx(rival.power_w())


def test_no_break_even_where_the_floor_is_higher_or_even_always_on_is_cheaper():
    bound = digitise_first(CATALOGUE, true_wakes_per_hour=0)["best_digital"]
    assert break_even_wakes_per_hour(SYSTEM, bound.power_w()) is None
    assert break_even_wakes_per_hour(SYSTEM, 1.0) is None
    assert break_even_wakes_per_hour(digitise_first(CATALOGUE, true_wakes_per_hour=0)["catalogue"], 1.0) is None


@given(st.floats(1e-7, 1.0), st.floats(1.01, 100.0))
def test_life_is_inverse_to_power(power_w, factor):
    assert life_days(power_w * factor, CELL) * factor == pytest.approx(life_days(power_w, CELL))


@given(st.floats(0, 900), st.floats(0, 900))
def test_life_interval_turns_the_rate_interval_round(first, second):
    low, high = sorted((first, second))
    short, long = life_interval(SYSTEM, CELL, wakes_per_hour_interval=(low, high))
    assert short <= long
    assert short == life_days(SYSTEM.power_w(high), CELL)
    assert long == life_days(SYSTEM.power_w(low), CELL)


@pytest.mark.parametrize(("life", "reference", "percent"), [(20, 10, 100), (10, 10, 0), (5, 10, -50)])
def test_extension(life, reference, percent):
    assert extension_percent(life, reference) == pytest.approx(percent)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: life_days(0.0, CELL), "power"),
        (lambda: life_days(float("nan"), CELL), "power"),
        (lambda: life_days(1e-3, CELL, usable=0.0), "usable"),
        (lambda: life_days(1e-3, CELL, usable=1.1), "usable"),
        (lambda: extension_percent(0.0, 1.0), "positive"),
        (lambda: life_interval(SYSTEM, CELL, wakes_per_hour_interval=(2.0, 1.0)), "lower limit first"),
    ],
)
def test_unusable_numbers_are_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()
