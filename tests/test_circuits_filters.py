"""Filters of two states: transfer functions, output conductance, noise, known answers of the reference, limits."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from block_signals import PROCESS, linearised_gain
from lightsleeper.circuits import FilterBank, Process
from lightsleeper.circuits.device import BOLTZMANN_J_PER_K, KAPPA
from lightsleeper.circuits.filters import C4BandPass, GmCFilter
from lightsleeper.errors import InputError

filters = st.builds(
    GmCFilter,
    kind=st.sampled_from(["band_pass", "low_pass"]),
    center_hz=st.floats(20.0, 20e3),
    q=st.floats(0.6, 5.0),
    capacitance_f=st.floats(1e-12, 2e-11),
    linearisation=st.floats(1.0, 4.0),
    dc_gain=st.floats(10.0, 1e4),
)


@st.composite
def conveyors(draw: st.DrawFn) -> C4BandPass:
    names = ("input_f", "feedback_f", "wide_f", "load_f")
    loose = C4BandPass(q=0.1, **{name: draw(st.floats(5e-14, 5e-12)) for name in names})
    share = draw(st.floats(0.1, 0.999))
    return dataclasses.replace(
        loose, q=min(share * loose.largest_q, 5.0), center_hz=draw(st.floats(20.0, 20e3)),
        forward_linearisation=draw(st.floats(1.0, 4.0)),
    )  # fmt: skip


@settings(max_examples=30)
@given(st.one_of(filters, conveyors()))
def test_small_signals_see_the_transfer_function(block: GmCFilter | C4BandPass) -> None:
    frequency_hz = block.center_hz * np.array([0.01, 0.5, 1.0, 2.0, 100.0])
    found = linearised_gain(block, frequency_hz, state=np.zeros(2), input_v=np.zeros(1))
    expected = block.transfer(frequency_hz, PROCESS)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6 * np.abs(expected).max())


@given(st.floats(20.0, 20e3), st.floats(0.6, 5.0), st.floats(1e-12, 2e-11), st.floats(1.0, 4.0))
def test_ideal_band_pass_is_that_of_the_bank(center_hz: float, q: float, capacitance_f: float, wider: float) -> None:
    block = GmCFilter(center_hz=center_hz, q=q, capacitance_f=capacitance_f, dc_gain=math.inf, linearisation=wider)
    bank = FilterBank(center_hz=(center_hz,), q=(q,), capacitance_f=capacitance_f, linearisation=wider)
    frequency_hz = center_hz * np.geomspace(0.1, 10.0, 7)
    np.testing.assert_allclose(block.transfer(frequency_hz, PROCESS), bank.response(frequency_hz)[0], rtol=1e-9)
    assert block.noise_v(PROCESS) == pytest.approx(bank.output_noise_v(PROCESS)[0])
    assert block.power_w(PROCESS) == pytest.approx(bank.band_power_w(PROCESS)[0])


def test_noise_of_the_references_example() -> None:
    """1 pF, Q 4, 300.15 K: 344.09 uV (2.3)."""
    block = GmCFilter(q=4.0, capacitance_f=1e-12, dc_gain=math.inf)
    assert block.noise_v(PROCESS) == pytest.approx(344.09e-6, rel=1e-4)


@given(st.floats(0.6, 5.0), st.floats(-20.0, 70.0))
def test_noise_of_an_ideal_low_pass(q: float, temperature_c: float) -> None:
    """Of Gin = G: S1 = S (2 + 1/Q), S2 = S; Vn^2 = gamma (kT / C) (3 Q + 1 + 1 / Q) on the inner node."""
    block = GmCFilter(kind="low_pass", q=q, capacitance_f=1e-12, dc_gain=math.inf)
    kt = BOLTZMANN_J_PER_K * (temperature_c + 273.15)
    expected_v = math.sqrt(2.0 / KAPPA * kt / 1e-12 * (3.0 * q + 1.0 + 1.0 / q))
    assert block.noise_v(Process(temperature_c=temperature_c)) == pytest.approx(expected_v)


def test_output_conductance_lowers_the_peak_and_lets_dc_through() -> None:
    """Q 4: gain 0.5 needs go1 + go2 = Gd, a DC gain of 10; at 44 it is 0.81 (2.3)."""
    equal = GmCFilter(q=4.0, dc_gain=4.0 * (2.0 + 2.0 / 4.0), center_hz=1000.0)
    for dc_gain, peak in ((equal.dc_gain, 0.5), (44.0, 1.0 / (1.0 + equal.dc_gain / 44.0))):
        block = dataclasses.replace(equal, dc_gain=dc_gain)
        gains = np.abs(block.transfer(np.geomspace(500.0, 2000.0, 2001), PROCESS))
        assert gains.max() == pytest.approx(peak, rel=0.01)
    at_dc = abs(equal.transfer(np.array([0.0]), PROCESS)[0])
    damping, coupling = 0.25, 1.0
    leak_o, leak_x = 1.5 / 10.0, 1.0 / 10.0
    assert at_dc == pytest.approx(damping * leak_x / (coupling**2 + (damping + leak_o) * leak_x))


@given(conveyors())
def test_conveyor_has_its_center_and_quality(block: C4BandPass) -> None:
    """From the denominator of H: w0 = sqrt(G1 G2 / D), Q = sqrt(D G1 G2) / (G2 CL + G1 C2) (2.4)."""
    forward, feedback = block.conductances_s()
    total = block.input_f + block.feedback_f + block.wide_f
    determinant = total * (block.feedback_f + block.load_f) - block.feedback_f**2
    assert math.sqrt(forward * feedback / determinant) / (2.0 * math.pi) == pytest.approx(block.center_hz)
    quality = math.sqrt(determinant * forward * feedback) / (feedback * block.load_f + forward * block.feedback_f)
    assert quality == pytest.approx(block.q)
    # The larger ratio of the two that give this Q.
    assert forward / feedback >= block.load_f / block.feedback_f * (1.0 - 1e-9)


@pytest.mark.parametrize(("units", "largest_q"), [(1, 0.83), (6, 1.15)])
def test_largest_quality_of_the_published_capacitors(units: int, largest_q: float) -> None:
    assert C4BandPass(q=0.5, input_f=units * 64e-15).largest_q == pytest.approx(largest_q, abs=0.005)


def test_conveyor_feeds_through_at_high_frequency() -> None:
    """C1 C2 / D, and a zero in the right half plane: the phase goes on falling (2.4)."""
    block = C4BandPass()
    determinant = 704e-15 * 760e-15 - 160e-15**2
    high = block.transfer(np.array([1e9]), PROCESS)[0]
    assert abs(high) == pytest.approx(384e-15 * 160e-15 / determinant, rel=1e-3)
    assert high.real > 0.0


@pytest.mark.parametrize(
    ("block", "changes", "says"),
    [
        (GmCFilter(), {"q": 6.0}, "GmCFilter: q is 6; choose 0.5 to 5"),
        (GmCFilter(), {"center_hz": 0.0}, "center_hz is 0; choose 1 to 100000 Hz"),
        (GmCFilter(), {"kind": "high_pass"}, "kind is high_pass; choose band_pass or low_pass"),
        (C4BandPass(), {"q": 2.0}, "q is 2; these capacitors allow 1.15 at most"),
        (C4BandPass(), {"load_f": 1.0}, "load_f is 1; choose 1e-14 to 1e-10 F"),
    ],
)
def test_value_outside_its_limits_is_refused(
    block: GmCFilter | C4BandPass, changes: dict[str, float | str], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        dataclasses.replace(block, **changes)  # type: ignore[arg-type]


def test_area_is_capacitors_and_transconductors() -> None:
    block = GmCFilter(linearisation=2.0)
    assert block.area_mm2(PROCESS) == pytest.approx(PROCESS.capacitor_area_mm2(20e-12) + PROCESS.ota_area_mm2(8.0))
    conveyor = C4BandPass(feedback_linearisation=3.0)
    expected = PROCESS.capacitor_area_mm2(1304e-15) + PROCESS.ota_area_mm2(4.0)
    assert conveyor.area_mm2(PROCESS) == pytest.approx(expected)


def test_conveyor_power_is_that_of_both_transconductors() -> None:
    block = C4BandPass(forward_linearisation=2.0, feedback_linearisation=1.0)
    forward, feedback = block.conductances_s()
    assert block.power_w(PROCESS) == pytest.approx(PROCESS.supply_v * PROCESS.range_v * (2.0 * forward + feedback))
