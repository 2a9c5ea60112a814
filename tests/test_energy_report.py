"""The energy block of the summary."""

import json

import numpy as np
import pytest

from lightsleeper.energy import analyse_first, digitise_first, energy_report, load_catalogue
from lightsleeper.errors import InputError

CATALOGUE = load_catalogue()
CELL = CATALOGUE.battery("CR2032")
SYSTEM = analyse_first(CATALOGUE, analog_power_w=36e-6, wakes_per_hour=10)
RIVALS = digitise_first(CATALOGUE, true_wakes_per_hour=20, gate_wakes_per_hour=200)


def test_report_holds_the_contract_and_is_json():
    report = json.loads(json.dumps(energy_report(SYSTEM, RIVALS, CELL), allow_nan=False))
    assert report["analyse_first"]["power_w"] == pytest.approx(213e-6, rel=0.01)
    assert report["analyse_first"]["battery_days"] == pytest.approx(112, rel=0.01)
    assert set(report["digitise_first"]) == {"catalogue", "best_digital", "energy_gated"}
    for entry in (report["analyse_first"], *report["digitise_first"].values()):
        assert sum(row["power_w"] for row in entry["parts"]) == pytest.approx(entry["power_w"])
        assert entry["excluded"]
    # 6.3 times the life of the catalogue system, power_and_parts.md 5.
    assert report["battery_life_extension_percent"]["catalogue"] == pytest.approx(528, rel=0.01)
    assert report["break_even_wakes_per_hour"]["catalogue"] == pytest.approx(87, rel=0.01)
    assert report["battery"]["name"] == "CR2032"
    assert report["usable"] == 0.85
    assert "battery_life_extension_percent_interval" not in report


def test_a_rival_that_wins_is_printed_as_such():
    rivals = digitise_first(CATALOGUE, true_wakes_per_hour=5)
    report = energy_report(SYSTEM, rivals, CELL)
    assert report["battery_life_extension_percent"]["best_digital"] < 0
    assert report["break_even_wakes_per_hour"]["best_digital"] < SYSTEM.wakes_per_hour


def test_interval_of_the_rate_becomes_intervals_of_life_and_extension():
    report = energy_report(SYSTEM, RIVALS, CELL, wakes_per_hour_interval=(6.0, 17.0))
    short, long = report["analyse_first"]["battery_days_interval"]
    assert short < report["analyse_first"]["battery_days"] < long
    for name, (low, high) in report["battery_life_extension_percent_interval"].items():
        assert low < report["battery_life_extension_percent"][name] < high


def test_curve_varies_ours_and_leaves_the_rivals():
    curve = energy_report(SYSTEM, RIVALS, CELL)["curve"]
    assert curve["wakes_per_hour"][0] == 0
    assert (np.diff(curve["wakes_per_hour"]) > 0).all()
    assert (np.diff(curve["analyse_first"]["battery_days"]) < 0).all()
    for entry in curve["digitise_first"].values():
        assert len(set(entry["power_w"])) == 1
        assert len(entry["power_w"]) == len(curve["wakes_per_hour"])


def test_default_curve_fits_a_long_on_time():
    slow = analyse_first(CATALOGUE, analog_power_w=1e-6, wakes_per_hour=1, on_time_s=600)
    assert energy_report(slow, RIVALS, CELL)["curve"]["wakes_per_hour"][-1] == pytest.approx(6.0)


def test_curve_at_given_rates():
    report = energy_report(SYSTEM, RIVALS, CELL, curve_wakes_per_hour=np.array([0.0, 10.0]))
    assert report["curve"]["wakes_per_hour"] == [0.0, 10.0]
    assert report["curve"]["analyse_first"]["power_w"][1] == report["analyse_first"]["power_w"]


def test_report_without_rivals_is_refused():
    with pytest.raises(InputError, match="at least one"):
        energy_report(SYSTEM, {}, CELL)
