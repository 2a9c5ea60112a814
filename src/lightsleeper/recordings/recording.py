"""One labelled sound clip, and how it is read from an audio file."""

import os
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from lightsleeper.errors import InputError

__all__ = ["MINIMUM_RATE_HZ", "Recording", "read_recording"]

MINIMUM_RATE_HZ = 4000.0
"""Lowest sample rate at which a sound file is accepted: 2 kHz of bandwidth."""

ACTIVE_RANGE_DB = 20.0
"""Frames within this range of the loudest frame count as the sound itself (the standard scene's SNR measure)."""

FRAME_S = 0.01
INTERVAL_TOLERANCE_S = 0.05
UNKNOWN_LENGTH = 2**40


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """A labelled clip.

    Attributes:
        samples: shape (T,), float32, fraction of full scale; finite, not empty and not all zero (else `InputError`).
        rate_hz: sample rate.
        label: class of the sound.
        source: what the clip was cut from; recordings of one source never lie on both sides of a split.
        fold: fold of a cross-validation that came with the data, or None.
        file: path relative to its folder, or `synthetic/<label>/<n>`.
    """

    samples: NDArray[np.float32]
    rate_hz: float
    label: str
    source: str
    fold: int | None
    file: str

    def __post_init__(self) -> None:
        if self.samples.ndim != 1:
            raise InputError(f"{self.file}: samples must be one channel of shape (T,), not {self.samples.shape}")
        if self.samples.size == 0:
            raise InputError(f"{self.file}: holds no samples (zero length); remove it or record it again")
        if not np.isfinite(self.samples).all():
            raise InputError(f"{self.file}: holds NaN or infinite samples; export it again")
        if not self.samples.any():
            raise InputError(f"{self.file}: holds only silence (all samples are zero); remove it or record it again")

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return float(self.samples.size / self.rate_hz)

    def active_frames_s(self, range_db: float = ACTIVE_RANGE_DB, frame_s: float = FRAME_S) -> NDArray[np.float64]:
        """Start and end of every frame whose rms lies within `range_db` of the loudest frame, shape (frames, 2)."""
        power, frame = _frame_power(self.samples, self.rate_hz, frame_s)
        active = np.flatnonzero(power >= power.max() * 10 ** (-range_db / 10))
        samples = np.minimum(np.stack([active, active + 1], axis=1) * frame, self.samples.size)
        return np.asarray(samples / self.rate_hz)

    def active_span_s(self, range_db: float = ACTIVE_RANGE_DB, frame_s: float = FRAME_S) -> tuple[float, float]:
        """Start of the first and end of the last of those frames."""
        frames_s = self.active_frames_s(range_db, frame_s)
        return float(frames_s[0, 0]), float(frames_s[-1, 1])

    def active_rms(self) -> float:
        """Rms over the 10 ms frames within 20 dB of the loudest one, as a fraction of full scale."""
        power, _ = _frame_power(self.samples, self.rate_hz, FRAME_S)
        return float(np.sqrt(power[power >= power.max() * 10 ** (-ACTIVE_RANGE_DB / 10)].mean()))


def _frame_power(samples: NDArray[np.float32], rate_hz: float, frame_s: float) -> tuple[NDArray[np.float64], int]:
    """Mean square of each frame, shape (ceil(T / frame),), and the frame length in samples."""
    frame = max(1, round(frame_s * rate_hz))
    starts = np.arange(0, samples.size, frame)
    sums = np.add.reduceat(np.square(samples, dtype=np.float64), starts)
    # A short last frame is measured over a full frame's length, so that one loud sample does not count as a loud frame.
    lengths = min(frame, samples.size)
    return sums / lengths, frame


def read_recording(
    path: str | os.PathLike[str],
    *,
    rate_hz: float = 16_000,
    label: str,
    source: str,
    fold: int | None,
    file: str,
    start_s: float | None = None,
    end_s: float | None = None,
) -> Recording:
    """Read WAV, FLAC or OGG, mix it down to one channel and resample it (soxr, quality HQ) to `rate_hz`.

    `start_s` and `end_s` cut an interval out of the file. Raises `InputError` naming `file` where it is missing, no
    audio, empty, truncated, silent, holds NaN or infinite samples, has a sample rate under `MINIMUM_RATE_HZ`, or where
    the interval does not lie in it.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{file}: no such file under {path.parent}; correct the name or add the file")
    _refuse_truncated(path, file)
    try:
        with soundfile.SoundFile(path) as sound:
            samples = _read_interval(sound, file, start_s, end_s)
            file_rate_hz = int(sound.samplerate)
    except soundfile.LibsndfileError as error:
        raise InputError(f"{file}: not a readable WAV, FLAC or OGG file ({error.error_string.rstrip('.')})") from error
    mono = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1, dtype=np.float32)
    # Checked before resampling, which would smear one NaN over its whole neighbourhood.
    clip = Recording(np.ascontiguousarray(mono), float(file_rate_hz), label, source, fold, file)
    if file_rate_hz == rate_hz:
        return clip
    resampled = soxr.resample(clip.samples, file_rate_hz, rate_hz, quality="HQ").astype(np.float32, copy=False)
    return Recording(resampled, float(rate_hz), label, source, fold, file)


def _read_interval(
    sound: soundfile.SoundFile, file: str, start_s: float | None, end_s: float | None
) -> NDArray[np.float32]:
    """Samples of the interval, shape (T, channels)."""
    if sound.samplerate < MINIMUM_RATE_HZ:
        raise InputError(
            f"{file}: sample rate {sound.samplerate} Hz is too low for sound; "
            f"at least {MINIMUM_RATE_HZ:.0f} Hz is needed (twice the highest frequency of interest)"
        )
    if sound.frames >= UNKNOWN_LENGTH:
        raise InputError(f"{file}: does not state its length (written to a pipe?); encode it again")
    duration_s = sound.frames / sound.samplerate
    first_s, last_s = start_s or 0.0, duration_s if end_s is None else end_s
    if start_s is not None or end_s is not None:
        if not 0 <= first_s < last_s:
            raise InputError(f"{file}: interval {first_s:g}-{last_s:g} s is empty or negative; correct start_s, end_s")
        if last_s > duration_s + INTERVAL_TOLERANCE_S:
            raise InputError(f"{file}: interval ends at {last_s:g} s but the file lasts {duration_s:.3f} s")
    first, last = round(first_s * sound.samplerate), min(round(last_s * sound.samplerate), sound.frames)
    if first > 0:
        sound.seek(min(first, sound.frames))
    samples: NDArray[np.float32] = sound.read(max(last - first, 0), dtype="float32", always_2d=True)
    if samples.shape[0] < last - first:
        raise InputError(
            f"{file}: truncated, holds {samples.shape[0]} of {last - first} samples; copy or record it again"
        )
    return samples


def _refuse_truncated(path: Path, file: str) -> None:
    """Raise where a WAV or OGG file is cut short: libsndfile reads those to their end without complaint."""
    with path.open("rb") as stream:
        head = stream.read(12)
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, size - 2 * 65_307))  # the longest Ogg page is 65,307 bytes (RFC 3533)
        tail = stream.read() if head[:4] == b"OggS" else b""
    if size == 0:
        raise InputError(f"{file}: the file is empty (0 bytes); copy or record it again")
    if head[:4] == b"RIFF" and len(head) >= 8:
        (stated,) = struct.unpack("<I", head[4:8])
        # 0 and 0xFFFFFFFF are what recorders write while the length is not known yet.
        if stated not in (0, 0xFFFFFFFF) and stated + 8 > size + 1:
            raise InputError(f"{file}: truncated, holds {size} of {stated + 8} bytes; copy or record it again")
    if tail and not _ends_with_last_page(tail):
        raise InputError(f"{file}: truncated, its Ogg stream has no end; copy or record it again")


def _ends_with_last_page(tail: bytes) -> bool:
    """Whether the last Ogg page is whole and flagged as the end of its stream (RFC 3533, section 6)."""
    start = tail.rfind(b"OggS")
    page = tail[start:]
    if start < 0 or len(page) < 27 or len(page) < 27 + page[26]:
        return False
    end_of_stream = bool(page[5] & 0x04)
    return end_of_stream and len(page) >= 27 + page[26] + sum(page[27 : 27 + page[26]])
