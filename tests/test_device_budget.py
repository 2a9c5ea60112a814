"""Budgets and their texts."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightsleeper.device import Budget, parse_bytes, parse_power_w, parse_share
from lightsleeper.errors import InputError


@given(st.floats(0, 100))
def test_shares(percent):
    assert parse_share(f"{percent:.6f}%") == pytest.approx(percent / 100, abs=1e-8)
    assert parse_share(f" {percent:.6f} ") == parse_share(f"{percent:.6f} %")


@pytest.mark.parametrize("text", ["101%", "-1%", "all", "", "20%%", "nan", "0.2.3"])
def test_strange_shares_are_refused(text):
    with pytest.raises(InputError, match=f"{re.escape(repr(text))} is no share: give 0 to 100 %"):
        parse_share(text)


def test_sizes():
    assert parse_bytes("64MB") == 64_000_000
    assert parse_bytes("1.5 KiB") == 1536
    assert parse_bytes("512kb") == 512_000
    for text in ("64", "MB", "64 MW", "-3MB", ""):
        with pytest.raises(InputError, match="is no size of memory"):
            parse_bytes(text)


def test_powers():
    assert parse_power_w("3mW") == pytest.approx(3e-3)
    assert parse_power_w("86400J/day") == pytest.approx(1.0)
    assert parse_power_w("24 Wh/day") == pytest.approx(1.0)
    assert parse_power_w("24mWh/day") == pytest.approx(1e-3)
    for text in ("200J", "200", "200 J/week"):
        with pytest.raises(InputError, match="is no power"):
            parse_power_w(text)


def test_energy_is_a_share_of_the_processor():
    budget = Budget(cpu_share=0.2, memory_bytes=1, power_w=0.05, active_power_w=1.0)
    assert budget.share == pytest.approx(0.05)
    assert Budget(cpu_share=0.02, memory_bytes=1, power_w=0.05, active_power_w=1.0).share == pytest.approx(0.02)
    assert Budget(cpu_share=0.2, memory_bytes=1, active_power_w=1.0).share == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"cpu_share": 0.0}, "a CPU share of 0 is out of range: give above 0 to 100 %"),
        ({"cpu_share": 1.5}, "a CPU share of 1.5 is out of range"),
        ({"power_w": 1.0}, "give --active-power"),
        ({"power_w": 0.0, "active_power_w": 1.0}, "energy of 0 W is out of range"),
        ({"power_w": 1.0, "active_power_w": 0.0}, "active power of 0 W is out of range"),
    ],
)
def test_budgets_out_of_range(options, words):
    with pytest.raises(InputError, match=re.escape(words)):
        Budget(**{"cpu_share": 0.2, "memory_bytes": 1} | options)
