"""Building blocks of synthetic sounds: struck modes, vocal tracts, bursts of noise, rooms.

Sources: modes of struck objects, K. van den Doel and D. K. Pai, "The sounds of physical shapes", Presence 7(4), 1998;
digital resonators and the voice, D. H. Klatt, "Software for a cascade/parallel formant synthesizer", JASA 67(3), 1980;
rooms as decaying noise, J. A. Moorer, "About this reverberation business", Computer Music Journal 3(2), 1979.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import signal

__all__ = ["add_at", "burst", "formants", "glottal_pulses", "log_uniform", "reverberate", "struck_modes"]

Wave: TypeAlias = NDArray[np.float64]

DECAY_60_DB = 6.9
"""Time constants until an exponential has fallen by 60 dB."""


def log_uniform(low: float, high: float, rng: np.random.Generator, size: int | None = None) -> Wave:
    """Draws between `low` and `high`, uniform on a logarithmic scale."""
    return np.asarray(np.exp(rng.uniform(np.log(low), np.log(high), size)))


def add_at(sound: Wave, start: int, piece: Wave) -> None:
    """Add a piece to a sound in place from sample `start` on; what runs over the end is dropped."""
    part = sound[start : start + piece.size]
    part += piece[: part.size]


def struck_modes(frequencies_hz: Wave, decays_s: Wave, gains: Wave, rate_hz: float) -> Wave:
    """Impulse response of a struck object: sum of damped sines (van den Doel and Pai 1998), until -60 dB.

    Modes above 0.47 of the sample rate are left out, since they would alias.
    """
    heard = frequencies_hz < 0.47 * rate_hz
    frequencies_hz, decays_s, gains = frequencies_hz[heard], decays_s[heard], gains[heard]
    longest_s = float(decays_s.max(initial=0.0))
    time_s = np.arange(max(1, round(DECAY_60_DB * longest_s * rate_hz))) / rate_hz
    poles = -1.0 / decays_s + 2j * np.pi * frequencies_hz
    return np.asarray((gains[:, None] * np.exp(poles[:, None] * time_s).imag).sum(axis=0))


def burst(
    rise_s: float, decay_s: float, band_hz: tuple[float, float], rate_hz: float, rng: np.random.Generator
) -> Wave:
    """Noise of a band that rises linearly and decays exponentially; its peak is about one."""
    count = max(8, round((rise_s + 5 * decay_s) * rate_hz))
    time_s = np.arange(count) / rate_hz
    envelope = np.minimum(time_s / max(rise_s, 1 / rate_hz), 1.0) * np.exp(-np.maximum(time_s - rise_s, 0.0) / decay_s)
    high_hz = min(band_hz[1], 0.47 * rate_hz)
    sections = _band_pass(min(band_hz[0], 0.5 * high_hz), high_hz, rate_hz)
    noise = signal.sosfilt(sections, rng.standard_normal(count))
    return np.asarray(envelope * noise / (3 * noise.std() + 1e-12))


def glottal_pulses(pitch_hz: Wave, rate_hz: float, rng: np.random.Generator, *, breath: float) -> Wave:
    """Voice source: one pulse per period of `pitch_hz` (shape (T,), with 1 % jitter), smoothed, and breath noise.

    The smoothing is Klatt's glottal resonator (0 Hz, bandwidth 100 Hz), differentiated for the radiation of the lips.
    """
    phase = np.cumsum(pitch_hz * (1 + 0.01 * rng.standard_normal(pitch_hz.size)) / rate_hz)
    pulses = np.diff(np.floor(phase), prepend=0.0)
    smooth = _resonate(pulses, 0.0, 100.0, rate_hz)
    voice = np.diff(smooth, prepend=0.0)
    voice /= voice.std() + 1e-12
    return np.asarray(voice + breath * rng.standard_normal(voice.size))


def formants(
    source: Wave, frequencies_hz: Sequence[float] | Wave, bandwidths_hz: Sequence[float], rate_hz: float
) -> Wave:
    """Source through a cascade of resonators (Klatt 1980), brought to unit rms."""
    sound = source
    for frequency_hz, bandwidth_hz in zip(frequencies_hz, bandwidths_hz, strict=True):
        if frequency_hz < 0.47 * rate_hz:
            sound = _resonate(sound, frequency_hz, bandwidth_hz, rate_hz)
    return np.asarray(sound / (sound.std() + 1e-12))


def reverberate(sound: Wave, decay_60_s: float, wet: float, rate_hz: float, rng: np.random.Generator) -> Wave:
    """Sound in a room: itself plus its convolution with noise that decays by 60 dB in `decay_60_s` (Moorer 1979)."""
    time_s = np.arange(max(2, round(decay_60_s * rate_hz))) / rate_hz
    room = rng.standard_normal(time_s.size) * np.exp(-DECAY_60_DB * time_s / decay_60_s)
    room *= wet / np.sqrt(np.sum(np.square(room)))
    return np.asarray(sound + signal.oaconvolve(sound, room)[: sound.size])


@lru_cache(maxsize=64)  # hundreds of grains of one clip share a band, and design costs more than filtering
def _band_pass(low_hz: float, high_hz: float, rate_hz: float) -> Wave:
    return np.asarray(signal.butter(1, (low_hz, high_hz), "bandpass", fs=rate_hz, output="sos"))


def _resonate(sound: Wave, frequency_hz: float, bandwidth_hz: float, rate_hz: float) -> Wave:
    """Second-order resonator with unit gain at zero frequency (Klatt 1980)."""
    c = -np.exp(-2 * np.pi * bandwidth_hz / rate_hz)
    b = 2 * np.exp(-np.pi * bandwidth_hz / rate_hz) * np.cos(2 * np.pi * frequency_hz / rate_hz)
    return np.asarray(signal.lfilter([1 - b - c], [1, -b, -c], sound))
