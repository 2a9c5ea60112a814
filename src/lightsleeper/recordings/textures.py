"""Stationary sounds made from spectra: coloured noise, appliances, running water, rain.

All are random-phase (Gaussian) noise drawn in the frequency domain, with what makes each of them itself: spectral lines
of a motor, flicker of a stream, drops through resonances (PhISEM: P. R. Cook, "Physically informed sonic modeling",
Computer Music Journal 21(3), 1997). Each returns shape (count,), float32, of unit rms.
"""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import fft

__all__ = ["TEXTURES", "appliance", "coloured_noise", "rain", "running_water", "slow_modulation", "to_unit_rms"]

Samples: TypeAlias = NDArray[np.float32]

LOWEST_HZ = 30.0
HIGHEST_HZ = 7000.0
MAINS_HZ = (50.0, 60.0)


def to_unit_rms(samples: Samples) -> Samples:
    """Scale to an rms of one, in place; `samples` must not be all zero."""
    samples *= np.float32(1.0 / np.sqrt(np.dot(samples, samples) / samples.size))
    return samples


def coloured_noise(count: int, rate_hz: float, rng: np.random.Generator) -> Samples:
    """Noise between white and brown: power falls as f^slope with a random slope of 0 to -2, 30 Hz to 7 kHz."""
    frequency_hz, size = _frequencies(count, rate_hz)
    magnitude = _power_law(frequency_hz, rng.uniform(-2.0, 0.0))
    return _noise(magnitude, size, count, rng)


def appliance(count: int, rate_hz: float, rng: np.random.Generator) -> Samples:
    """Harmonics of the mains (50 or 60 Hz) or of a motor (80-400 Hz) over noise that swells slowly."""
    frequency_hz, size = _frequencies(count, rate_hz)
    magnitude = _power_law(frequency_hz, rng.uniform(-2.0, -0.5))
    if rng.random() < 0.5:
        fundamental_hz = float(rng.choice(MAINS_HZ))
    else:
        fundamental_hz = float(np.exp(rng.uniform(np.log(80.0), np.log(400.0))))
    spectrum = _random_spectrum(magnitude, rng)
    spectrum /= np.sqrt(np.vdot(spectrum, spectrum).real)
    _add_harmonics(spectrum, frequency_hz, fundamental_hz, rng)
    sound = fft.irfft(spectrum, size)[:count]
    sound *= slow_modulation(count, rate_hz, frequency_hz=0.2, depth=rng.uniform(0.05, 0.3), rng=rng)
    return to_unit_rms(sound)


def running_water(count: int, rate_hz: float, rng: np.random.Generator) -> Samples:
    """Band of noise at 0.4-3 kHz with a weaker hiss, both flickering at 5-20 Hz as a stream does."""
    frequency_hz, size = _frequencies(count, rate_hz)
    centre_hz = np.exp(rng.uniform(np.log(400.0), np.log(3000.0)))
    octaves = np.log2(np.maximum(frequency_hz, 1.0) / np.float32(centre_hz))
    band = np.exp(-0.5 * np.square(octaves / np.float32(rng.uniform(0.6, 1.5))))
    magnitude = band + np.float32(rng.uniform(0.1, 0.4)) * (frequency_hz > LOWEST_HZ)
    sound = _noise(magnitude, size, count, rng)
    flicker_hz, depth = rng.uniform(5.0, 20.0), rng.uniform(0.1, 0.4)
    sound *= slow_modulation(count, rate_hz, frequency_hz=flicker_hz, depth=depth, rng=rng)
    return to_unit_rms(sound)


def rain(count: int, rate_hz: float, rng: np.random.Generator) -> Samples:
    """Poisson drops of random strength through the resonances of what they fall on, over the hiss of distant drops."""
    frequency_hz, size = _frequencies(count, rate_hz)
    drops = np.zeros(size, dtype=np.float32)
    number = rng.poisson(np.exp(rng.uniform(np.log(15.0), np.log(300.0))) * count / rate_hz)
    strengths = rng.lognormal(0.0, 0.8, number) * rng.choice([-1.0, 1.0], number)
    np.add.at(drops, rng.integers(0, count, number), strengths.astype(np.float32))
    response = np.zeros(frequency_hz.size, dtype=np.complex64)
    for _ in range(3):
        resonance_hz = np.exp(rng.uniform(np.log(500.0), np.log(min(HIGHEST_HZ, 0.45 * rate_hz))))
        quality = rng.uniform(2.0, 8.0)
        ratio = frequency_hz / np.float32(resonance_hz)
        response += np.float32(rng.uniform(0.3, 1.0)) * ratio / (1 - ratio * ratio + 1j * ratio / np.float32(quality))
    spectrum = fft.rfft(drops) * response
    if number:
        spectrum /= np.sqrt(np.vdot(spectrum, spectrum).real)
    hiss = _random_spectrum(_power_law(frequency_hz, rng.uniform(-0.8, 0.0)), rng)
    hiss *= np.float32(10 ** (rng.uniform(-12.0, 3.0) / 20) / np.sqrt(np.vdot(hiss, hiss).real))
    return to_unit_rms(fft.irfft(spectrum + hiss, size)[:count])


TEXTURES: tuple[Callable[[int, float, np.random.Generator], Samples], ...] = (
    coloured_noise,
    appliance,
    running_water,
    rain,
)


def slow_modulation(
    count: int, rate_hz: float, *, frequency_hz: float, depth: float, rng: np.random.Generator
) -> Samples:
    """Positive random gain around one, shape (count,): `depth` is its standard deviation, `frequency_hz` its pace."""
    step = max(1, round(rate_hz / (4 * frequency_hz)))
    knots = np.maximum(1 + depth * rng.standard_normal(count // step + 2), 0.05).astype(np.float32)
    slopes = np.diff(knots) / np.float32(step)
    # Straight lines between knots, laid out as (knots, step): several times faster than interpolating point by point.
    gain = np.add(knots[:-1, None], slopes[:, None] * np.arange(step, dtype=np.float32), dtype=np.float32)
    return gain.reshape(-1)[:count]


def _frequencies(count: int, rate_hz: float) -> tuple[Samples, int]:
    """Frequencies of a real transform that is long enough for `count` samples, in Hz, and its length."""
    size = int(fft.next_fast_len(count, real=True))
    return np.arange(size // 2 + 1, dtype=np.float32) * np.float32(rate_hz / size), size


def _power_law(frequency_hz: Samples, slope: float) -> Samples:
    """Magnitude of noise whose power falls as f^slope, between the lowest and the highest frequency."""
    magnitude = np.zeros_like(frequency_hz)
    first, last = np.searchsorted(frequency_hz, (LOWEST_HZ, HIGHEST_HZ))
    magnitude[first:last] = np.power(frequency_hz[first:last], np.float32(slope / 2))
    return magnitude


def _random_spectrum(magnitude: Samples, rng: np.random.Generator) -> NDArray[np.complex64]:
    """Spectrum of Gaussian noise with the given magnitude at each frequency."""
    spectrum = rng.standard_normal(2 * magnitude.size, dtype=np.float32).view(np.complex64)
    spectrum *= magnitude
    return spectrum


def _noise(magnitude: Samples, size: int, count: int, rng: np.random.Generator) -> Samples:
    return to_unit_rms(fft.irfft(_random_spectrum(magnitude, rng), size)[:count])


def _add_harmonics(
    spectrum: NDArray[np.complex64], frequency_hz: Samples, fundamental_hz: float, rng: np.random.Generator
) -> None:
    """Add up to 40 lines, each a few tenths of a Hz wide as a motor wanders, to a spectrum of unit norm."""
    bin_hz = float(frequency_hz[1])
    highest_hz = min(HIGHEST_HZ, float(frequency_hz[-1]) * 0.9)
    decay_db, level_db = rng.uniform(0.5, 3.0), rng.uniform(-6.0, 6.0)
    lines = [k for k in range(1, 41) if k * fundamental_hz < highest_hz]
    strengths = 10 ** (-decay_db * np.array(lines) / 20) * rng.lognormal(0.0, 0.7, len(lines))
    strengths *= 10 ** (level_db / 20) / np.sqrt(np.sum(np.square(strengths)))
    for harmonic, strength in zip(lines, strengths, strict=True):
        half_width = max(1, round(0.002 * harmonic * fundamental_hz / bin_hz))
        centre = round(harmonic * fundamental_hz / bin_hz)
        line = rng.standard_normal((2 * half_width + 1, 2)).astype(np.float32).view(np.complex64)[:, 0]
        line *= np.hanning(2 * half_width + 3)[1:-1].astype(np.float32)
        line *= np.float32(strength / np.sqrt(np.vdot(line, line).real))
        part = spectrum[max(0, centre - half_width) : centre + half_width + 1]
        part += line[-part.size :]
