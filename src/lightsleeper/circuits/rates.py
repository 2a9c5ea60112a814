"""Rates of the simulation: how finely the circuit is stepped, how often its network is read, and the way between."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.signal import firwin

from lightsleeper.circuits.simd import BLOCK
from lightsleeper.errors import InputError

__all__ = [
    "CONTROL_RATE_HZ",
    "SUBSTEPS",
    "frame_fraction",
    "input_delay_s",
    "interpolation_taps",
    "nyquist_taps",
    "output_instant",
    "oversampling_for",
    "substeps_for",
]

CONTROL_RATE_HZ = 500.0
"""Frames per second at which the network is simulated, on means of the envelopes over one frame (2 ms).

Every time constant behind the envelopes is 5 ms or more."""
_STEEP_TAPS, _STEEP_BETA = 64, 4.0
"""Interpolation next to the recording's band edge: 0.03 dB and images of -51 dB up to 0.46 of the sample rate, 0.06 dB
and -43 dB up to 0.48, where resampled recordings end."""
_GENTLE_TAPS, _GENTLE_BETA = 8, 5.5
"""From twice the sample rate on, where the images lie far away: 0.02 dB, images -57 dB."""
SUBSTEPS = 3
"""Most substeps that a band takes in one step."""
_LOOKAHEAD = 2.0
"""Substeps by which the mean drive lags, since its cubic needs the sample after (`amplify`)."""
_STEPS_PER_PERIOD = (75.0, 7.5)
"""Steps in a period of the centre frequency from which one substep is enough, and two; the band-pass then keeps
within 1 % of continuous time also where the sound lies far above the band (docs/circuits.md)."""
_SPARE_SUBSTEPS = 0.05
"""Share of the substeps that may be more than needed."""


def oversampling_for(rate_hz: float, top_hz: float) -> int:
    """Smallest integer factor that puts the simulation rate at 4x the top centre frequency or more."""
    if top_hz >= rate_hz / 2:
        raise InputError(
            f"a band at {top_hz:.0f} Hz needs recordings above {2 * top_hz:.0f} Hz; these are at {rate_hz:.0f} Hz"
        )
    return max(1, math.ceil(4.0 * top_hz / rate_hz))


def substeps_for(center_hz: NDArray[np.floating], step_rate_hz: float) -> NDArray[np.int64]:
    """Substeps in a step, 1 to 3, of bands at `center_hz`, each as few as it needs.

    The kernel takes eight bands at a time. Where a few are left over that fit beside the next bands, they take one
    substep more, as long as that adds no more than a twentieth of all: one sound through nine bands would else cost
    as much as through sixteen.
    """
    steps = step_rate_hz / np.asarray(center_hz, dtype=np.float64)
    substeps = np.asarray(1 + sum((steps < limit).astype(np.int64) for limit in _STEPS_PER_PERIOD), dtype=np.int64)
    for count in range(1, SUBSTEPS):
        bands = np.flatnonzero(substeps == count)
        left_over, room = len(bands) % BLOCK, -np.count_nonzero(substeps == count + 1) % BLOCK
        if left_over <= min(room, _SPARE_SUBSTEPS * substeps.sum()):
            substeps[bands[np.argsort(steps[bands])[:left_over]]] += 1
    return substeps


def output_instant(substeps: NDArray[np.int64]) -> NDArray[np.float64]:
    """Share of a step after its beginning at which a band's output is traced and heard: its middle substep's."""
    return np.asarray(substeps // 2 / substeps)


def input_delay_s(rate_hz: float, factor: int) -> float:
    """Latency of the simulated input, s: half the length of each interpolation filter, and the means' two substeps."""
    step_rate_hz = rate_hz * factor
    first = _STEEP_TAPS / 2.0 / rate_hz if factor > 1 else 0.0
    second = (_GENTLE_TAPS if factor > 1 else _STEEP_TAPS) / 2.0 / step_rate_hz
    return first + second + _LOOKAHEAD / (step_rate_hz * SUBSTEPS)


def interpolation_taps(factor: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Polyphase filters from the recording to the steps (factor, n), and from there to the substeps (3, m).

    Only the first to raise the rate must be steep. At `factor` 1 the first is the identity. n and m are multiples of 8.
    """
    if factor == 1:
        return np.eye(1, 8, dtype=np.float32), nyquist_taps(SUBSTEPS, _STEEP_TAPS, beta=_STEEP_BETA)
    return (
        nyquist_taps(factor, _STEEP_TAPS, beta=_STEEP_BETA),
        nyquist_taps(SUBSTEPS, _GENTLE_TAPS, beta=_GENTLE_BETA),
    )


def nyquist_taps(factor: int, per_phase: int, *, beta: float) -> NDArray[np.float32]:
    """Polyphase causal low-pass that raises the rate by `factor`, (factor, per_phase); phase 0 is a pure delay.

    A sinc under a Kaiser window; its delay is `per_phase` / 2 samples of the lower rate.
    """
    prototype = np.zeros(factor * per_phase)
    prototype[1:] = factor * firwin(factor * per_phase - 1, 1.0 / factor, window=("kaiser", beta))
    taps = prototype.reshape(per_phase, factor).T
    taps[0] = np.arange(per_phase) == per_phase // 2  # zeros of the sinc, but for rounding
    return np.ascontiguousarray(taps, dtype=np.float32)


def frame_fraction(time_s: float, rate_hz: float) -> float:
    """Fraction per step of a one-pole with time constant `time_s`: 1 - exp(-1 / (tau f))."""
    return -math.expm1(-1.0 / (time_s * rate_hz))
