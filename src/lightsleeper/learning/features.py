"""Log-mel energies of a pressure wave as a microcontroller computes them: frame by frame, nothing from the future."""

import math
from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.fft import rfft

from lightsleeper.errors import InputError

__all__ = ["LogMel"]


@dataclass(frozen=True)
class LogMel:
    """Log energies in triangular bands that are evenly spaced in mel, 2595 log10(1 + f / 700 Hz).

    Scale and filters are those of HTK (S. Young et al., The HTK Book, version 3.4, section 5.6; peaks of one, no area
    normalisation). Power is scaled by the window, so that a tone of 1 Pa rms gives about log(1) in its bands' sum.

    Attributes:
        rate_hz: sample rate.
        bands: number of bands.
        frame_s: length of the Hann window.
        hop_s: time from frame to frame.
        low_hz, high_hz: outer edges of the lowest and the highest band.
        floor_pa2: power added to every band before the logarithm; the default, 4 dB SPL, lies below the self-noise
            of a microphone in any band.
    """

    rate_hz: float = 16_000.0
    bands: int = 40
    frame_s: float = 0.032
    hop_s: float = 0.016
    low_hz: float = 60.0
    high_hz: float = 7800.0
    floor_pa2: float = 1e-9

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not math.isfinite(value) or value <= 0:
                raise InputError(f"log-mel: {field.name} is {value}; it must be a positive number")
        if not self.low_hz < self.high_hz <= self.rate_hz / 2:
            raise InputError(
                f"log-mel: bands from {self.low_hz:g} to {self.high_hz:g} Hz do not fit below half of "
                f"{self.rate_hz:g} Hz; give low_hz < high_hz <= rate_hz / 2"
            )
        if self.hop_samples < 1:
            raise InputError(f"log-mel: hop_s is {self.hop_s:g}; it must be at least one sample")
        if self.frame_samples < 2 or np.any(self.filters().sum(axis=0) == 0):
            raise InputError(
                f"log-mel: frames of {self.frame_s:g} s are too short for {self.bands} bands; "
                "lengthen frame_s or take fewer bands"
            )

    @property
    def frame_samples(self) -> int:
        """Samples in a frame."""
        return round(self.frame_s * self.rate_hz)

    @property
    def hop_samples(self) -> int:
        """Samples from frame to frame."""
        return round(self.hop_s * self.rate_hz)

    def frames(self, samples: int) -> int:
        """Whole frames in `samples` samples; zero where they do not fill one."""
        return max(0, 1 + (samples - self.frame_samples) // self.hop_samples)

    def filters(self) -> NDArray[np.float32]:
        """Weight of each bin of the spectrum in each band, (frame_samples // 2 + 1, bands), at most one."""
        return _filters(self.frame_samples, self.rate_hz, self.bands, self.low_hz, self.high_hz)

    def __call__(self, samples: NDArray[np.floating]) -> NDArray[np.float32]:
        """Pressure (..., T) in Pa -> natural log of power in Pa^2, (..., frames, bands).

        Frame k reads samples k * hop to k * hop + frame alone. Raises `InputError` where T does not fill a frame.
        """
        count = np.shape(samples)[-1] if np.ndim(samples) else 0
        if count < self.frame_samples:
            raise InputError(
                f"log-mel: {count} samples do not fill a frame of {self.frame_samples}; give a longer signal"
            )
        pressure_pa = np.asarray(samples, dtype=np.float32)
        window = _hann(self.frame_samples)
        frames = np.lib.stride_tricks.sliding_window_view(pressure_pa, self.frame_samples, axis=-1)
        spectrum = rfft(frames[..., :: self.hop_samples, :] * window)
        # One-sided spectrum: each bin but the edges, which the bands leave out, stands for two.
        power_pa2 = (spectrum.real**2 + spectrum.imag**2) * np.float32(2.0 / (self.frame_samples * np.sum(window**2)))
        return np.asarray(np.log(power_pa2 @ self.filters() + np.float32(self.floor_pa2)), dtype=np.float32)


@lru_cache
def _hann(count: int) -> NDArray[np.float32]:
    """Periodic Hann window, (count,)."""
    return (0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(count) / count)).astype(np.float32)


@lru_cache
def _filters(frame: int, rate_hz: float, bands: int, low_hz: float, high_hz: float) -> NDArray[np.float32]:
    bins = _mel(np.arange(frame // 2 + 1) * rate_hz / frame)
    low, high = _mel(np.array([low_hz, high_hz]))
    position = (bins[:, None] - low) * (bands + 1) / (high - low)
    weights = np.maximum(0.0, 1.0 - np.abs(position - np.arange(1, bands + 1)))
    return np.asarray(weights, dtype=np.float32)


def _mel(frequency_hz: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.asarray(2595.0 * np.log10(1.0 + frequency_hz / 700.0), dtype=np.float64)
