"""Decisions of the governor and its bucket."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightsleeper.device.budget import Limits
from lightsleeper.device.governor import Governor, TokenBucket
from lightsleeper.device.pressure import Readings

CALM = Readings(cpu_pressure=0.0, memory_pressure=0.0, others_share=0.1, temperature_c=40.0)


@given(
    rate=st.floats(0.01, 1.0),
    costs=st.lists(st.floats(0.001, 0.3), min_size=5, max_size=60),
    idle_s=st.floats(0.0, 100.0),
)
def test_the_share_is_kept_over_any_time(rate, costs, idle_s):
    """Spent so far: at most the rate times the time, what was kept, and the last slice that overdrew it."""
    now_s, spent_s = idle_s, 0.0
    bucket = TokenBucket(rate=rate, kept_s=0.05, now_s=0.0)
    for cost_s in costs:
        wait_s = bucket.wait_s(0.01, now_s=now_s)
        now_s += wait_s
        assert bucket.wait_s(0.01, now_s=now_s) == pytest.approx(0.0, abs=1e-9)
        assert spent_s <= rate * (now_s - idle_s) + 0.05 + 1e-9
        bucket.spend(cost_s)
        spent_s += cost_s
        now_s += cost_s
    assert spent_s >= rate * (now_s - idle_s) * 0.99 - max(costs) - 0.06


def test_a_slice_larger_than_the_bucket_still_comes():
    bucket = TokenBucket(rate=0.5, kept_s=0.05, now_s=0.0)
    assert bucket.wait_s(3.0, now_s=0.0) == pytest.approx(0.1)
    assert bucket.wait_s(3.0, now_s=0.1) == 0.0


@pytest.mark.parametrize(
    ("readings", "contention", "reason"),
    [
        (Readings(), None, None),
        (CALM, 0.0, None),
        (Readings(cpu_pressure=0.11), None, "CPU pressure"),
        (Readings(cpu_pressure=0.09), None, None),
        (Readings(memory_pressure=0.06), None, "memory pressure"),
        (Readings(others_share=0.76), None, "load"),
        (Readings(temperature_c=70.5), None, "temperature"),
        (Readings(temperature_c=69.5), None, None),
        (Readings(battery_charge=0.49), None, "battery"),
        (Readings(battery_charge=0.51), None, None),
        (CALM, 0.46, "contention"),
        (CALM, 0.44, None),
        (Readings(cpu_pressure=1.0, battery_charge=0.1), 1.0, "battery"),
    ],
)
def test_reasons(readings, contention, reason):
    governor = Governor(Limits(), now_s=0.0)
    pause = governor.pause(readings, contention=contention, now_s=0.5)
    assert (None if pause is None else pause[1]) == reason


def test_pauses_double_up_to_half_a_minute_and_calm_makes_them_short_again():
    governor = Governor(Limits(), now_s=0.0)
    busy, now_s, waits = Readings(cpu_pressure=0.9), 0.0, []
    for _ in range(8):
        pause = governor.pause(busy, contention=None, now_s=now_s)
        assert pause is not None
        waits.append(pause[0])
        now_s += pause[0]
    assert waits == [0.5, 1, 2, 4, 8, 16, 30, 30]
    # A short calm between two bursts does not bring short pauses back; a long one does.
    assert governor.pause(CALM, contention=None, now_s=now_s) is None
    assert governor.pause(busy, contention=None, now_s=now_s + 1.0) == (30.0, "CPU pressure")
    assert governor.pause(CALM, contention=None, now_s=now_s + 31.0) is None
    assert governor.pause(CALM, contention=None, now_s=now_s + 42.0) is None
    assert governor.pause(busy, contention=None, now_s=now_s + 43.0) == (0.5, "CPU pressure")


@pytest.mark.parametrize(
    ("over", "at_limit", "under"),
    [
        (Readings(temperature_c=71.0), Readings(temperature_c=66.0), Readings(temperature_c=64.0)),
        (Readings(battery_charge=0.4), Readings(battery_charge=0.52), Readings(battery_charge=0.56)),
        (Readings(cpu_pressure=0.2), Readings(cpu_pressure=0.095), Readings(cpu_pressure=0.08)),
        (Readings(others_share=0.8), Readings(others_share=0.7), Readings(others_share=0.6)),
    ],
)
def test_a_reading_at_its_limit_does_not_switch_on_and_off(over, at_limit, under):
    governor = Governor(Limits(), now_s=0.0)
    assert governor.pause(at_limit, contention=None, now_s=0.0) is None
    assert governor.pause(over, contention=None, now_s=1.0) is not None
    assert governor.pause(at_limit, contention=None, now_s=2.0) is not None
    assert governor.pause(under, contention=None, now_s=3.0) is None
    assert governor.pause(at_limit, contention=None, now_s=4.0) is None
