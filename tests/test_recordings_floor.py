"""The background floor: level, spectrum, variety, loops without seams, determinism."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lightsleeper.errors import InputError
from lightsleeper.recordings import FLOOR_LABELS, Recording, make_floor, synthetic_floor
from lightsleeper.recordings.floor import _looped
from lightsleeper.recordings.textures import TEXTURES, slow_modulation

Texture = Callable[[int, float, np.random.Generator], NDArray[np.float32]]

RATE_HZ = 16_000.0


def hum(frequency_hz: float = 1000.0, duration_s: float = 5.0, amplitude: float = 0.01) -> Recording:
    samples = amplitude * np.sin(2 * np.pi * frequency_hz * np.arange(round(duration_s * RATE_HZ)) / RATE_HZ)
    return Recording(samples.astype(np.float32), RATE_HZ, "fan", "fan", None, "fan/1.wav")


@pytest.mark.parametrize("texture", TEXTURES)
@given(count=st.integers(2_000, 60_000), seed=st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_textures_have_unit_rms(texture: Texture, count: int, seed: int) -> None:
    sound = texture(count, RATE_HZ, np.random.default_rng(seed))
    assert sound.shape == (count,)
    assert sound.dtype == np.float32
    assert np.sqrt(np.mean(np.square(sound, dtype=np.float64))) == pytest.approx(1.0, rel=1e-3)


@pytest.mark.parametrize("texture", TEXTURES)
def test_textures_differ_from_draw_to_draw(texture: Texture) -> None:
    """Band powers vary by more than 3 dB between draws: a detector cannot learn one floor by heart."""
    sounds = [texture(64_000, RATE_HZ, np.random.default_rng(seed)) for seed in range(12)]
    power = np.square(np.abs([np.fft.rfft(sound) for sound in sounds]))
    bands = np.stack([part.sum(axis=1) for part in np.array_split(power, 8, axis=1)], axis=1)
    assert (10 * np.log10(bands)).std(axis=0).max() > 3


def test_floor_is_continuous_at_unit_level() -> None:
    floor = synthetic_floor(600.0, rate_hz=RATE_HZ, rng=np.random.default_rng(0))
    assert floor.shape == (9_600_000,)
    seconds = np.sqrt(np.square(floor).reshape(600, -1).mean(axis=1))
    assert seconds.min() > 0.3
    assert seconds.max() < 3
    assert np.sqrt(np.mean(np.square(seconds))) == pytest.approx(1.0, abs=0.05)


@given(duration_s=st.floats(0.5, 200.0), seed=st.integers(0, 100))
@settings(max_examples=20, deadline=None)
def test_floor_has_the_length_asked_for(duration_s: float, seed: int) -> None:
    floor = make_floor(duration_s, floor_recordings=[hum()], rate_hz=RATE_HZ, rng=np.random.default_rng(seed))
    assert floor.shape == (round(duration_s * RATE_HZ),)
    assert np.isfinite(floor).all()
    assert np.abs(floor).max() > 0.1


def test_floor_is_seeded() -> None:
    first, again, other = (
        make_floor(100.0, floor_recordings=[hum()], rate_hz=RATE_HZ, rng=np.random.default_rng(seed))
        for seed in (5, 5, 6)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_about_half_of_the_segments_are_recordings() -> None:
    """A hum of 1 kHz puts all of a segment's power into one bin; count the seconds where it does."""
    floor = make_floor(3000.0, floor_recordings=[hum()], rate_hz=RATE_HZ, rng=np.random.default_rng(1))
    seconds = floor.reshape(3000, -1)
    tone = np.exp(-2j * np.pi * 1000 * np.arange(seconds.shape[1]) / RATE_HZ).astype(np.complex64)
    share = 2 * np.abs(seconds @ tone / seconds.shape[1]) ** 2
    assert 0.3 < np.mean(share > 0.5) < 0.7


def test_loop_has_no_seam_and_no_silence() -> None:
    """Padding with silence as in ESC-50 is cut off, and the joint is as smooth as the noise itself."""
    rng = np.random.default_rng(2)
    smooth = np.convolve(rng.standard_normal(32_000), np.hanning(33), "same")
    padded = np.concatenate([smooth, np.zeros(48_000)]).astype(np.float32)
    looped = _looped(Recording(padded, RATE_HZ, "rain", "r", None, "r.wav"), 480_000, rng)
    assert np.sqrt(np.mean(np.square(looped))) == pytest.approx(1.0, rel=1e-3)
    assert np.square(looped).reshape(-1, 1_600).mean(axis=1).min() > 0.2
    step = np.abs(np.diff(smooth)).max() / smooth.std()
    assert np.abs(np.diff(looped)).max() < 1.3 * step


def test_recording_of_another_rate_is_refused() -> None:
    with pytest.raises(InputError, match=r"^fan/1\.wav: has 16000 Hz but the floor is made at 8000 Hz"):
        make_floor(10.0, floor_recordings=[hum()], rate_hz=8_000.0, rng=np.random.default_rng(0))


def test_modulation_has_the_depth_and_pace_asked_for() -> None:
    gain = slow_modulation(1_600_000, RATE_HZ, frequency_hz=5.0, depth=0.2, rng=np.random.default_rng(3))
    assert gain.mean() == pytest.approx(1.0, abs=0.02)
    assert 0.12 < gain.std() < 0.2
    assert np.abs(np.diff(gain)).max() < 0.01
    assert gain.min() > 0


def test_synthetic_floor_sounds_have_floor_labels() -> None:
    assert {"rain", "fan", "water", "wind", "kitchen", "running_tap"} <= FLOOR_LABELS
    assert "glass_breaking" not in FLOOR_LABELS
