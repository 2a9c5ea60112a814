"""Confidence intervals of shares and rates (practice.md 4). Two-sided 95 % unless stated."""

import math
from collections.abc import Sequence

from scipy.stats import chi2, norm

from lightsleeper.errors import InputError

__all__ = ["combined_rate_interval", "poisson_rate_interval", "wilson_interval", "zero_count_upper_bound"]


def wilson_interval(successes: int, trials: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Score interval of a share (Wilson, JASA 22, 1927): 42 of 50 gives 0.715 to 0.917."""
    _check_confidence(confidence)
    if trials < 1 or not 0 <= successes <= trials:
        raise InputError(
            f"{successes} successes of {trials} trials: need at least 1 trial and 0 <= successes <= trials"
        )
    z = float(norm.ppf(0.5 + confidence / 2))
    share = successes / trials
    centre = share + z * z / (2 * trials)
    spread = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    low = 0.0 if successes == 0 else (centre - spread) / scale
    high = 1.0 if successes == trials else (centre + spread) / scale
    return low, high


def poisson_rate_interval(count: int, hours: float, *, confidence: float = 0.95) -> tuple[float, float]:
    """Exact chi-square interval of a rate per hour from `count` events (Garwood, Biometrika 28, 1936)."""
    _check_confidence(confidence)
    _check_exposure(count, hours)
    tail = (1 - confidence) / 2
    low = 0.0 if count == 0 else float(chi2.ppf(tail, 2 * count)) / 2
    high = float(chi2.ppf(1 - tail, 2 * count + 2)) / 2
    return low / hours, high / hours


def zero_count_upper_bound(hours: float, *, confidence: float = 0.95) -> float:
    """One-sided upper bound of a rate per hour after no event at all: 3.0 / hours at 95 %."""
    _check_confidence(confidence)
    _check_exposure(0, hours)
    return -math.log(1 - confidence) / hours


def combined_rate_interval(
    parts: Sequence[tuple[int, float, float]], *, confidence: float = 0.95
) -> tuple[float, float, float]:
    """Rate, low and high of a weighted sum of Poisson rates, sum of weight * count / exposure.

    `parts` holds (count, exposure, weight), weights not negative. The method of variance estimates recovery (MOVER; Zou
    and Donner, Statistics in Medicine 27, 2008) joins the Garwood limits of the parts: each side of the interval is
    the root of the sum of the squared weighted distances of that side. With one part it is Garwood's interval.
    """
    if not parts:
        raise InputError("no rates to combine: give at least one (count, exposure, weight)")
    rate = below = above = 0.0
    for count, exposure, weight in parts:
        if not (math.isfinite(weight) and weight >= 0):
            raise InputError(f"weight of a rate is {weight}: give a finite number of at least 0")
        low, high = poisson_rate_interval(count, exposure, confidence=confidence)
        point = count / exposure
        rate += weight * point
        below += (weight * (point - low)) ** 2
        above += (weight * (high - point)) ** 2
    return rate, max(rate - math.sqrt(below), 0.0), rate + math.sqrt(above)


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise InputError(f"confidence is {confidence}: give a share between 0 and 1, such as 0.95")


def _check_exposure(count: int, exposure: float) -> None:
    if count < 0:
        raise InputError(f"count of events is {count}: give 0 or more")
    if not (math.isfinite(exposure) and exposure > 0):
        raise InputError(f"exposure is {exposure}: give a positive number of hours or sounds")
