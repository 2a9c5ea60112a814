"""Logarithm of a ratio: settled values, common gain, temperature, offset, small signals, noise (2.6)."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from block_signals import PROCESS, linearised_gain
from lightsleeper.circuits import LogRatio, Process, simulate_block
from lightsleeper.circuits.device import BOLTZMANN_J_PER_K, KAPPA


@settings(max_examples=6)
@given(st.floats(0.0, 0.1), st.floats(0.0, 0.1), st.floats(-20.0, 70.0))
def test_steady_inputs_settle_at_the_logarithm_of_their_ratio(above_v: float, below_v: float, celsius: float) -> None:
    block, process = LogRatio(bias_a=1e-11), Process(temperature_c=celsius)
    inputs_v = np.broadcast_to(np.array([[above_v], [below_v]]), (2, 100))
    output_v = simulate_block(block, inputs_v, 20e3, process=process)
    expected_v = process.slope_v * math.log((1e-3 + above_v) / (1e-3 + below_v))
    assert output_v[-1] == pytest.approx(expected_v, abs=1e-6)
    assert block.settled_v(np.array([above_v, below_v]), process) == pytest.approx(expected_v)


def test_a_common_gain_drops_out_above_the_knee() -> None:
    """A decade is 85 mV at 27 C; 20 dB of common gain move a ratio of 10 dB by less than 0.5 dB."""
    block = LogRatio(knee_v=1e-4)
    decade_v = PROCESS.slope_v * math.log(10.0)
    assert decade_v == pytest.approx(85e-3, rel=1e-3)
    floor_v, event_v = 3e-3, 3e-3 * math.sqrt(10.0)
    quiet_v, loud_v = (block.settled_v(gain * np.array([event_v, floor_v]), PROCESS) for gain in (1.0, 10.0))
    assert abs(loud_v - quiet_v) < 0.5 / 20.0 * decade_v


def test_offset_multiplies_the_ratio() -> None:
    """A threshold error dV is a factor exp(kappa dV / UT) (2.6)."""
    plain, offset = LogRatio(knee_v=1e-5), LogRatio(knee_v=1e-5, offset_v=5e-3)
    factor = math.exp(5e-3 / PROCESS.slope_v)
    scaled_v = plain.settled_v(np.array([factor * 0.05, 0.05]), PROCESS)
    assert offset.settled_v(np.array([0.05, 0.05]), PROCESS) == pytest.approx(scaled_v, rel=1e-3)


def test_a_ratio_is_proportional_to_absolute_temperature() -> None:
    inputs_v = np.array([0.04, 0.01])
    cold, hot = (LogRatio().settled_v(inputs_v, Process(temperature_c=c)) for c in (-23.15, 76.85))
    assert hot / cold == pytest.approx(350.0 / 250.0)


def test_negative_inputs_count_as_none() -> None:
    block = LogRatio()
    assert block.settled_v(np.array([-0.5, -0.1]), PROCESS) == 0.0
    np.testing.assert_allclose(block.derivative(np.zeros(2), np.array([-0.5, -0.1]), PROCESS), 0.0)


@given(st.floats(1e-12, 1e-8), st.floats(1e-5, 0.1), st.floats(1e-14, 1e-11))
def test_small_signals_see_the_transfer_function(bias_a: float, knee_v: float, capacitance_f: float) -> None:
    block = LogRatio(bias_a=bias_a, knee_v=knee_v, capacitance_f=capacitance_f)
    pole_hz = bias_a / (2.0 * math.pi * capacitance_f * PROCESS.slope_v)
    frequency_hz = pole_hz * np.array([0.01, 1.0, 100.0])
    # On the side of 0 V where it conducts; the operating point is where that input leaves the first state.
    input_v = np.array([2e-6, 0.0])
    state = PROCESS.slope_v * np.log1p(input_v / knee_v)
    found = linearised_gain(block, frequency_hz, state=state, input_v=input_v)
    np.testing.assert_allclose(found, block.transfer(frequency_hz, PROCESS), rtol=0.25 * 2e-6 / knee_v * 4 + 1e-4)


@given(st.floats(1e-14, 1e-11), st.floats(-20.0, 70.0))
def test_noise_is_twice_k_t_over_kappa_c(capacitance_f: float, temperature_c: float) -> None:
    """From the densities: 4 q I0 on a conductance I0 / slope and C is q slope / C a side, whatever the current."""
    kelvin = temperature_c + 273.15
    block = LogRatio(capacitance_f=capacitance_f)
    expected_v = math.sqrt(2.0 * BOLTZMANN_J_PER_K * kelvin / (KAPPA * capacitance_f))
    assert block.noise_v(Process(temperature_c=temperature_c)) == pytest.approx(expected_v)


def test_power_and_area() -> None:
    block = LogRatio(bias_a=1e-9, capacitance_f=1e-12)
    assert block.power_w(PROCESS) == pytest.approx(3.6e-9)
    assert block.area_mm2(PROCESS) == pytest.approx(PROCESS.capacitor_area_mm2(2e-12) + PROCESS.ota_area_mm2(2))
