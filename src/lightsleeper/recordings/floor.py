"""The continuous background floor of a scene: noise, appliances, water, rain, and recordings of such sounds."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lightsleeper.errors import InputError
from lightsleeper.recordings.recording import Recording
from lightsleeper.recordings.textures import TEXTURES, to_unit_rms

__all__ = ["FLOOR_LABELS", "make_floor", "synthetic_floor"]

FLOOR_LABELS = frozenset(
    {
        "air_conditioner",
        "airplane",
        "doing_the_dishes",
        "engine",
        "exercise_bike",
        "fan",
        "helicopter",
        "kitchen",
        "rain",
        "running_tap",
        "sea_waves",
        "train",
        "vacuum_cleaner",
        "washing_machine",
        "water",
        "wind",
    }
)
"""Labels of steady sounds that may serve as background."""

SEGMENT_S = (30.0, 90.0)
CROSS_FADE_S = 2.0
LOOP_FADE_S = 0.5
RECORDED_SHARE = 0.5


def synthetic_floor(duration_s: float, *, rate_hz: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Background noise, shape (T,), unit rms: segments of 30-90 s, cross-faded over 2 s, each a random texture."""
    return make_floor(duration_s, floor_recordings=(), rate_hz=rate_hz, rng=rng)


def make_floor(
    duration_s: float, *, floor_recordings: Sequence[Recording], rate_hz: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Background of synthetic textures and, where there are any, half of the time of looped recordings.

    Each segment of 30-90 s has unit rms, so that the scene alone sets the level; neighbours are cross-faded over 2 s
    with equal power. Returns shape (T,), float32. Raises `InputError` where a recording has another rate.
    """
    for recording in floor_recordings:
        if recording.rate_hz != rate_hz:
            raise InputError(
                f"{recording.file}: has {recording.rate_hz:g} Hz but the floor is made at {rate_hz:g} Hz; "
                "read it at that rate"
            )
    total = round(duration_s * rate_hz)
    floor = np.zeros(total, dtype=np.float32)
    fade = round(CROSS_FADE_S * rate_hz)
    rise = np.sin(0.5 * np.pi * (np.arange(fade, dtype=np.float32) + 0.5) / fade).astype(np.float32)
    start = 0
    while start < total:
        count = min(round(rng.uniform(*SEGMENT_S) * rate_hz), total - start)
        count = min(count + fade, total - start)
        segment = _segment(count, floor_recordings, rate_hz, rng)
        if start > 0:
            overlap = min(fade, count)
            segment[:overlap] *= rise[:overlap]
        if start + count < total:
            segment[-fade:] *= rise[::-1]
        floor[start : start + count] += segment
        start += count - fade if start + count < total else count
    return floor


def _segment(
    count: int, floor_recordings: Sequence[Recording], rate_hz: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """One segment of unit rms, shape (count,)."""
    if floor_recordings and rng.random() < RECORDED_SHARE:
        recording = floor_recordings[int(rng.integers(len(floor_recordings)))]
        return _looped(recording, count, rng)
    texture = TEXTURES[int(rng.integers(len(TEXTURES)))]
    return texture(count, rate_hz, rng)


def _looped(recording: Recording, count: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """The active part of a recording from a random place on, repeated without a seam."""
    start_s, end_s = recording.active_span_s()
    clip = recording.samples[round(start_s * recording.rate_hz) : round(end_s * recording.rate_hz)]
    fade = min(round(LOOP_FADE_S * recording.rate_hz), clip.size // 4)
    loop = clip[: clip.size - fade].copy()
    if fade:
        phase = 0.5 * np.pi * (np.arange(fade, dtype=np.float32) + 0.5) / fade
        loop[:fade] = np.sin(phase) * clip[:fade] + np.cos(phase) * clip[clip.size - fade :]
    # Begins on a sample that is not zero: a stretch of padding alone could not be brought to unit rms.
    offset = int(rng.choice(np.flatnonzero(loop)))
    repeats = -(-(offset + count) // loop.size)
    return to_unit_rms(np.tile(loop, repeats)[offset : offset + count])
