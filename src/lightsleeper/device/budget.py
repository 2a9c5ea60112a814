"""What training may take on a device, and when it has to wait."""

import re
from dataclasses import dataclass

from lightsleeper.errors import InputError

__all__ = ["Budget", "Limits", "parse_bytes", "parse_power_w", "parse_share"]

_BYTES = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
_POWER_W = {
    "W": 1.0,
    "MW": 1e-3,
    "UW": 1e-6,
    "J/DAY": 1 / 86400,
    "KJ/DAY": 1e3 / 86400,
    "WH/DAY": 3600 / 86400,
    "MWH/DAY": 3.6 / 86400,
}


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What the whole process may take.

    Attributes:
        cpu_share: share of one processor, above 0 to 1.
        memory_bytes: largest resident memory.
        power_w: mean power that training may add; None for no limit.
        active_power_w: power that a busy processor adds over a resting one; needed with power_w.

    Raises:
        InputError: a number is out of range.
    """

    cpu_share: float
    memory_bytes: int
    power_w: float | None = None
    active_power_w: float | None = None

    def __post_init__(self) -> None:
        if not 0.0 < self.cpu_share <= 1.0:
            raise InputError(f"a CPU share of {self.cpu_share:.4g} is out of range: give above 0 to 100 %")
        if self.power_w is not None and self.active_power_w is None:
            raise InputError(
                "an energy budget needs the power that a busy processor adds over a resting one: give --active-power"
            )
        for name, power_w in (("energy", self.power_w), ("active power", self.active_power_w)):
            if power_w is not None and power_w <= 0.0:
                raise InputError(f"{name} of {power_w:g} W is out of range: give more than 0")

    @property
    def share(self) -> float:
        """Share of one processor that both the CPU and the energy budget allow."""
        if self.power_w is None or self.active_power_w is None:
            return self.cpu_share
        return min(self.cpu_share, self.power_w / self.active_power_w)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Readings above (for the battery below) which training waits.

    Attributes:
        contention: share of its own running time that training waited for a processor. An idle process waits while
            useful work is done; where the kernel gives it an equal share all the same (groups of sessions), half of it.
        cpu_pressure, memory_pressure: share of time that some other task waited ("some" of PSI).
        others_share: share of all processors that other processes take.
        temperature_c: hottest thermal zone.
        battery_charge: share of charge while discharging.
    """

    contention: float = 0.45
    cpu_pressure: float = 0.1
    memory_pressure: float = 0.05
    others_share: float = 0.75
    temperature_c: float = 70.0
    battery_charge: float = 0.5


def parse_share(text: str) -> float:
    """Return the share of a text such as ``20%`` or ``20``, in percent.

    Raises:
        InputError: it is no number from 0 to 100 %.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*%?\s*", text)
    if match is None or float(match[1]) > 100.0:
        raise InputError(f"{text!r} is no share: give 0 to 100 %, such as 20%")
    return float(match[1]) / 100.0


def parse_bytes(text: str) -> int:
    """Return the bytes of a text such as ``64MB`` or ``48MiB``.

    Raises:
        InputError: it is no size.
    """
    value, unit = _quantity(text)
    if value is None or unit not in _BYTES:
        raise InputError(
            f"{text!r} is no size of memory: give a number and B, kB, MB, GB, KiB, MiB or GiB, such as 64MB"
        )
    return int(value * _BYTES[unit])


def parse_power_w(text: str) -> float:
    """Return the watts of a text such as ``200J/day``, ``3mW`` or ``0.5Wh/day``.

    Raises:
        InputError: it is no power.
    """
    value, unit = _quantity(text)
    if value is None or unit not in _POWER_W:
        raise InputError(
            f"{text!r} is no power: give a number and W, mW, J/day, kJ/day, Wh/day or mWh/day, such as 200J/day"
        )
    return value * _POWER_W[unit]


def _quantity(text: str) -> tuple[float | None, str]:
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)\s*([a-zA-Z/]+)\s*", text)
    return (None, "") if match is None else (float(match[1]), match[2].upper())
