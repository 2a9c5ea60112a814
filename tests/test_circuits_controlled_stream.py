"""A first stage with automatic gain: the same stage on a louder or softer input, in chunks, noise before the gain."""

import dataclasses

import numpy as np
import pytest

from example_frontend import RATE_HZ, make_frontend, noise_bursts
from lightsleeper.circuits import (
    AutomaticGainControl,
    FrontEndStream,
    GainControlledStream,
    GainTrace,
    calibrated,
)
from lightsleeper.errors import InputError

FRONTEND = make_frontend()
AGC = AutomaticGainControl(
    amplifier=dataclasses.replace(FRONTEND.amplifier, gain=500.0), fall_db_per_s=50.0, rise_db_per_s=50.0
)
SAMPLES = noise_bursts(2, 8000)


def controlled(noise_seed: int | None = None, agc: AutomaticGainControl = AGC) -> GainControlledStream:
    return GainControlledStream(FRONTEND, agc=agc, rows=2, rate_hz=RATE_HZ, noise_seed=noise_seed)


def test_it_is_the_stage_on_an_input_that_the_gain_has_scaled() -> None:
    found = controlled().process(SAMPLES)
    traces = [GainTrace(AGC, rate_hz=RATE_HZ, process=FRONTEND.process).gain(row) for row in SAMPLES]
    scaled = SAMPLES * (np.stack(traces) / FRONTEND.amplifier.gain).astype(np.float32)
    plain = FrontEndStream(FRONTEND, rows=2, rate_hz=RATE_HZ)
    np.testing.assert_array_equal(found, plain.process(scaled))
    assert np.abs(found - FrontEndStream(FRONTEND, rows=2, rate_hz=RATE_HZ).process(SAMPLES)).max() > 1e-4


@pytest.mark.parametrize("noise_seed", [None, 3])
def test_chunks_are_the_whole(noise_seed: int | None) -> None:
    whole = controlled(noise_seed).process(SAMPLES)
    stream = controlled(noise_seed)
    parts = [stream.process(SAMPLES[:, a:b]) for a, b in ((0, 100), (100, 3333), (3333, 8000))]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)


def test_input_is_left_as_it_was() -> None:
    before = SAMPLES.copy()
    controlled(noise_seed=0).process(SAMPLES)
    np.testing.assert_array_equal(SAMPLES, before)


def test_noise_comes_before_the_gain() -> None:
    """In silence the gain rises to its largest and the noise with it: 500 / 200 of the fixed stage's."""
    silence = np.zeros((2, 64_000), np.float32)
    quick = dataclasses.replace(AGC, rise_db_per_s=1000.0, target_v=0.2)
    loud = controlled(noise_seed=1, agc=quick).envelopes(silence)[0][-100:, 0].mean()
    fixed = FrontEndStream(FRONTEND, rows=2, rate_hz=RATE_HZ, noise_seed=1).envelopes(silence)[0][-100:, 0].mean()
    assert loud / fixed == pytest.approx(2.5, rel=0.1)


def test_gain_follows_the_room_and_is_told() -> None:
    stream = controlled()
    np.testing.assert_allclose(stream.gain, 500.0 * 10.0 ** (-AGC.start_db / 20.0))
    room_v = 100e-6 * np.random.default_rng(0).standard_normal((2, 32_000)).astype(np.float32)
    stream.process(room_v)
    before = stream.gain.copy()
    stream.process(10.0 * room_v)
    np.testing.assert_allclose(20.0 * np.log10(stream.gain / before), -20.0, atol=2.0)


def test_calibrated_leaves_the_wanted_gain_in_that_room() -> None:
    room_v = 100e-6 * np.random.default_rng(0).standard_normal(64_000)
    agc = calibrated(AGC, room_v, RATE_HZ, gain=200.0, process=FRONTEND.process)
    again = GainTrace(agc, rate_hz=RATE_HZ, process=FRONTEND.process).gain(room_v)
    assert np.median(again[32_000:]) == pytest.approx(200.0, rel=0.03)
    assert agc.target_v != AGC.target_v


def test_a_room_at_a_clamp_cannot_calibrate() -> None:
    with pytest.raises(InputError, match=r"its gain ends 0\.\d dB below the largest, at a clamp; take another largest"):
        calibrated(AGC, np.zeros(64_000), RATE_HZ, gain=200.0, process=FRONTEND.process)


def test_another_amplifier_is_refused() -> None:
    other = dataclasses.replace(AGC, amplifier=dataclasses.replace(AGC.amplifier, clip_v=0.1))
    with pytest.raises(InputError, match=r"gain control: its amplifier's clip_v is 0\.1, the front end's 0\.4"):
        controlled(agc=other)
