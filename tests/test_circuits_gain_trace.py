"""The compiled gain against the block's own equations, in chunks, over hours' worth of level, and causal."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from block_signals import PROCESS
from lightsleeper.circuits import AutomaticGainControl, GainTrace, Process, simulate_block
from lightsleeper.circuits.spice.standalone_cases import QUICK_GAIN_CONTROL, swelling_noise

RATE_HZ = 16e3


def amplified(agc: AutomaticGainControl, input_v: np.ndarray, *, rate_hz: float = RATE_HZ) -> np.ndarray:
    """Output of the block by way of its compiled gain: what stands behind coupling, gain and clip."""
    gain = GainTrace(agc, rate_hz=rate_hz, process=PROCESS).gain(input_v)
    return agc.amplifier.clip_v * np.tanh(gain * input_v / agc.amplifier.clip_v)


@pytest.mark.parametrize("peak_v", [1e-4, 1e-3, 0.05])
def test_it_follows_the_equations(peak_v: float) -> None:
    """At 192 kHz to 1 %, the gain moving by up to 20 dB in 20 ms; its corner of 1 Hz leaves the coupling out."""
    agc = dataclasses.replace(
        QUICK_GAIN_CONTROL, amplifier=dataclasses.replace(QUICK_GAIN_CONTROL.amplifier, corner_hz=1.0)
    )
    input_v = swelling_noise(peak_v=peak_v, top_hz=2e3, rate_hz=192e3)
    truth = simulate_block(agc, input_v, 192e3, process=PROCESS)
    found = amplified(agc, input_v, rate_hz=192e3)
    assert np.sqrt(np.mean((found - truth) ** 2) / np.mean(truth**2)) < 0.02


@settings(max_examples=10)
@given(st.integers(1, 3999))
def test_chunks_are_the_whole(cut: int) -> None:
    input_v = 1e-3 * np.random.default_rng(0).standard_normal(4000)
    whole = GainTrace(QUICK_GAIN_CONTROL, rate_hz=RATE_HZ, process=PROCESS).gain(input_v)
    trace = GainTrace(QUICK_GAIN_CONTROL, rate_hz=RATE_HZ, process=PROCESS)
    np.testing.assert_array_equal(np.concatenate([trace.gain(input_v[:cut]), trace.gain(input_v[cut:])]), whole)


def test_the_gain_at_a_sample_has_not_heard_it() -> None:
    input_v = 1e-3 * np.random.default_rng(0).standard_normal(400)
    other = input_v.copy()
    other[200:] = 0.1
    one, two = (GainTrace(QUICK_GAIN_CONTROL, rate_hz=RATE_HZ, process=PROCESS).gain(v) for v in (input_v, other))
    np.testing.assert_array_equal(one[:201], two[:201])
    assert one[210] != two[210]


@settings(max_examples=15)
@given(st.floats(-80.0, -20.0), st.floats(-20.0, 70.0))
def test_steady_noise_settles_at_the_target_or_at_a_clamp(level_db: float, temperature_c: float) -> None:
    """A minute of noise from 0.1 to 100 mV rms through the default: 3 dB/s, 40 dB of range."""
    agc, process = AutomaticGainControl(), Process(temperature_c=temperature_c)
    input_v = 10.0 ** (level_db / 20.0) * np.random.default_rng(1).standard_normal(60 * 16_000)
    gain = GainTrace(agc, rate_hz=RATE_HZ, process=process).gain(input_v)[-16_000:]
    least = agc.amplifier.gain * 10.0 ** (-agc.range_db / 20.0)
    assert least <= gain.min()
    assert gain.max() <= agc.amplifier.gain
    wanted = agc.target_v / (10.0 ** (level_db / 20.0))
    # The envelope of noise stands 1.3 times over its rms; near a clamp the gain ends a little before it.
    if 1.3 * least < wanted < 0.7 * agc.amplifier.gain:
        assert 0.6 < np.median(gain) / wanted < 1.1


def test_silence_lets_the_gain_rise_to_its_clamp_and_no_further() -> None:
    agc = AutomaticGainControl(start_db=20.0)
    gain = GainTrace(agc, rate_hz=RATE_HZ, process=PROCESS).gain(np.zeros(30 * 16_000))
    assert gain[0] == pytest.approx(agc.amplifier.gain / 10.0)
    assert np.all(np.diff(gain) >= 0.0)
    assert gain[-1] == pytest.approx(agc.amplifier.gain, rel=0.01)
    # 3 dB/s, of which the clamp takes 4 % at 20 dB.
    assert 20.0 * np.log10(gain[16_000] / gain[0]) == pytest.approx(3.0, rel=0.06)
