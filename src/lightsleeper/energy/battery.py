"""Battery life: of a power, over the rate of wakes, and with an interval."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lightsleeper.energy.parts import Battery
from lightsleeper.energy.system import System
from lightsleeper.errors import InputError

__all__ = [
    "LifeCurve",
    "break_even_wakes_per_hour",
    "extension_percent",
    "life_days",
    "life_interval",
    "life_over_wakes",
]

USABLE = 0.85


@dataclass(frozen=True)
class LifeCurve:
    """Mean power and life over wakes per hour, shape (W,) each."""

    wakes_per_hour: NDArray[np.float64]
    power_w: NDArray[np.float64]
    life_days: NDArray[np.float64]


def life_days(power_w: float, battery: Battery, *, usable: float = USABLE) -> float:
    """Days that a battery lasts: usable * C * V / P (power_and_parts.md 5; self-discharge apart)."""
    if not (math.isfinite(power_w) and power_w > 0):
        raise InputError(f"power is {power_w} W: give a positive number")
    if not 0 < usable <= 1:
        raise InputError(f"usable share of the battery is {usable}: give a share above 0 and at most 1")
    return usable * battery.energy_j / power_w / 86400


def extension_percent(life: float, reference_life: float) -> float:
    """By how many per cent `life` exceeds `reference_life`, in one unit; negative where it is shorter."""
    if not (life > 0 and reference_life > 0):
        raise InputError(f"lives are {life} and {reference_life}: give positive numbers")
    return 100 * (life / reference_life - 1)


def life_over_wakes(
    system: System, battery: Battery, *, wakes_per_hour: NDArray[np.floating], usable: float = USABLE
) -> LifeCurve:
    """Power and life of a system at each of the rates, shape (W,)."""
    rates = np.asarray(wakes_per_hour, dtype=np.float64)
    power_w = np.array([system.power_w(float(rate)) for rate in rates])
    life = np.array([life_days(float(power), battery, usable=usable) for power in power_w])
    return LifeCurve(rates, power_w, life)


def life_interval(
    system: System, battery: Battery, *, wakes_per_hour_interval: tuple[float, float], usable: float = USABLE
) -> tuple[float, float]:
    """Shortest and longest life over an interval of the rate of wakes: life falls as the rate rises."""
    low, high = wakes_per_hour_interval
    if not low <= high:
        raise InputError(f"interval of wakes per hour is {low} to {high}: give the lower limit first")
    short, long = (life_days(system.power_w(rate), battery, usable=usable) for rate in (high, low))
    return short, long


def break_even_wakes_per_hour(system: System, reference_power_w: float) -> float | None:
    """Rate of wakes at which a system draws as much as the reference; None where it never does.

    It never does where it draws more without any wake, or where even a device that is always on draws less.
    """
    if system.floor_w > reference_power_w or system.wake.energy_j == 0:
        return None
    rate = (reference_power_w - system.floor_w) * 3600 / system.wake.energy_j
    return rate if rate * system.wake.on_time_s <= 3600 else None
