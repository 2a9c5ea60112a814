"""Power states against the worked example of power_and_parts.md section 5."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightsleeper.energy import System, analyse_first, digitise_first, load_catalogue
from lightsleeper.errors import InputError

CATALOGUE = load_catalogue()
ANALOG_W = 20e-6 * 1.8


def example(wakes_per_hour: float = 0.0, **options: float) -> System:
    return analyse_first(CATALOGUE, analog_power_w=ANALOG_W, wakes_per_hour=wakes_per_hour, **options)


@pytest.mark.parametrize(("wakes", "power_uw"), [(0, 67.3), (1, 81.9), (10, 213), (60, 941), (87, 1337)])
def test_worked_example(wakes, power_uw):
    assert example(wakes).power_w() * 1e6 == pytest.approx(power_uw, rel=0.01)


def test_one_wake_an_hour_costs_14_56_microwatts():
    assert (example(1).power_w() - example(0).power_w()) * 1e6 == pytest.approx(14.56, rel=0.01)


def test_catalogue_rival_is_the_worked_example():
    rival = digitise_first(CATALOGUE, true_wakes_per_hour=20)["catalogue"]
    assert rival.power_w() == pytest.approx(1.337e-3, rel=0.01)
    assert rival.power_w(0) == rival.power_w(500)


def test_best_digital_floor_is_the_same_node_bound():
    rival = digitise_first(CATALOGUE, true_wakes_per_hour=20)["best_digital"]
    assert rival.floor_w * 1e6 == pytest.approx(48.6, rel=0.01)
    assert any("driver, reference and clock" in item for item in rival.excluded)


def test_rivals_pay_for_a_wake_what_analyse_first_pays():
    rivals = digitise_first(CATALOGUE, true_wakes_per_hour=20, gate_wakes_per_hour=100)
    for name in ("best_digital", "energy_gated"):
        assert rivals[name].wake == example().wake


def test_best_digital_wakes_for_true_events_unless_told():
    assert digitise_first(CATALOGUE, true_wakes_per_hour=20)["best_digital"].wakes_per_hour == 20
    told = digitise_first(CATALOGUE, true_wakes_per_hour=20, best_digital_wakes_per_hour=33)
    assert told["best_digital"].wakes_per_hour == 33


def test_energy_gated_rival_needs_a_measured_rate():
    assert "energy_gated" not in digitise_first(CATALOGUE, true_wakes_per_hour=20)
    gated = digitise_first(CATALOGUE, true_wakes_per_hour=20, gate_wakes_per_hour=100)["energy_gated"]
    assert gated.power_w() * 1e6 == pytest.approx(5.4 + 15.345 + 100 * (52.4e-3 + 26.2e-6) / 3600 * 1e6)


@given(st.floats(0, 900), st.floats(0, 900))
def test_power_is_linear_in_the_rate(first, second):
    system = example()
    middle = (system.power_w(first) + system.power_w(second)) / 2
    assert system.power_w((first + second) / 2) == pytest.approx(middle)


def test_rows_sum_to_the_total_and_name_their_sources():
    budget = example(12.0).budget()
    assert sum(row.power_w for row in budget.rows) == budget.power_w
    assert all(row.source for row in budget.rows)
    assert [row.state for row in budget.rows] == ["active", "always on", "stop2", "wake-up", "active after wakes"]
    assert [row["evidence"] for row in budget.as_rows()] == ["abstract", "derived", "derived", "unsourced", "primary"]


def test_preroll_is_counted_or_listed_as_excluded():
    assert "pre-roll buffer" in example().excluded
    kept = example(preroll_power_w=5e-6)
    assert "pre-roll buffer" not in kept.excluded
    assert kept.floor_w - example().floor_w == pytest.approx(5e-6)


def test_other_parts():
    system = analyse_first(
        CATALOGUE,
        analog_power_w=1e-6,
        wakes_per_hour=0,
        sensor="ADXL362",
        sensor_state="motion_wake",
        microcontroller="CC2340R2",
        sleep_state="standby",
    )
    assert system.floor_w == pytest.approx(0.54e-6 + 1e-6 + 2.13e-6)


@pytest.mark.parametrize("rate", [-1.0, float("nan"), float("inf")])
def test_unusable_rates_are_refused(rate):
    with pytest.raises(InputError, match="wakes_per_hour"):
        example(rate)
    with pytest.raises(InputError, match="wakes_per_hour"):
        example().budget(rate)


def test_more_than_an_hour_of_on_time_is_refused():
    assert example(1800).power_w() > 0
    with pytest.raises(InputError, match="more than the hour"):
        example(1801)


@pytest.mark.parametrize("option", ["on_time_s", "preroll_power_w"])
def test_negative_options_are_refused(option):
    with pytest.raises(InputError, match=option):
        example(**{option: -1.0})


def test_negative_analog_power_is_refused():
    with pytest.raises(InputError, match="analog_power_w"):
        analyse_first(CATALOGUE, analog_power_w=-1e-6, wakes_per_hour=0)


def test_microcontrollers_with_gaps_are_refused_by_name():
    with pytest.raises(InputError, match=r"nRF54LM20A has no wake_up"):
        analyse_first(
            CATALOGUE,
            analog_power_w=1e-6,
            wakes_per_hour=0,
            microcontroller="nRF54LM20A",
            sleep_state="system_on",
        )
    with pytest.raises(InputError, match="CC2340R2 has no inference"):
        digitise_first(CATALOGUE, true_wakes_per_hour=1, microcontroller="CC2340R2", sleep_state="standby")
