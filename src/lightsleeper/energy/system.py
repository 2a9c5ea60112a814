"""Always-on systems as power states: what is always on, and what each wake costs.

P_avg = P_sensor + P_front + P_sleep + r (E_wake + P_active T_on), r in wakes per second (power_and_parts.md 5).
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

from lightsleeper.energy.catalogue import Catalogue
from lightsleeper.energy.parts import Draw, Evidence, Microcontroller, state_of
from lightsleeper.errors import InputError

__all__ = ["EnergyBudget", "PartEnergy", "PartPower", "System", "WakeCost", "analyse_first", "digitise_first"]

ALWAYS_EXCLUDED = ("regulator and level-shifter losses", "battery self-discharge", "radio")


@dataclass(frozen=True)
class PartPower:
    """Mean power of a part in a state, with its source and evidence mark."""

    part: str
    state: str
    power_w: float
    source: str
    evidence: Evidence


@dataclass(frozen=True)
class PartEnergy:
    """Energy that one wake costs in a part, with its source and evidence mark."""

    part: str
    state: str
    energy_j: float
    source: str
    evidence: Evidence


@dataclass(frozen=True)
class EnergyBudget:
    """Mean power by part and state."""

    rows: tuple[PartPower, ...]

    @property
    def power_w(self) -> float:
        """Total in W."""
        return sum(row.power_w for row in self.rows)

    def as_rows(self) -> list[dict[str, Any]]:
        """Rows as plain dicts for JSON."""
        return [asdict(row) for row in self.rows]


@dataclass(frozen=True)
class WakeCost:
    """What a wake does: its energies, and how long the device then stays on."""

    energies: tuple[PartEnergy, ...] = ()
    on_time_s: float = 0.0

    @property
    def energy_j(self) -> float:
        """Energy of one wake in J."""
        return sum(row.energy_j for row in self.energies)


@dataclass(frozen=True)
class System:
    """A device: draws that never end, the cost of a wake, its rate of wakes, and what the budget leaves out."""

    name: str
    always_on: tuple[PartPower, ...]
    wake: WakeCost
    wakes_per_hour: float
    excluded: tuple[str, ...]

    def __post_init__(self) -> None:
        _check_rate(self.wakes_per_hour, self.wake.on_time_s)

    @property
    def floor_w(self) -> float:
        """Power without any wake, in W."""
        return sum(row.power_w for row in self.always_on)

    def budget(self, wakes_per_hour: float | None = None) -> EnergyBudget:
        """Budget at a rate of wakes; none means the system's own.

        Raises:
            InputError: rate negative, or so high that the device would be on for more than the hour.
        """
        rate = self.wakes_per_hour if wakes_per_hour is None else wakes_per_hour
        _check_rate(rate, self.wake.on_time_s)
        woken = tuple(
            PartPower(row.part, row.state, row.energy_j * rate / 3600, row.source, row.evidence)
            for row in self.wake.energies
        )
        return EnergyBudget(self.always_on + woken)

    def power_w(self, wakes_per_hour: float | None = None) -> float:
        """Mean power in W at a rate of wakes; none means the system's own."""
        return self.budget(wakes_per_hour).power_w


def analyse_first(
    catalogue: Catalogue,
    *,
    analog_power_w: float,
    wakes_per_hour: float,
    on_time_s: float = 2.0,
    sensor: str = "ICS-40310",
    sensor_state: str = "active",
    microcontroller: str = "STM32U575",
    sleep_state: str = "stop2",
    preroll_power_w: float = 0.0,
    analog_source: str = "given: analog first stage of this design",
) -> System:
    """Sensor, analog first stage and a microcontroller asleep until a wake, then on for `on_time_s`.

    `wakes_per_hour` counts true and false wakes. `preroll_power_w` keeps the sound before the wake; 0 flatters this
    system where the second stage needs it, and is then listed as excluded (power_and_parts.md 6).
    """
    _check_power("analog_power_w", analog_power_w)
    _check_power("preroll_power_w", preroll_power_w)
    mcu = catalogue.microcontroller(microcontroller)
    rows = [
        _row(sensor, sensor_state, state_of(catalogue.sensor(sensor), sensor_state)),
        PartPower("analog first stage", "always on", analog_power_w, analog_source, "derived"),
        _row(mcu.name, sleep_state, state_of(mcu, sleep_state)),
    ]
    excluded = list(ALWAYS_EXCLUDED)
    if preroll_power_w > 0:
        rows.append(PartPower("pre-roll buffer", "always on", preroll_power_w, "given by the user", "derived"))
    else:
        excluded.append("pre-roll buffer")
    return System("analyse_first", tuple(rows), wake_cost(mcu, on_time_s=on_time_s), wakes_per_hour, tuple(excluded))


def digitise_first(
    catalogue: Catalogue,
    *,
    true_wakes_per_hour: float,
    on_time_s: float = 2.0,
    best_digital_wakes_per_hour: float | None = None,
    gate_wakes_per_hour: float | None = None,
    microcontroller: str = "STM32U575",
    sleep_state: str = "stop2",
) -> dict[str, System]:
    """Named rivals that convert before they decide (power_and_parts.md 5 and 7).

    - `catalogue`: PDM microphone and one inference a second on an always-on microcontroller. It decides on every
      second of sound already, so a wake costs nothing more.
    - `best_digital`: the strongest published digital front end: analog microphone, 14-bit 16 kS/s converter core at
      the median of the survey, 510 nW keyword chip. Each of its wakes costs what one of analyse-first costs. Its rate
      of wakes is `best_digital_wakes_per_hour`; without one it wakes for the true events only, its best case.
    - `energy_gated`, where `gate_wakes_per_hour` is given: wake-on-sound microphone, then the same microcontroller. The
      rate is that of a level threshold on the same stream, to be measured.
    """
    mcu = catalogue.microcontroller(microcontroller)
    wake = wake_cost(mcu, on_time_s=on_time_s)
    own_rate = true_wakes_per_hour if best_digital_wakes_per_hour is None else best_digital_wakes_per_hour
    systems = [
        _always_on_microcontroller(catalogue, mcu, true_wakes_per_hour),
        _best_digital(catalogue, mcu, sleep_state, wake, own_rate),
    ]
    if gate_wakes_per_hour is not None:
        systems.append(_energy_gated(catalogue, mcu, sleep_state, wake, gate_wakes_per_hour))
    return {system.name: system for system in systems}


def wake_cost(mcu: Microcontroller, *, on_time_s: float) -> WakeCost:
    """Wake-up and `on_time_s` of active power of a microcontroller."""
    if not (math.isfinite(on_time_s) and on_time_s > 0):
        raise InputError(f"on_time_s is {on_time_s}: give a positive number of seconds")
    if mcu.wake_up is None:
        raise InputError(f"{mcu.name} has no wake_up figures: add energy_j and time_s in a catalogue file")
    active = state_of(mcu, "active")
    return WakeCost(
        (
            PartEnergy(mcu.name, "wake-up", mcu.wake_up.energy_j, mcu.wake_up.source, mcu.wake_up.evidence),
            PartEnergy(mcu.name, "active after wakes", active.drawn_w * on_time_s, active.source, active.evidence),
        ),
        on_time_s,
    )


def _always_on_microcontroller(catalogue: Catalogue, mcu: Microcontroller, wakes_per_hour: float) -> System:
    if "keyword_spotting" not in mcu.inferences:
        raise InputError(f"{mcu.name} has no inference keyword_spotting: add its energy_j in a catalogue file")
    inference = mcu.inferences["keyword_spotting"]
    rows = (
        _row("ICS-41350", "low_power", state_of(catalogue.sensor("ICS-41350"), "low_power")),
        PartPower(mcu.name, "1 inference/s", inference.energy_j * 1.0, inference.source, inference.evidence),
    )
    excluded = (*ALWAYS_EXCLUDED, "sound capture and features", "microcontroller sleep between inferences")
    return System("catalogue", rows, WakeCost(), wakes_per_hour, excluded)


def _best_digital(
    catalogue: Catalogue, mcu: Microcontroller, sleep_state: str, wake: WakeCost, wakes_per_hour: float
) -> System:
    adc, chip = catalogue.adc("survey median since 2015"), catalogue.detector("Shan 2021 keyword chip")
    core_w = adc.power_w(bits=14, rate_hz=16000)
    rows = (
        _row("ICS-40310", "active", state_of(catalogue.sensor("ICS-40310"), "active")),
        PartPower("ADC core", "14 bit, 16 kS/s", core_w, adc.source, adc.evidence),
        PartPower(chip.name, "always on", chip.drawn_w(), chip.source, chip.evidence),
        _row(mcu.name, sleep_state, state_of(mcu, sleep_state)),
    )
    excluded = (
        *ALWAYS_EXCLUDED,
        "converter driver, reference and clock",
        "integration of the chips",
        "pre-roll buffer",
    )
    return System("best_digital", rows, wake, wakes_per_hour, excluded)


def _energy_gated(
    catalogue: Catalogue, mcu: Microcontroller, sleep_state: str, wake: WakeCost, wakes_per_hour: float
) -> System:
    rows = (
        _row("VM1010", "listening", state_of(catalogue.sensor("VM1010"), "listening")),
        _row(mcu.name, sleep_state, state_of(mcu, sleep_state)),
    )
    excluded = (*ALWAYS_EXCLUDED, "microphone's full mode and conversion after a wake", "pre-roll buffer")
    return System("energy_gated", rows, wake, wakes_per_hour, excluded)


def _row(part: str, state: str, draw: Draw) -> PartPower:
    return PartPower(part, state, draw.drawn_w, draw.source, draw.evidence)


def _check_rate(wakes_per_hour: float, on_time_s: float) -> None:
    if not (math.isfinite(wakes_per_hour) and wakes_per_hour >= 0):
        raise InputError(f"wakes_per_hour is {wakes_per_hour}: give a finite number of at least 0")
    if wakes_per_hour * on_time_s > 3600 * (1 + 1e-9):
        raise InputError(
            f"{wakes_per_hour:g} wakes an hour of {on_time_s:g} s fill more than the hour: shorten on_time_s"
        )


def _check_power(name: str, power_w: float) -> None:
    if not (math.isfinite(power_w) and power_w >= 0):
        raise InputError(f"{name} is {power_w}: give a finite number of W, at least 0")
