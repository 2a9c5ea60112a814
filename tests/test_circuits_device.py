"""Constants and the sub-threshold transconductor: known answers of the analog circuits reference."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightsleeper.circuits.device import (
    BOLTZMANN_J_PER_K,
    KAPPA,
    bias_current_a,
    linear_range_v,
    ota_noise_density_a2_per_hz,
    thermal_voltage_v,
)

temperatures_c = st.floats(-40.0, 125.0)
currents_a = st.floats(1e-12, 1e-6)


def test_thermal_voltage_and_linear_range_at_300_k() -> None:
    assert thermal_voltage_v(26.85) == pytest.approx(25.85e-3, rel=1e-4)
    assert linear_range_v(26.85) == pytest.approx(73.9e-3, rel=1e-3)


@pytest.mark.parametrize(("corner_hz", "current_a"), [(100.0, 46e-12), (1000.0, 0.464e-9), (8000.0, 3.7e-9)])
def test_bias_current_of_one_picofarad(corner_hz: float, current_a: float) -> None:
    assert bias_current_a(corner_hz, 1e-12, range_v=linear_range_v(26.85)) == pytest.approx(current_a, rel=0.01)


@given(temperatures_c)
def test_linear_range_is_proportional_to_absolute_temperature(temperature_c: float) -> None:
    per_kelvin = linear_range_v(27.0) / 300.15
    assert linear_range_v(temperature_c) == pytest.approx(per_kelvin * (temperature_c + 273.15))


@given(currents_a, temperatures_c)
def test_noise_density_is_thermal_noise_of_the_transconductance(current_a: float, temperature_c: float) -> None:
    """S_i = 4 q Ib = 4 k T gamma Gm with gamma = 2 / kappa and Gm = Ib / VL."""
    gm = current_a / linear_range_v(temperature_c)
    thermal = 4.0 * BOLTZMANN_J_PER_K * (temperature_c + 273.15) * (2.0 / KAPPA) * gm
    assert ota_noise_density_a2_per_hz(current_a) == pytest.approx(thermal)


@given(st.floats(20.0, 20e3), st.floats(0.1e-12, 50e-12))
def test_transconductance_of_the_bias_current_sets_the_corner(corner_hz: float, capacitance_f: float) -> None:
    range_v = linear_range_v()
    gm = bias_current_a(corner_hz, capacitance_f, range_v=range_v) / range_v
    assert gm / (2.0 * math.pi * capacitance_f) == pytest.approx(corner_hz)
