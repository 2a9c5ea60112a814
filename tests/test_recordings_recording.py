"""Reading of single files: formats, resampling, levels, and every kind of bad file."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lightsleeper.errors import InputError
from lightsleeper.recordings import Recording, read_recording


def tone(frequency_hz: float, rate_hz: int, duration_s: float = 1.0, amplitude: float = 0.5) -> NDArray[np.float64]:
    return amplitude * np.sin(2 * np.pi * frequency_hz * np.arange(round(duration_s * rate_hz)) / rate_hz)


def read(path: Path, **keywords: float | None) -> Recording:
    return read_recording(path, label="tone", source="s", fold=None, file=path.name, **keywords)  # type: ignore[arg-type]


def clip(samples: NDArray[np.float64], rate_hz: float = 16_000) -> Recording:
    return Recording(samples.astype(np.float32), rate_hz, "x", "s", None, "x.wav")


def test_same_rate_wav_is_read_exactly(tmp_path: Path) -> None:
    samples = tone(440, 16_000).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", samples, 16_000, subtype="FLOAT")
    recording = read(tmp_path / "a.wav")
    assert recording.rate_hz == 16_000
    assert recording.samples.dtype == np.float32
    np.testing.assert_array_equal(recording.samples, samples)


@pytest.mark.parametrize(
    ("name", "rate_hz", "subtype", "tolerance"),
    [
        ("a.wav", 44_100, "PCM_24", 1e-3),
        ("a.wav", 8_000, "PCM_16", 1e-3),
        ("a.flac", 44_100, "PCM_24", 1e-3),
        ("a.wav", 48_000, "DOUBLE", 1e-3),
        ("a.ogg", 44_100, "VORBIS", 0.03),
        ("a.ogg", 16_000, "VORBIS", 0.03),
    ],
)
def test_formats_and_rates_give_the_same_tone(
    tmp_path: Path, name: str, rate_hz: int, subtype: str, tolerance: float
) -> None:
    soundfile.write(tmp_path / name, tone(440, rate_hz), rate_hz, subtype=subtype)
    recording = read(tmp_path / name)
    expected = tone(440, 16_000)
    assert abs(recording.samples.size - expected.size) <= 1
    middle = slice(2_000, 14_000)
    assert np.abs(recording.samples[middle] - expected[middle]).max() < tolerance


def test_stereo_is_mixed_down_to_the_mean(tmp_path: Path) -> None:
    left, right = tone(440, 16_000, amplitude=0.6), tone(440, 16_000, amplitude=0.2)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], axis=1), 16_000, subtype="FLOAT")
    np.testing.assert_allclose(read(tmp_path / "a.wav").samples, (left + right) / 2, atol=1e-6)


def test_interval_is_cut_out(tmp_path: Path) -> None:
    ramp = np.linspace(-1, 1, 16_000, dtype=np.float32)
    soundfile.write(tmp_path / "a.wav", ramp, 16_000, subtype="FLOAT")
    np.testing.assert_array_equal(read(tmp_path / "a.wav", start_s=0.25, end_s=0.5).samples, ramp[4_000:8_000])
    np.testing.assert_array_equal(read(tmp_path / "a.wav", start_s=0.75).samples, ramp[12_000:])
    np.testing.assert_array_equal(read(tmp_path / "a.wav", end_s=0.5).samples, ramp[:8_000])


@pytest.mark.parametrize(
    ("start_s", "end_s", "words"),
    [
        (0.5, 0.5, "empty"),
        (0.6, 0.5, "empty"),
        (-0.1, 0.5, "negative"),
        (0.0, 3.0, "lasts"),
        (float("nan"), 1, "empty"),
    ],
)
def test_interval_outside_the_file_is_refused(tmp_path: Path, start_s: float, end_s: float, words: str) -> None:
    soundfile.write(tmp_path / "a.wav", tone(440, 16_000), 16_000)
    with pytest.raises(InputError, match=f"a.wav: interval .*{words}"):
        read(tmp_path / "a.wav", start_s=start_s, end_s=end_s)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg"])
@pytest.mark.parametrize("share", [0.3, 0.9, 0.98])
def test_truncated_files_are_refused(tmp_path: Path, suffix: str, share: float) -> None:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 32_000)
    soundfile.write(tmp_path / f"a.{suffix}", noise, 16_000)
    assert read(tmp_path / f"a.{suffix}").duration_s == pytest.approx(2.0, abs=0.01)
    content = (tmp_path / f"a.{suffix}").read_bytes()
    (tmp_path / f"cut.{suffix}").write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match=rf"^cut\.{suffix}: ") as caught:
        read(tmp_path / f"cut.{suffix}")
    assert "\n" not in str(caught.value)


def write_bad(path: Path, kind: str) -> None:
    """Write a file that is bad in the named way."""
    samples = tone(440, 16_000)
    rate_hz = 16_000
    if kind == "text":
        path.write_text("this is no sound at all, but words " * 20)
        return
    if kind == "empty file":
        path.write_bytes(b"")
        return
    if kind == "no samples":
        samples = samples[:0]
    elif kind == "nan":
        samples[77] = np.nan
    elif kind == "infinite":
        samples[77] = np.inf
    elif kind == "silence":
        samples[:] = 0
    elif kind == "slow":
        rate_hz = 3
    soundfile.write(path, samples, rate_hz, subtype="FLOAT")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("text", "not a readable"),
        ("empty file", "empty"),
        ("no samples", "zero length"),
        ("nan", "NaN"),
        ("infinite", "infinite"),
        ("silence", "silence"),
        ("slow", "3 Hz is too low.*4000 Hz"),
    ],
)
def test_bad_files_are_refused_by_name(tmp_path: Path, kind: str, words: str) -> None:
    write_bad(tmp_path / "bad.wav", kind)
    with pytest.raises(InputError, match=rf"^bad\.wav: .*{words}") as caught:
        read(tmp_path / "bad.wav")
    assert "\n" not in str(caught.value)


def test_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^gone\.wav: no such file"):
        read(tmp_path / "gone.wav")


def test_two_channels_of_samples_are_no_recording() -> None:
    with pytest.raises(InputError, match="one channel"):
        clip(np.ones((10, 2)))


@given(first=st.integers(0, 60), length=st.integers(1, 60), after=st.integers(0, 60))
@settings(max_examples=60, deadline=None)
def test_active_span_finds_the_loud_frames(first: int, length: int, after: int) -> None:
    frame = 160
    samples = np.full((first + length + after) * frame, 1e-3)
    samples[first * frame : (first + length) * frame] = 0.5
    assert clip(samples).active_span_s() == pytest.approx((first * 0.01, (first + length) * 0.01))
    assert clip(samples).active_rms() == pytest.approx(0.5, rel=1e-5)


def test_active_range_is_20_db() -> None:
    loud, within, outside = np.full(1600, 1.0), np.full(1600, 0.11), np.full(1600, 0.09)
    recording = clip(np.concatenate([outside, within, loud, within, outside]))
    assert recording.active_span_s() == pytest.approx((0.1, 0.4))
    assert recording.active_rms() == pytest.approx(np.sqrt((1 + 2 * 0.11**2) / 3), rel=1e-5)
    assert recording.active_span_s(range_db=30.0) == pytest.approx((0.0, 0.5))


@given(count=st.integers(1, 500), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_active_span_lies_in_the_clip(count: int, seed: int) -> None:
    recording = clip(np.random.default_rng(seed).standard_normal(count))
    start_s, end_s = recording.active_span_s()
    assert 0 <= start_s < end_s <= recording.duration_s
    assert 0 < recording.active_rms() <= np.abs(recording.samples).max() * 1.0001
