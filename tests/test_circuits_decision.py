"""Comparator with offset, hysteresis and delay; integrator of two slopes (2.8, 1)."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from block_signals import PROCESS
from lightsleeper.circuits import Comparator, RegenerativeComparator, SlopeIntegrator, simulate_block


@given(st.floats(-0.01, 0.01), st.floats(-0.02, 0.02), st.floats(1e-3, 10e-3), st.floats(1e-6, 0.05))
def test_comparator_leaves_a_rail_just_beyond_threshold_plus_offset_or_hysteresis(
    offset_v: float, threshold_v: float, hysteresis_v: float, beyond_v: float
) -> None:
    block = RegenerativeComparator(Comparator(threshold_v=threshold_v, hysteresis_v=hysteresis_v), offset_v=offset_v)
    middle_v = threshold_v + offset_v
    low, high = np.zeros(1), np.array([PROCESS.supply_v])

    def slope(state: np.ndarray, input_v: float) -> float:
        return block.derivative(state, np.array([input_v]), PROCESS)[0]

    assert slope(low, middle_v + beyond_v) > 0.0 == slope(low, middle_v - beyond_v)
    assert slope(high, middle_v - hysteresis_v - beyond_v) < 0.0 == slope(high, middle_v - hysteresis_v + beyond_v)


@pytest.mark.parametrize("overdrive_v", [0.02, 0.1, 0.4])
def test_delay_is_that_of_the_formula(overdrive_v: float) -> None:
    """C VDD / 2 / (Ib tanh(dV / VL)) (2.8), with a hysteresis that is small beside the overdrive."""
    block = RegenerativeComparator(Comparator(hysteresis_v=1e-4, current_a=1e-9), load_f=1e-12)
    output_v = simulate_block(block, np.full(4000, overdrive_v), 1e6, process=PROCESS)
    measured_s = np.interp(0.9, output_v, np.arange(4000) / 1e6)
    # From the lower rail the current of the pair is whole at once: rising needs headroom at the upper one only.
    assert measured_s == pytest.approx(block.delay_s(overdrive_v, PROCESS), rel=5e-3)


def test_output_stays_between_the_rails() -> None:
    block = RegenerativeComparator(Comparator(current_a=1e-9), load_f=1e-12)
    input_v = 0.5 * np.sign(np.sin(np.arange(2000) / 200.0))
    output_v = simulate_block(block, input_v, 200e3, process=PROCESS)
    assert output_v.min() >= -1e-3
    assert output_v.max() <= PROCESS.supply_v + 1e-3
    assert np.ptp(output_v) > 0.95 * PROCESS.supply_v


def test_integrator_takes_its_times_from_clamp_to_clamp_and_holds_between() -> None:
    block = SlopeIntegrator(rise_s=20e-3, fall_s=80e-3, clamp_v=0.5)
    rate_hz = 5e3
    input_v = np.concatenate([np.full(50, 1.0), np.zeros(100), np.full(100, -1.0)])
    output_v = simulate_block(block, input_v, rate_hz, process=PROCESS)
    assert output_v[49] == pytest.approx(0.5 * 49 / 5e3 / 20e-3, rel=1e-3)
    np.testing.assert_allclose(output_v[51:149], output_v[51])
    fallen_v = output_v[160] - output_v[240]
    assert fallen_v == pytest.approx(0.5 * 80 / 5e3 / 80e-3, rel=2e-2)


@settings(max_examples=10)
@given(st.floats(-1.0, 1.0))
def test_integrator_stays_within_its_clamps(input_v: float) -> None:
    block = SlopeIntegrator(rise_s=5e-3, fall_s=5e-3, clamp_v=0.4)
    output_v = simulate_block(block, np.full(100, input_v), 2e3, process=PROCESS)
    assert output_v.min() >= 0.0
    assert output_v.max() <= 0.4
    assert (output_v[-1] > 0.35) == (input_v > 0.15) or 0.0 < input_v <= 0.15


def test_power_is_supply_times_currents() -> None:
    assert RegenerativeComparator(Comparator(current_a=3e-9)).power_w(PROCESS) == pytest.approx(5.4e-9)
    block = SlopeIntegrator(rise_s=0.1, fall_s=0.2, clamp_v=0.5, capacitance_f=5e-12)
    assert block.power_w(PROCESS) == pytest.approx(1.8 * 5e-12 * 0.5 * 15.0)
