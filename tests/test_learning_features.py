"""Log-mel energies: known levels, the mel scale, causality and what is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightsleeper.errors import InputError
from lightsleeper.learning.features import LogMel

RATE_HZ = 16_000.0


def tone(frequency_hz: float, *, rms_pa: float = 0.1, seconds: float = 0.5) -> np.ndarray:
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return (rms_pa * np.sqrt(2.0) * np.sin(2.0 * np.pi * frequency_hz * time_s)).astype(np.float32)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return (1e-3 * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def test_shape_is_frames_by_bands_for_any_batch():
    features = LogMel()
    out = features(noise(2, 3, 32_000))
    assert out.shape == (2, 3, features.frames(32_000), 40) == (2, 3, 124, 40)
    assert out.dtype == np.float32


@pytest.mark.parametrize("frequency_hz", [250.0, 1000.0, 4000.0, 7000.0])
def test_a_tone_shows_its_power_in_the_bands_next_to_it(frequency_hz):
    features = LogMel()
    power_pa2 = np.exp(features(tone(frequency_hz)))
    edges_mel = np.linspace(*(2595.0 * np.log10(1.0 + np.array([60.0, 7800.0]) / 700.0)), 42)
    mel = 2595.0 * np.log10(1.0 + frequency_hz / 700.0)
    nearest = int(np.argmin(np.abs(edges_mel[1:-1] - mel)))
    assert np.all(power_pa2.argmax(axis=-1) == nearest)
    # Neighbouring triangles add to one, so the bands' sum is the tone's power.
    np.testing.assert_allclose(power_pa2.sum(axis=-1), 0.01, rtol=0.02)


def test_white_noise_of_known_level_has_its_power_within_the_covered_band():
    features = LogMel()
    rms_pa = 0.02
    samples = rms_pa * np.random.default_rng(3).standard_normal(160_000)
    total_pa2 = np.exp(features(samples)).sum(axis=-1).mean()
    share = features.filters().sum() / (0.5 * features.frame_samples)
    assert total_pa2 == pytest.approx(rms_pa**2 * share, rel=0.02)


def test_silence_is_the_floor():
    features = LogMel()
    np.testing.assert_allclose(features(np.zeros(1000, np.float32)), np.log(features.floor_pa2), rtol=1e-6)


def test_filters_are_triangles_that_add_to_one_between_the_outer_centres():
    weights = LogMel().filters()
    assert weights.shape == (257, 40)
    assert weights.min() == 0.0
    assert weights.max() <= 1.0
    inside = slice(int(weights[:, 0].argmax()) + 1, int(weights[:, -1].argmax()))
    np.testing.assert_allclose(weights[inside].sum(axis=1), 1.0, atol=1e-5)
    assert np.all(weights[[0, 1, 256]] == 0.0)


@settings(max_examples=25, deadline=None)
@given(frame=st.integers(0, 59), seed=st.integers(0, 5))
def test_no_frame_sees_the_future(frame, seed):
    features = LogMel()
    samples = noise(16_000, seed=seed)
    end = frame * features.hop_samples + features.frame_samples
    changed = samples.copy()
    changed[end:] = 1.0
    np.testing.assert_array_equal(features(changed)[: frame + 1], features(samples)[: frame + 1])
    assert np.any(features(changed)[frame + 1] != features(samples)[frame + 1])


def test_frames_computed_one_by_one_equal_the_whole():
    features = LogMel()
    samples = noise(8000)
    starts = range(0, features.frames(8000) * features.hop_samples, features.hop_samples)
    one_by_one = np.concatenate([features(samples[i : i + features.frame_samples]) for i in starts])
    np.testing.assert_allclose(features(samples), one_by_one, rtol=1e-5)


@settings(max_examples=20, deadline=None)
@given(gain_db=st.floats(-20.0, 20.0))
def test_gain_adds_to_the_log_above_the_floor(gain_db):
    features = LogMel(floor_pa2=1e-15)
    samples = noise(8000)
    difference = features(samples * np.float32(10 ** (gain_db / 20))) - features(samples)
    np.testing.assert_allclose(difference, gain_db * np.log(10) / 10, atol=1e-3)


@settings(max_examples=30, deadline=None)
@given(samples=st.integers(512, 40_000))
def test_frame_count_is_all_whole_frames(samples):
    features = LogMel()
    count = features.frames(samples)
    assert (count - 1) * features.hop_samples + features.frame_samples <= samples
    assert count * features.hop_samples + features.frame_samples > samples


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"bands": 0}, "bands is 0"),
        ({"floor_pa2": float("nan")}, "floor_pa2"),
        ({"high_hz": 9000.0}, "do not fit"),
        ({"low_hz": 8000.0}, "do not fit"),
        ({"bands": 200}, "too short for 200 bands"),
        ({"hop_s": 1e-6}, "hop_s is 1e-06"),
    ],
)
def test_impossible_settings_are_refused(options, match):
    with pytest.raises(InputError, match=match):
        LogMel(**options)


def test_a_signal_shorter_than_a_frame_is_refused():
    with pytest.raises(InputError, match="511 samples do not fill a frame of 512"):
        LogMel()(np.zeros(511, np.float32))
