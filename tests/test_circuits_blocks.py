"""The blocks' equations: known answers of the analog circuits reference, limits and scaling laws."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightsleeper.circuits import (
    Amplifier,
    EnvelopeDetectors,
    FilterBank,
    Integrator,
    NeuralNetwork,
    Process,
)
from lightsleeper.circuits.device import BOLTZMANN_J_PER_K, thermal_voltage_v
from lightsleeper.errors import InputError

PROCESS = Process(temperature_c=26.85)

banks = st.builds(
    lambda bands, capacitance_f, linearisation: FilterBank(
        center_hz=tuple(b[0] for b in bands),
        q=tuple(b[1] for b in bands),
        capacitance_f=capacitance_f,
        linearisation=linearisation,
    ),
    st.lists(st.tuples(st.floats(20.0, 8000.0), st.floats(0.6, 5.0)), min_size=1, max_size=6),
    st.floats(0.5e-12, 20e-12),
    st.floats(1.0, 4.0),
)


@pytest.mark.parametrize(("q", "power_nw"), [(1.0, 105.0), (2.0, 78.0), (4.0, 65.0)])
@pytest.mark.parametrize(("capacitance_f", "factor"), [(1e-12, 1.0), (5e-12, 5.0)])
def test_power_of_a_bank_of_sixteen_channels(q: float, power_nw: float, capacitance_f: float, factor: float) -> None:
    centers = tuple(np.geomspace(100.0, 8000.0, 16).tolist())
    bank = FilterBank(center_hz=centers, q=(q,) * 16, capacitance_f=capacitance_f)
    assert bank.band_power_w(PROCESS).sum() * 1e9 == pytest.approx(factor * power_nw, rel=0.01)


def test_output_noise_of_the_references_example() -> None:
    bank = FilterBank(center_hz=(1000.0,), q=(4.0,), capacitance_f=1e-12)
    np.testing.assert_allclose(bank.output_noise_v(Process(temperature_c=27.0)), 344.09e-6, rtol=1e-4)


def test_linearisation_widens_the_range_and_costs_current_and_noise() -> None:
    """Dynamic range grows by 10 log10 L: signal power by L^2, noise power by L (2.2)."""
    plain, wide = FilterBank(), FilterBank(linearisation=3.0)
    assert wide.range_v(PROCESS) == pytest.approx(3.0 * PROCESS.range_v)
    np.testing.assert_allclose(wide.band_power_w(PROCESS), 3.0 * plain.band_power_w(PROCESS))
    np.testing.assert_allclose(wide.output_noise_v(PROCESS) ** 2, 3.0 * plain.output_noise_v(PROCESS) ** 2)
    ones = np.ones(8, np.int64)
    wide_v, plain_v = (bank.step_noise_v(PROCESS, 1e-5, ones) for bank in (wide, plain))
    np.testing.assert_allclose(wide_v**2, 3.0 * plain_v**2)


@given(banks)
def test_response_has_unit_peak_and_bandwidth_f0_over_q(bank: FilterBank) -> None:
    f0, q = np.array(bank.center_hz), np.array(bank.q)
    np.testing.assert_allclose(np.diag(bank.response(f0)), 1.0, atol=1e-12)
    half = f0 / (2.0 * q)
    middle = np.sqrt(f0**2 + half**2)
    for edge in (middle - half, middle + half):
        np.testing.assert_allclose(np.abs(np.diag(bank.response(edge))), math.sqrt(0.5), rtol=1e-9)


def test_step_noise_at_a_fine_step_is_the_current_noise_on_the_capacitor() -> None:
    """sigma = sqrt(S_i dt / 2) / C with S_i = 4 q VL 2 pi f0 C: section 3, where nothing needs correction."""
    bank, step_s = FilterBank(center_hz=(100.0,), q=(2.0,), capacitance_f=1e-12), 1e-6
    density = 4.0 * 1.602176634e-19 * PROCESS.range_v * 2.0 * math.pi * 100.0 * 1e-12
    expected = math.sqrt(density * step_s / 2.0) / 1e-12
    at_output, inside = bank.step_noise_v(PROCESS, step_s, np.array([1]))
    np.testing.assert_allclose(inside, expected, rtol=1e-3)
    np.testing.assert_allclose(at_output, expected * math.sqrt(2.0), rtol=1e-3)


@pytest.mark.parametrize(
    ("center_hz", "q", "match"),
    [
        ((100.0, 200.0), (1.0,), "2 centre frequencies but 1 Qs"),
        ((), (), "0 centre frequencies"),
        ((0.0,), (1.0,), "above 0 Hz"),
        ((100.0,), (0.5,), "Qs above 0.5"),
    ],
)
def test_impossible_bank_is_refused(center_hz: tuple[float, ...], q: tuple[float, ...], match: str) -> None:
    with pytest.raises(InputError, match=match):
        FilterBank(center_hz=center_hz, q=q)


def test_amplifier_current_inverts_the_definition_of_the_noise_efficiency_factor() -> None:
    """NEF = Vn sqrt(2 I / (pi UT 4 k T BW)) (Steyaert and Sansen 1987)."""
    amplifier = Amplifier(noise_efficiency=3.0, noise_v=5e-6, bandwidth_hz=10e3)
    kelvin = PROCESS.temperature_c + 273.15
    density = math.pi * thermal_voltage_v(PROCESS.temperature_c) * 4.0 * BOLTZMANN_J_PER_K * kelvin
    nef = 5e-6 * math.sqrt(2.0 * amplifier.current_a(PROCESS) / (density * 10e3))
    assert nef == pytest.approx(3.0)
    # One ideal bipolar transistor (NEF 1), 10 uV rms in 10 kHz, worked by hand from the same formula: 67 nA.
    single = Amplifier(noise_efficiency=1.0, noise_v=10e-6, bandwidth_hz=10e3)
    assert single.current_a(PROCESS) == pytest.approx(6.73e-8, rel=0.01)


@settings(max_examples=20)
@given(st.floats(1.1, 10.0))
def test_amplifier_pays_quadratically_for_low_noise(factor: float) -> None:
    loud, quiet = Amplifier(noise_v=6e-6), Amplifier(noise_v=6e-6 / factor)
    assert quiet.current_a(PROCESS) == pytest.approx(factor**2 * loud.current_a(PROCESS))


def test_capacitor_area_of_five_picofarads_lies_in_the_references_range() -> None:
    for density, area_um2 in ((1.0e-15, 5000.0), (2.0e-15, 2500.0)):
        process = dataclasses.replace(PROCESS, capacitor_f_per_um2=density)
        assert process.capacitor_area_mm2(5e-12) * 1e6 == pytest.approx(area_um2)


def test_envelope_and_integrator_power_is_c_vl_over_tau() -> None:
    detectors = EnvelopeDetectors(*(((time_s,) * 2) for time_s in (1e-3, 1e-2, 1e-3, 0.3, 3.0, 0.3)))
    assert detectors.times_s().shape == (6, 2)
    rates = 2 * (1e3 + 1e2 + 1e3 + 1 / 0.3 + 1 / 3.0 + 1 / 0.3)
    expected = PROCESS.supply_v * (5e-12 * PROCESS.range_v * rates + 2 * 10e-9)
    assert detectors.power_w(PROCESS) == pytest.approx(expected)
    integrator = Integrator(rise_s=0.1, fall_s=0.05)
    assert integrator.power_w(PROCESS) == pytest.approx(PROCESS.supply_v * 5e-12 * PROCESS.range_v * 30.0)


def _network(scale: float = 1.0) -> NeuralNetwork:
    rng = np.random.default_rng(1)
    return NeuralNetwork(
        hidden_weight=scale * rng.normal(size=(4, 6)),
        hidden_bias_v=rng.normal(scale=0.01, size=4),
        neuron_s=np.full(4, 0.05),
        output_weight=scale * rng.normal(size=4),
        output_bias_v=0.01,
    )


def test_network_power_grows_by_the_unit_current_of_each_weight() -> None:
    one, two = _network(), _network(2.0)
    weights = np.abs(one.hidden_weight).sum() + np.abs(one.output_weight).sum()
    extra_w = two.power_w(PROCESS) - one.power_w(PROCESS)
    assert extra_w == pytest.approx(PROCESS.supply_v * one.unit_current_a * weights)
