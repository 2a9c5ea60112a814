"""The first stage in continuous time as ground truth: float64, exact tanh, Runge-Kutta of order four on a fine grid.

Nothing of the compiled loops is shared: between its samples the recording is what the sampling theorem says. Sections
are those of the analog circuits reference.
"""

# mypy: disable-error-code="untyped-decorator"
import math
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from lightsleeper.circuits.frontend import FrontEnd
from lightsleeper.circuits.rates import (
    SUBSTEPS,
    frame_fraction,
    input_delay_s,
    output_instant,
    oversampling_for,
    substeps_for,
)

__all__ = ["GroundTruth", "ground_truth", "relative_error"]

Float64 = NDArray[np.float64]
FINENESS = 8
"""Points of the fine grid in a substep of the kernel: 768 kHz at 16 kHz recordings, every other one a step."""


@dataclass(frozen=True, slots=True, eq=False)
class GroundTruth:
    """Waveforms of every band at the instants of the simulation's steps, shape (bands, N), in V.

    Attributes:
        filter: band-pass output in the middle substep of each step, as the kernel traces it.
        fast, slow, floor: envelopes at its end.
    """

    filter: Float64
    fast: Float64
    slow: Float64
    floor: Float64


def relative_error(values: NDArray[np.floating], truth: NDArray[np.floating]) -> float:
    """Root mean square of the difference over that of the truth (NRMSE)."""
    return float(np.sqrt(np.mean(np.square(values - truth)) / np.mean(np.square(truth))))


def ground_truth(frontend: FrontEnd, microphone_v: Float64, rate_hz: float) -> GroundTruth:
    """The noiseless amplifier, bank and detectors over one recording that begins and ends in silence."""
    factor = oversampling_for(rate_hz, max(frontend.bank.center_hz))
    phases = factor * SUBSTEPS
    grid_hz = rate_hz * phases * FINENESS
    range_v = frontend.bank.range_v(frontend.process)
    clip = frontend.amplifier.clip_v / range_v
    amplified = (
        frontend.amplifier.gain
        / range_v
        * _between_samples(_coupled(microphone_v, rate_hz, frontend), phases * FINENESS)
    )
    drive = np.tanh(clip * np.tanh(amplified / clip))
    steps = len(microphone_v) * factor
    per_step = SUBSTEPS * FINENESS
    # The kernel's input comes late by a known time.
    instants = np.arange(steps) * per_step - round(input_delay_s(rate_hz, factor) * grid_hz)
    bank, times_s = frontend.bank, frontend.envelopes.times_s()
    heard = output_instant(substeps_for(np.asarray(frontend.bank.center_hz), rate_hz * factor))
    waves: list[list[Float64]] = [[], [], [], []]
    for band in range(bank.bands):
        angle = 2.0 * math.pi * bank.center_hz[band] * 2.0 / grid_hz
        output_v = range_v * _band_pass(drive, angle, 1.0 / bank.q[band])
        rates = [frame_fraction(float(time_s), grid_hz / 2.0) for time_s in times_s[:, band]]
        envelopes_v = _envelopes(np.abs(output_v), *rates)
        waves[0].append(_at(output_v, instants + round(heard[band] * per_step)))
        for kind in range(3):
            waves[1 + kind].append(_at(envelopes_v[:, kind], instants + per_step))
    return GroundTruth(*(np.array(values) for values in waves))


def _coupled(microphone_v: Float64, rate_hz: float, frontend: FrontEnd) -> Float64:
    """AC coupling as a first-order high-pass on the spectrum."""
    length = 2 * len(microphone_v)
    ratio = 1j * np.fft.rfftfreq(length, 1.0 / rate_hz) / frontend.amplifier.corner_hz
    return np.fft.irfft(np.fft.rfft(microphone_v, length) * ratio / (1.0 + ratio), length)[: len(microphone_v)]


def _between_samples(samples: Float64, points: int) -> Float64:
    """The recording at `points` a sample, band-limited to half its rate."""
    spectrum = np.fft.rfft(samples)
    padded = np.zeros(len(samples) * points // 2 + 1, dtype=complex)
    padded[: len(spectrum)] = points * spectrum
    return np.fft.irfft(padded, len(samples) * points)


def _at(wave: Float64, instants: NDArray[np.int64]) -> Float64:
    """The wave, a value at every other point of the grid, at those points; 0 before it begins."""
    index = instants // 2
    return np.asarray(np.where(index >= 0, wave[np.clip(index, 0, len(wave) - 1)], 0.0))


@numba.njit(cache=True)
def _band_pass(drive: Float64, angle: float, damping: float) -> Float64:
    """C Vo' = Gin f(Vin) - Gd f(Vo) - G f(Vx), C Vx' = G f(Vo) (2.3), in linear ranges; `angle` is w0 a step."""
    steps = (len(drive) - 1) // 2
    output = np.zeros(steps + 1)
    o, x = 0.0, 0.0
    for i in range(steps):
        slopes_o, slopes_x = 0.0, 0.0
        at_o, at_x = o, x
        for stage in range(4):
            u = drive[2 * i + (0 if stage == 0 else 2 if stage == 3 else 1)]
            slope_o = angle * (damping * (u - math.tanh(at_o)) - math.tanh(at_x))
            slope_x = angle * math.tanh(at_o)
            weight = 1.0 if stage in (0, 3) else 2.0
            slopes_o += weight * slope_o
            slopes_x += weight * slope_x
            ahead = 1.0 if stage == 2 else 0.5
            at_o, at_x = o + ahead * slope_o, x + ahead * slope_x
        o += slopes_o / 6.0
        x += slopes_x / 6.0
        output[i + 1] = o
    return output


@numba.njit(cache=True)
def _envelopes(
    rectified: Float64, attack: float, decay: float, slow_attack: float, slow_decay: float, rise: float, fall: float
) -> Float64:
    """Asymmetric one-poles (2.5 a) over the rectified wave, (N, 3): fast, slow, floor."""
    result = np.zeros((len(rectified), 3))
    fast, slow, floor = 0.0, 0.0, 0.0
    for i in range(1, len(rectified)):
        u = 0.5 * (rectified[i - 1] + rectified[i])
        fast += (attack if u > fast else decay) * (u - fast)
        slow += (slow_attack if u > slow else slow_decay) * (u - slow)
        floor += (rise if fast > floor else fall) * (fast - floor)
        result[i] = fast, slow, floor
    return result
