"""Variants of a recording that a device may hear: other speed, other tone colour, another room, a piece of it."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import soxr
from numpy.typing import NDArray
from scipy.signal import fftconvolve, lfilter

from lightsleeper.recordings import Recording

__all__ = ["augment", "cut_piece", "piece_lengths_s"]

SPEED_SPREAD = 0.25
"""Half width of the uniform spread of log speed."""
TILT = 0.6
"""Largest coefficient of the one-zero tone filter 1 - a z^-1."""
REVERBERATION_S = (0.1, 0.6)
WET_SHARE = (0.1, 0.5)
DRY_PROBABILITY = 0.5
FROM_ONSET_PROBABILITY = 0.4
SHORTEST_PIECE_S = 0.03
PIECE_DECAY_NEPERS = 4.0
"""Most by which a piece dies away towards its end (35 dB)."""


def augment(recording: Recording, rng: np.random.Generator) -> Recording:
    """A random variant: speed x0.78-1.28, tone tilted by up to +/-12 dB, half of the time in a room of 0.1-0.6 s."""
    speed = float(np.exp(rng.uniform(-SPEED_SPREAD, SPEED_SPREAD)))
    samples = soxr.resample(recording.samples, recording.rate_hz, recording.rate_hz * speed)
    samples = lfilter([1.0, -rng.uniform(-TILT, TILT)], [1.0], samples)
    if rng.random() > DRY_PROBABILITY:
        samples = _in_room(samples, recording.rate_hz, rng)
    return dataclasses.replace(recording, samples=np.ascontiguousarray(samples, dtype=np.float32))


def piece_lengths_s(recordings: Sequence[Recording]) -> tuple[float, float]:
    """Shortest and longest piece of such sounds that is still one of them, in s.

    From half of the shortest active span (at least 30 ms) to the median one: where a class has sounds of a blink and of
    seconds, as breaking glass has, a piece of a long one stands for the short ones that are too few to learn from.
    Where all are alike long, as a rooster's crow, a piece is nearly the whole.
    """
    spans_s = [np.ptp(recording.active_span_s()) for recording in recordings]
    shortest_s = max(SHORTEST_PIECE_S, 0.5 * min(spans_s))
    return float(shortest_s), float(max(shortest_s, np.median(spans_s)))


def cut_piece(recording: Recording, lengths_s: tuple[float, float], rng: np.random.Generator) -> Recording:
    """A random piece of the active part, its length log-uniform; it begins with an active frame and may die away."""
    frames_s = recording.active_frames_s()
    length_s = np.exp(rng.uniform(*np.log(lengths_s)))
    starts_s = frames_s[frames_s[:, 0] <= max(frames_s[0, 0], frames_s[-1, 1] - length_s), 0]
    start_s = starts_s[0] if rng.random() < FROM_ONSET_PROBABILITY else rng.choice(starts_s)
    first, last = (round(time_s * recording.rate_hz) for time_s in (start_s, start_s + length_s))
    samples = recording.samples[first:last]
    decay = np.exp(-rng.uniform(0.0, PIECE_DECAY_NEPERS) * np.linspace(0.0, 1.0, samples.size))
    return dataclasses.replace(recording, samples=np.ascontiguousarray(samples * decay, dtype=np.float32))


def _in_room(samples: NDArray[np.floating], rate_hz: float, rng: np.random.Generator) -> NDArray[np.floating]:
    """Direct sound plus an exponentially decaying noise tail (60 dB over the reverberation time)."""
    length = int(rng.uniform(*REVERBERATION_S) * rate_hz)
    tail = rng.standard_normal(length) * np.exp(-6.9 * np.arange(length) / length)
    tail *= rng.uniform(*WET_SHARE) / np.sqrt(np.sum(tail**2))
    tail[0] = 1.0
    return np.asarray(fftconvolve(samples, tail)[: samples.size])
