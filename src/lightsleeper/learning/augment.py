"""Variants of a recording that a device may hear: other speed, other tone colour, another room."""

import dataclasses

import numpy as np
import soxr
from numpy.typing import NDArray
from scipy.signal import fftconvolve, lfilter

from lightsleeper.recordings import Recording

__all__ = ["augment"]

SPEED_SPREAD = 0.25
"""Half width of the uniform spread of log speed."""
TILT = 0.6
"""Largest coefficient of the one-zero tone filter 1 - a z^-1."""
REVERBERATION_S = (0.1, 0.6)
WET_SHARE = (0.1, 0.5)
DRY_PROBABILITY = 0.5


def augment(recording: Recording, rng: np.random.Generator) -> Recording:
    """A random variant: speed x0.78-1.28, tone tilted by up to +/-12 dB, half of the time in a room of 0.1-0.6 s."""
    speed = float(np.exp(rng.uniform(-SPEED_SPREAD, SPEED_SPREAD)))
    samples = soxr.resample(recording.samples, recording.rate_hz, recording.rate_hz * speed)
    samples = lfilter([1.0, -rng.uniform(-TILT, TILT)], [1.0], samples)
    if rng.random() > DRY_PROBABILITY:
        samples = _in_room(samples, recording.rate_hz, rng)
    return dataclasses.replace(recording, samples=np.ascontiguousarray(samples, dtype=np.float32))


def _in_room(samples: NDArray[np.floating], rate_hz: float, rng: np.random.Generator) -> NDArray[np.floating]:
    """Direct sound plus an exponentially decaying noise tail (60 dB over the reverberation time)."""
    length = int(rng.uniform(*REVERBERATION_S) * rate_hz)
    tail = rng.standard_normal(length) * np.exp(-6.9 * np.arange(length) / length)
    tail *= rng.uniform(*WET_SHARE) / np.sqrt(np.sum(tail**2))
    tail[0] = 1.0
    return np.asarray(fftconvolve(samples, tail)[: samples.size])
