"""Detectors: slopes of attack and decay, bias, speed over amplitude, bounds (2.5 b, d)."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from block_signals import PROCESS
from lightsleeper.circuits import AdaptiveDetector, PeakDetector, Process, simulate_block

RATE_HZ = 20e3


def test_peak_detector_slews_up_and_falls_in_a_line() -> None:
    """Attack slew Ia / C = VL / attack, linear decay Id / C (2.5 b)."""
    detector = PeakDetector(attack_s=2e-3, decay_v_per_s=3.0)
    up = detector.derivative(np.zeros(1), np.array([0.9]), PROCESS)
    assert up[0] == pytest.approx(PROCESS.range_v / 2e-3)
    down = detector.derivative(np.array([0.5]), np.zeros(1), PROCESS)
    assert down[0] == pytest.approx(-3.0)


@settings(max_examples=30)
@given(st.floats(20e-6, 20e-3), st.floats(0.05, 0.4), st.floats(-20.0, 70.0))
def test_peak_detector_closes_a_small_gap_with_its_attack_time(
    attack_s: float, level_v: float, temperature_c: float
) -> None:
    process = Process(temperature_c=temperature_c)
    detector = PeakDetector(attack_s=attack_s, decay_v_per_s=0.01)
    decay = detector.derivative(np.array([level_v]), np.array([level_v]), process)[0]
    slope = detector.derivative(np.array([level_v]), np.array([level_v + 1e-4]), process)[0] - decay
    assert slope == pytest.approx(1e-4 / attack_s, rel=1e-4)


def test_peak_detector_reads_a_steady_voltage_low_by_decay_times_attack() -> None:
    """Where Ia (u - V) / VL = Id: the dead zone of the circuit."""
    detector = PeakDetector(attack_s=1e-3, decay_v_per_s=2.0)
    output_v = simulate_block(detector, np.full(1000, 0.3), RATE_HZ, process=PROCESS)
    assert 0.3 - output_v[-1] == pytest.approx(2.0 * 1e-3, rel=1e-2)


def test_peak_detector_rests_at_its_reference_and_ignores_what_is_below() -> None:
    detector = PeakDetector(reference_v=0.1)
    output_v = simulate_block(detector, np.linspace(0.0, -0.5, 100), RATE_HZ, process=PROCESS)
    np.testing.assert_allclose(output_v, 0.1, atol=1e-12)


@settings(max_examples=20)
@given(st.floats(0.0, 0.5), st.floats(1e-4, 0.1), st.floats(0.01, 0.5))
def test_adaptive_detector_is_the_faster_the_louder(level_v: float, knee_v: float, quiet_s: float) -> None:
    detector = AdaptiveDetector(knee_v=knee_v, quiet_s=quiet_s)
    slope = detector.derivative(np.array([level_v + 1e-3, level_v]), np.zeros(1), PROCESS)[1]
    assert slope == pytest.approx(1e-3 * (1.0 + level_v / knee_v) / quiet_s)


def test_adaptive_detector_rectifies_and_settles_at_the_level() -> None:
    detector = AdaptiveDetector(quiet_s=10e-3)
    up, down = (simulate_block(detector, np.full(2000, v), RATE_HZ, process=PROCESS) for v in (0.05, -0.05))
    np.testing.assert_array_equal(up, down)
    assert up[-1] == pytest.approx(0.05, rel=1e-4)


@pytest.mark.parametrize("level_v", [2e-4, 0.05])
def test_adaptive_detector_reaches_half_a_step_in_closed_form(level_v: float) -> None:
    """V' = (L - V) (1 + V / k) / q from 0 to L / 2 takes q ln(2 + L / k) / (1 + L / k): 63 ms quiet, 13 ms loud."""
    detector = AdaptiveDetector(quiet_s=0.1, knee_v=2e-3, attack_s=1e-4)
    output_v = simulate_block(detector, np.full(1600, level_v), RATE_HZ, process=PROCESS)
    ratio = level_v / 2e-3
    expected_s = 0.1 * np.log(2.0 + ratio) / (1.0 + ratio) + 1e-4
    assert np.interp(level_v / 2.0, output_v, np.arange(1600) / RATE_HZ) == pytest.approx(expected_s, rel=0.01)


@settings(max_examples=5)
@given(st.integers(0, 1000))
def test_detectors_stay_between_rest_and_the_largest_input(seed: int) -> None:
    input_v = 0.2 * np.random.default_rng(seed).standard_normal(100)
    for detector in (PeakDetector(decay_v_per_s=10.0), AdaptiveDetector(quiet_s=5e-3)):
        output_v = simulate_block(detector, input_v, RATE_HZ, process=PROCESS)
        assert output_v.min() >= -1e-6
        assert output_v.max() <= np.abs(input_v).max()


def test_power_is_that_of_the_currents() -> None:
    peak = PeakDetector(attack_s=1e-3, decay_v_per_s=1.0, capacitance_f=5e-12)
    assert peak.power_w(PROCESS) == pytest.approx(1.8 * 5e-12 * (PROCESS.range_v * 1e3 + 1.0))
    faster = AdaptiveDetector(attack_s=0.5e-3)
    extra_w = faster.power_w(PROCESS) - AdaptiveDetector(attack_s=1e-3).power_w(PROCESS)
    assert extra_w == pytest.approx(1.8 * 5e-12 * PROCESS.range_v * 1e3)
