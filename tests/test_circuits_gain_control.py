"""Gain in steps and automatic gain: exact steps, offset once, speed that no level changes, clamps, settled level."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from block_signals import PROCESS, linearised_gain
from lightsleeper.circuits import Amplifier, AutomaticGainControl, GainStage, Process, simulate_block
from lightsleeper.circuits.device import thermal_voltage_v
from lightsleeper.errors import InputError

QUICK = AutomaticGainControl(fall_db_per_s=1000.0, rise_db_per_s=500.0, attack_s=1e-3, decay_s=2e-3)
RATE_HZ = 16e3
DECIBEL_V = PROCESS.slope_v * np.log(10.0) / 20.0


def gain_db(agc: AutomaticGainControl, control_v: np.ndarray, process: Process = PROCESS) -> np.ndarray:
    return 20.0 * np.log10(agc.attenuation(control_v, process))


@given(st.integers(0, 7), st.floats(0.5, 12.0))
def test_each_code_is_one_step_less(code: int, step_db: float) -> None:
    stage = GainStage(amplifier=Amplifier(gain=100.0), code=code, step_db=step_db)
    assert 20.0 * np.log10(stage.gain / 100.0) == pytest.approx(-step_db * code, abs=1e-9)
    assert stage.noise_v(PROCESS) == pytest.approx(stage.gain * stage.amplifier.noise_v)


@given(st.integers(0, 7))
def test_small_signals_see_the_transfer_function(code: int) -> None:
    stage, frequency_hz = GainStage(code=code), np.array([1.0, 20.0, 1000.0])
    found = linearised_gain(stage, frequency_hz, state=np.zeros(1), input_v=np.zeros(1))
    np.testing.assert_allclose(found, stage.transfer(frequency_hz, PROCESS), rtol=1e-6)


def test_offset_is_amplified_exactly_once_and_dc_not_at_all() -> None:
    stage = GainStage(amplifier=Amplifier(gain=100.0, clip_v=100.0), offset_v=1e-3)
    assert stage.output(np.array([0.3]), np.array([0.3]), PROCESS) == pytest.approx(0.1, rel=1e-5)
    output_v = simulate_block(stage, np.full(3000, 0.2), 2e3, process=PROCESS)
    assert output_v[-1] == pytest.approx(0.1, rel=1e-5)


@settings(max_examples=20)
@given(st.floats(-20.0, 70.0), st.floats(0.1, 100.0), st.floats(0.1, 100.0))
def test_gain_moves_by_its_decibels_per_second_at_any_temperature(
    temperature_c: float, fall_db_per_s: float, rise_db_per_s: float
) -> None:
    """Far above the target, and in silence; in the middle of the range, where the clamps take less than 1 %."""
    process = Process(temperature_c=temperature_c)
    agc = AutomaticGainControl(start_db=30.0, range_db=60.0, fall_db_per_s=fall_db_per_s, rise_db_per_s=rise_db_per_s)
    state = agc.rest(process)
    for envelope_v, expected_db_per_s in ((1e3 * agc.target_v, -fall_db_per_s), (0.0, rise_db_per_s)):
        state[1] = envelope_v
        after = state[2] + 1e-3 * agc.derivative(state, np.zeros(1), process)[2]
        moved_db = gain_db(agc, after, process) - gain_db(agc, state[2], process)
        assert moved_db / 1e-3 == pytest.approx(expected_db_per_s, rel=0.012)


@given(st.floats(0.1, 10.0), st.floats(1e-3, 0.1))
def test_speed_depends_on_the_ratio_to_the_target_alone(ratio: float, target_v: float) -> None:
    """(Ve - target) / (Ve + target) = tanh(ln(Ve / target) / 2): a differential pair between logarithms."""
    speeds = []
    for target in (target_v, 5e-3):
        agc = AutomaticGainControl(target_v=target, rise_db_per_s=3.0, fall_db_per_s=3.0, start_db=20.0)
        state = agc.rest(PROCESS)
        state[1] = ratio * target
        speeds.append(agc.derivative(state, np.zeros(1), PROCESS)[2])
    assert speeds[0] == pytest.approx(speeds[1], abs=1e-12)
    # 20 dB from either clamp.
    headroom = -np.expm1(-20.0 * DECIBEL_V / thermal_voltage_v())
    assert speeds[0] == pytest.approx(3.0 * DECIBEL_V * headroom * np.tanh(np.log(ratio) / 2.0), abs=1e-12)


def test_thirty_decibels_of_level_become_less_than_one() -> None:
    """Noise of three levels, 15 dB apart, side by side; the envelope settles at the target."""
    noise = np.random.default_rng(0).standard_normal(round(0.15 * RATE_HZ))
    input_v = 20e-6 * 10.0 ** (np.array([0.0, 15.0, 30.0]) / 20.0)[:, None] * noise
    output_v = simulate_block(QUICK, input_v[None], RATE_HZ, process=PROCESS)
    settled_db = 20.0 * np.log10(np.sqrt(np.mean(output_v[:, -1200:] ** 2, axis=-1)))
    assert np.ptp(settled_db) < 1.0
    assert 0.5 * QUICK.target_v < np.sqrt(np.mean(output_v[1, -1200:] ** 2)) < 1.5 * QUICK.target_v


@pytest.mark.parametrize(("input_v", "end_db"), [(0.0, 0.0), (0.5, -40.0)])
def test_gain_ends_at_its_clamps(input_v: float, end_db: float) -> None:
    tone_v = input_v * np.sin(2.0 * np.pi * 500.0 * np.arange(1500) / RATE_HZ)
    probe = np.append(tone_v, 0.0)
    output_v = simulate_block(QUICK, probe, RATE_HZ, process=PROCESS)
    # Silence makes no sound: its gain is read from a click of a microvolt against one that comes at once.
    click = probe.copy()
    click[-1] += 1e-6
    gain = (simulate_block(QUICK, click, RATE_HZ, process=PROCESS)[-1] - output_v[-1]) / 1e-6
    assert 20.0 * np.log10(gain / 500.0) == pytest.approx(end_db, abs=1.0)


def test_a_loud_second_moves_the_gain_by_no_more_than_its_speed() -> None:
    agc = AutomaticGainControl(fall_db_per_s=2.0, rise_db_per_s=2.0, start_db=20.0)
    state = agc.rest(PROCESS)
    loud_v = 0.1 * np.sin(2.0 * np.pi * 400.0 * np.arange(4001) / 4000.0)
    for sample_v in loud_v:  # Euler: the control hardly moves in a quarter of a millisecond
        state = state + agc.derivative(state, np.array([sample_v]), PROCESS) / 4000.0
    moved_db = gain_db(agc, state[2]) - gain_db(agc, agc.rest(PROCESS)[2])
    assert -2.0 <= moved_db < -1.5


@pytest.mark.parametrize(
    ("block", "changes", "says"),
    [
        (GainStage(), {"code": 8}, "GainStage: code is 8; choose 0 to 7 steps"),
        (GainStage(), {"step_db": 0.0}, r"step_db is 0; choose 0\.5 to 12 dB"),
        (QUICK, {"start_db": 50.0}, "AutomaticGainControl: start_db is 50; choose 0 to 40 dB"),
        (QUICK, {"control_f": 1e-12}, "control_f is 1e-12; choose 1e-09 to 1e-06 F"),
    ],
)
def test_value_outside_its_limits_is_refused(
    block: GainStage | AutomaticGainControl, changes: dict[str, float], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        dataclasses.replace(block, **changes)  # type: ignore[arg-type]


def test_the_loop_costs_little_beside_its_amplifier() -> None:
    agc, stage = AutomaticGainControl(), GainStage(amplifier=Amplifier(gain=500.0))
    extra_w = agc.power_w(PROCESS) - stage.power_w(PROCESS)
    expected_a = 10e-9 + 5e-12 * PROCESS.range_v * (1 / 0.01 + 1 / 0.03)
    expected_a += 10e-9 * PROCESS.slope_v * np.log(10.0) / 20.0 * 6.0
    assert extra_w == pytest.approx(1.8 * expected_a)
    assert extra_w < 0.05 * stage.power_w(PROCESS)
