"""Rates of the simulation: how finely the circuit is stepped, how often its network is read, and the way between."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.signal import firwin

from lightsleeper.errors import InputError

__all__ = [
    "CONTROL_RATE_HZ",
    "SUBSTEPS",
    "frame_fraction",
    "input_delay_s",
    "interpolation_taps",
    "output_instant",
    "oversampling_for",
    "substeps_for",
]

CONTROL_RATE_HZ = 125.0
"""Frames per second at which the network is simulated, on means of the envelopes over one frame (8 ms).

Every time constant behind the envelopes is 5 ms or more. Read so coarsely, score and integral are off by up to 16 % and
wakes come up to 3 ms early or late (docs/spice.md)."""
TAPS_PER_PHASE = 24
"""Taps a phase of the interpolation filter."""
SUBSTEPS = 3
"""Most substeps that a band takes in one step."""
_STEPS_PER_PERIOD = (75.0, 7.5)
"""Steps in a period of the centre frequency from which one substep is enough, and two; the band-pass then keeps
within 1 % of continuous time also where the sound lies far above the band (docs/circuits.md)."""


def oversampling_for(rate_hz: float, top_hz: float) -> int:
    """Smallest integer factor that puts the simulation rate at 4x the top centre frequency or more."""
    if top_hz >= rate_hz / 2:
        raise InputError(
            f"a band at {top_hz:.0f} Hz needs recordings above {2 * top_hz:.0f} Hz; these are at {rate_hz:.0f} Hz"
        )
    return max(1, math.ceil(4.0 * top_hz / rate_hz))


def substeps_for(center_hz: NDArray[np.floating], step_rate_hz: float) -> NDArray[np.int64]:
    """Substeps in a step, 1 to 3, of bands at `center_hz`, each as few as it needs."""
    steps = step_rate_hz / np.asarray(center_hz, dtype=np.float64)
    return np.asarray(1 + sum((steps < limit).astype(np.int64) for limit in _STEPS_PER_PERIOD), dtype=np.int64)


def output_instant(substeps: NDArray[np.int64]) -> NDArray[np.float64]:
    """Share of a step after its beginning at which a band's output is traced and heard: its middle substep's."""
    return np.asarray(substeps // 2 / substeps)


def input_delay_s(rate_hz: float, factor: int) -> float:
    """Latency of the simulated input, s: half the length of the interpolation filter, and two substeps for means."""
    phases = factor * SUBSTEPS
    return ((TAPS_PER_PHASE * phases - 1) / 2.0 + 2.0) / (rate_hz * phases)


def interpolation_taps(factor: int, *, per_phase: int = TAPS_PER_PHASE) -> NDArray[np.float32]:
    """Polyphase causal low-pass that raises the rate by `factor`, shape (factor, per_phase); identity for 1."""
    if factor == 1:
        return np.eye(1, per_phase, dtype=np.float32)
    prototype = factor * firwin(factor * per_phase, 1.0 / factor, window=("kaiser", 5.0))
    return np.ascontiguousarray(prototype.reshape(per_phase, factor).T, dtype=np.float32)


def frame_fraction(time_s: float, rate_hz: float) -> float:
    """Fraction per step of a one-pole with time constant `time_s`: 1 - exp(-1 / (tau f))."""
    return -math.expm1(-1.0 / (time_s * rate_hz))
