"""The energy block of a design's summary: analyse-first against its named rivals, with the curve behind the figure."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightsleeper.energy.battery import (
    USABLE,
    break_even_wakes_per_hour,
    extension_percent,
    life_days,
    life_interval,
    life_over_wakes,
)
from lightsleeper.energy.parts import Battery
from lightsleeper.energy.system import System
from lightsleeper.errors import InputError

__all__ = ["energy_report"]


def energy_report(
    analyse: System,
    digitise: Mapping[str, System],
    battery: Battery,
    *,
    usable: float = USABLE,
    wakes_per_hour_interval: tuple[float, float] | None = None,
    curve_wakes_per_hour: NDArray[np.floating] | None = None,
) -> dict[str, Any]:
    """Plain dict for JSON: power, life and parts of every system, extension, break-even and curve.

    `wakes_per_hour_interval` is the 95 % interval of all wakes of the analyse-first system; with it, its life and the
    extensions have intervals. On the curve only the analyse-first rate varies; the rivals stay at their own.
    """
    if not digitise:
        raise InputError("no digitise-first system to compare with: give at least one")
    entries = {name: _entry(system, battery, usable) for name, system in digitise.items()}
    ours = _entry(analyse, battery, usable)
    report: dict[str, Any] = {
        "analyse_first": ours,
        "digitise_first": entries,
        "battery_life_extension_percent": {
            name: extension_percent(ours["battery_days"], entry["battery_days"]) for name, entry in entries.items()
        },
        "break_even_wakes_per_hour": {
            name: break_even_wakes_per_hour(analyse, entry["power_w"]) for name, entry in entries.items()
        },
        "battery": battery.model_dump(),
        "usable": usable,
        "curve": _curve(analyse, entries, battery, usable, curve_wakes_per_hour),
    }
    if wakes_per_hour_interval is not None:
        lives = life_interval(analyse, battery, wakes_per_hour_interval=wakes_per_hour_interval, usable=usable)
        ours["wakes_per_hour_interval"] = list(wakes_per_hour_interval)
        ours["battery_days_interval"] = list(lives)
        report["battery_life_extension_percent_interval"] = {
            name: [extension_percent(life, entry["battery_days"]) for life in lives] for name, entry in entries.items()
        }
    return report


def _entry(system: System, battery: Battery, usable: float) -> dict[str, Any]:
    budget = system.budget()
    return {
        "power_w": budget.power_w,
        "battery_days": life_days(budget.power_w, battery, usable=usable),
        "wakes_per_hour": system.wakes_per_hour,
        "parts": budget.as_rows(),
        "excluded": list(system.excluded),
    }


def _curve(
    analyse: System,
    entries: Mapping[str, dict[str, Any]],
    battery: Battery,
    usable: float,
    wakes_per_hour: NDArray[np.floating] | None,
) -> dict[str, Any]:
    if wakes_per_hour is None:
        on_time_s = analyse.wake.on_time_s
        top = min(1000.0, 3600 / on_time_s) if on_time_s else 1000.0
        wakes_per_hour = np.concatenate(([0.0], np.geomspace(min(0.1, top / 10), top, 81)))
    curve = life_over_wakes(analyse, battery, wakes_per_hour=wakes_per_hour, usable=usable)
    return {
        "wakes_per_hour": curve.wakes_per_hour.tolist(),
        "analyse_first": {"power_w": curve.power_w.tolist(), "battery_days": curve.life_days.tolist()},
        "digitise_first": {
            name: {key: [entry[key]] * curve.wakes_per_hour.size for key in ("power_w", "battery_days")}
            for name, entry in entries.items()
        },
    }
