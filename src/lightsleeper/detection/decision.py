"""Scores to wake events as practitioners do it: running mean, threshold, suppression.

The shape follows the performance calibration of Edge Impulse (practice.md 2). In hardware the integrator, the
comparator and its hysteresis are the same knobs, so one search serves both stages.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lightsleeper.errors import InputError

__all__ = ["Decision", "burst_bounds", "running_mean"]

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]


@dataclass(frozen=True)
class Decision:
    """When a stream of scores wakes the device.

    The running mean of the last `average_window_s` seconds turns active where it is at or above `threshold`, and
    inactive again where it is below `threshold - hysteresis`. A wake is the instant at which it turns active, unless it
    was active less than `suppression_s` before: then both belong to one burst, and a burst is one wake, at its first
    crossing. So successive crossings closer than `suppression_s` are one wake, however many they are, and a
    score that never falls wakes once. Score k stands for the instant k / rate_hz; only scores up to then are used.
    """

    threshold: float
    average_window_s: float = 0.0
    suppression_s: float = 2.0
    hysteresis: float = 0.0

    def __post_init__(self) -> None:
        if not math.isfinite(self.threshold):
            raise InputError(f"decision threshold is {self.threshold}: give a finite number")
        for name in ("average_window_s", "suppression_s", "hysteresis"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise InputError(f"decision {name} is {value}: give a finite number of at least 0")

    def wakes(self, scores: NDArray[np.floating], *, rate_hz: float) -> Floats:
        """Times of the wakes in s, shape (W,), ascending; `scores` has shape (N,).

        Raises:
            InputError: scores empty, not one-dimensional or not finite; rate not positive.
        """
        return self.awake_spans(scores, rate_hz=rate_hz)[:, 0]

    def awake_spans(self, scores: NDArray[np.floating], *, rate_hz: float) -> Floats:
        """Start and end of every burst in s, shape (W, 2); starts are the wakes, pauses within a burst count as awake.

        The share of the stream inside the spans is the awake share. Near 1 it tells that a low count of wakes is
        one endless burst and no good sign (wake_feasibility.md 7).
        """
        active = np.flatnonzero(self.level(scores, rate_hz=rate_hz) >= self.threshold)
        first, last = burst_bounds(active, rearm_samples=self.rearm_samples(rate_hz))
        return np.column_stack((first, last + 1)) / rate_hz

    def level(self, scores: NDArray[np.floating], *, rate_hz: float) -> Floats:
        """Highest threshold at which the decision would be active at each score, shape (N,).

        Without hysteresis this is the running mean m. With hysteresis h, active at threshold t means m >= t, or active
        before and m + h >= t; the highest such t obeys level[k] = clip(level[k - 1], m[k], m[k] + h).
        """
        mean = running_mean(_checked(scores), window=self._window_samples(rate_hz))
        return _play(mean, width=self.hysteresis) if self.hysteresis > 0 else mean

    def rearm_samples(self, rate_hz: float) -> int:
        """How many inactive scores in a row, at least 1, end a burst."""
        _check_rate(rate_hz)
        return max(math.ceil(self.suppression_s * rate_hz - 1e-9) - 1, 1)

    def _window_samples(self, rate_hz: float) -> int:
        _check_rate(rate_hz)
        return max(round(self.average_window_s * rate_hz), 1)


def running_mean(scores: Floats, *, window: int) -> Floats:
    """Mean of the last `window` scores, shape (N,); at the start the mean of those there are.

    Sums run only inside blocks of `window` scores, so that no rounding error travels along a stream of hours.
    """
    if window == 1:
        return scores
    window = min(window, scores.size)
    blocks = -(-scores.size // window)
    padded = np.zeros((blocks, window))
    padded.reshape(-1)[: scores.size] = scores
    total = np.cumsum(padded, axis=1)
    # Element j of a block still lacks what its window holds of the block before: elements j + 1 to the end.
    before = np.cumsum(padded[:-1, ::-1], axis=1)[:, ::-1]
    total[1:, :-1] += before[:, 1:]
    held = np.minimum(np.arange(1, scores.size + 1), window)
    mean: Floats = total.reshape(-1)[: scores.size] / held
    return mean


def burst_bounds(active: Indices, *, rearm_samples: int) -> tuple[Indices, Indices]:
    """First and last index of each burst in the ascending indices `active`.

    A burst ends where at least `rearm_samples` indices in a row are not active.
    """
    breaks = np.flatnonzero(np.diff(active) > rearm_samples)
    first = active[np.concatenate(([0], breaks + 1)).astype(np.intp)] if active.size else active
    last = active[np.concatenate((breaks, [-1])).astype(np.intp)] if active.size else active
    return first, last


def _play(mean: Floats, *, width: float) -> Floats:
    # A chain of clips is a clip, so the recursion is a prefix scan: after pass n every element holds the
    # composition of the last 2^n clips as one pair of bounds.
    low, high = mean.copy(), mean + width
    step = 1
    while step < mean.size:
        new_low = np.clip(low[:-step], low[step:], high[step:])
        new_high = np.clip(high[:-step], low[step:], high[step:])
        if np.array_equal(new_low, low[step:]) and np.array_equal(new_high, high[step:]):
            break
        low[step:], high[step:] = new_low, new_high
        step *= 2
    return low


def _checked(scores: NDArray[np.floating]) -> Floats:
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 1 or values.size == 0:
        raise InputError(f"scores have shape {values.shape}: give one score per frame, shape (N,), N at least 1")
    if not np.isfinite(values).all():
        raise InputError(f"scores hold {int((~np.isfinite(values)).sum())} values that are not finite: replace them")
    return values


def _check_rate(rate_hz: float) -> None:
    if not (math.isfinite(rate_hz) and rate_hz > 0):
        raise InputError(f"score rate is {rate_hz} Hz: give a positive number")
