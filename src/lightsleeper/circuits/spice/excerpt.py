"""A short piece of a recording, at a level relative to the amplifier's clipping, for the simulator and for ngspice."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample

from lightsleeper.circuits.blocks import Amplifier
from lightsleeper.circuits.spice.engine import source_file
from lightsleeper.errors import InputError

__all__ = ["SOURCE", "Excerpt", "loudest_excerpt"]

SOURCE = (
    "A_microphone %v([microphone]) recording\n"
    '.model recording filesource(file="microphone.txt" amploffset=[0] amplscale=[1])'
)
"""Elements that read the text of `Excerpt.source_text`, saved as `microphone.txt`."""

SOURCE_RATE_HZ = 512_000.0
"""Lowest rate of the rows for ngspice, which joins them by straight lines: 0.1 % off at 8 kHz."""
PADDING = 256
FADE_S = 2e-3


@dataclass(frozen=True, eq=False)
class Excerpt:
    """Samples of shape (T,), the largest of magnitude 1."""

    samples: NDArray[np.float64]
    rate_hz: float

    @property
    def duration_s(self) -> float:
        """Length in s."""
        return len(self.samples) / self.rate_hz

    def microphone_v(self, amplifier: Amplifier, level_db: float) -> NDArray[np.float64]:
        """Voltage at the microphone (T,) whose peak lies `level_db` over the level at which gain x peak = clip."""
        peak_v: float = amplifier.clip_v / amplifier.gain * 10.0 ** (level_db / 20.0)
        return self.samples * peak_v

    def source_text(self, amplifier: Amplifier, level_db: float) -> str:
        """The same signal, band-limited as the sampling theorem has it, as rows for ngspice."""
        factor = math.ceil(SOURCE_RATE_HZ / self.rate_hz)
        padded = np.pad(self.microphone_v(amplifier, level_db), PADDING)
        fine = resample(padded, len(padded) * factor)[PADDING * factor : -PADDING * factor]
        return source_file(fine, self.rate_hz * factor)


def loudest_excerpt(
    samples: NDArray[np.floating], rate_hz: float, *, duration_s: float, lead_s: float = 0.02
) -> Excerpt:
    """`duration_s` of a recording (T,) from `lead_s` before its peak, faded in and out; shorter where it ends before.

    Raises:
        InputError: the recording is silent, not finite, or shorter than a tenth of the excerpt.
    """
    values = np.asarray(samples, dtype=np.float64)
    if values.ndim != 1 or not np.isfinite(values).all() or not values.any():
        raise InputError(f"recording of shape {values.shape}: give one channel (T,) of finite samples, not all zero")
    if values.size < 0.1 * duration_s * rate_hz:
        raise InputError(f"recording lasts {values.size / rate_hz:g} s: give one of at least {0.1 * duration_s:g} s")
    length = min(round(duration_s * rate_hz), values.size)
    peak = int(np.abs(values).argmax())
    first = min(max(peak - round(lead_s * rate_hz), 0), values.size - length)
    part = values[first : first + length].copy()
    fade = np.sin(np.linspace(0.0, np.pi / 2.0, max(round(FADE_S * rate_hz), 1))) ** 2
    part[: len(fade)] *= fade
    part[-len(fade) :] *= fade[::-1]
    return Excerpt(part / np.abs(part).max(), rate_hz)
