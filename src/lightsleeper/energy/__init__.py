"""Energy of an always-on device: parts with sources, power states, battery life against digitise-first rivals."""

from lightsleeper.energy.battery import (
    LifeCurve,
    break_even_wakes_per_hour,
    extension_percent,
    life_days,
    life_interval,
    life_over_wakes,
)
from lightsleeper.energy.catalogue import Catalogue, load_catalogue
from lightsleeper.energy.parts import Battery
from lightsleeper.energy.report import energy_report
from lightsleeper.energy.system import (
    EnergyBudget,
    PartEnergy,
    PartPower,
    System,
    WakeCost,
    analyse_first,
    digitise_first,
)

__all__ = [
    "Battery",
    "Catalogue",
    "EnergyBudget",
    "LifeCurve",
    "PartEnergy",
    "PartPower",
    "System",
    "WakeCost",
    "analyse_first",
    "break_even_wakes_per_hour",
    "digitise_first",
    "energy_report",
    "extension_percent",
    "life_days",
    "life_interval",
    "life_over_wakes",
    "load_catalogue",
]
