"""How far devices stray from their nominal values: one figure per cause, with its source.

Sections are those of the analog circuits reference (2.8 comparator, 2.9 mismatch, 2.10 floating-gate weights).
"""

import math
from dataclasses import dataclass, fields

from lightsleeper.circuits.blocks import Process
from lightsleeper.errors import InputError

__all__ = ["EFFECTS", "Mismatch", "check_range"]

EFFECTS = (
    "amplifier",
    "bias",
    "capacitors",
    "comparator",
    "detectors",
    "drift",
    "filter_offsets",
    "filters",
    "logarithms",
    "neurons",
    "time_constants",
    "weights",
)
"""What can be drawn and switched on its own.

amplifier: gain and coupling corner. bias: all currents of the die together. capacitors: local mismatch of each.
comparator: its offset and hysteresis. detectors: offsets of rectifiers and followers. drift: of programmed charges.
filter_offsets: input offsets of the filters' transconductors. filters: their transconductances, hence centre frequency,
Q and gain. logarithms: knee and output of each. neurons: offsets and tail currents. time_constants: of detectors,
neurons and integrator. weights: programming error of weights and biases.
"""

TRANSISTORS_PER_OTA = 5


def check_range(owner: str, name: str, value: float, lowest: float, highest: float, unit: str) -> None:
    """Raise InputError, naming field, limits and unit, where `value` lies outside or is no number."""
    if not lowest <= value <= highest:
        ends = f"{lowest:g} to {highest:g} {unit}".strip()
        raise InputError(f"{owner}: {name} is {value:g} {unit}".rstrip() + f"; give {ends}")


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Standard deviations of what differs from device to device and from die to die."""

    threshold_v_um: float = 3.9e-3
    """A_VT of n-channel pairs, V um: sigma(dVT) = A_VT / sqrt(W L) (Pelgrom; IHP SG13G2, 2.9)."""
    load_threshold_v_um: float = 2.2e-3
    """A_VT of p-channel pairs, V um (as above); adds to the offset of a transconductor (2.8)."""
    current_factor_um: float = 5e-3
    """Relative current-factor mismatch times the root of the area, um: 0.5 % um (IHP SG13G2, 2.9)."""
    capacitor_um: float = 10e-3
    """Relative capacitor mismatch times the root of the area, um: 1 % um (an estimate there, 2.9)."""
    bias: float = 0.03
    """Relative error of all currents of a die together, capacitor density included: as uniform +/-5 % (rockpool's model
    of Xylo, 2.9)."""
    programming: float = 0.01
    """Relative error of a programmed weight or bias: 1 % of target (arXiv 1410.4781, 2.10)."""
    drift_per_year: float = 0.005
    """Relative drift of a programmed weight or bias in a year (assumption within 0-1 %, no source; 2.10)."""
    coupling_corner: float = 0.2
    """Relative error of the AC-coupling corner, whose resistor is a transistor (assumption)."""

    def __post_init__(self) -> None:
        limits = {"threshold_v_um": (0.05, "V um"), "load_threshold_v_um": (0.05, "V um")}
        for field in fields(self):
            highest, unit = limits.get(field.name, (0.5, "um" if field.name.endswith("_um") else ""))
            check_range("mismatch", field.name, getattr(self, field.name), 0.0, highest, unit)

    def transistor_um2(self, process: Process) -> float:
        """Gate area of one transistor of a transconductor."""
        return process.ota_gate_um2 / TRANSISTORS_PER_OTA

    def threshold_sigma_v(self, process: Process) -> float:
        """Sigma of the threshold difference of a current mirror's pair, V."""
        return self.threshold_v_um / math.sqrt(self.transistor_um2(process))

    def factor_sigma(self, process: Process) -> float:
        """Sigma of the relative current-factor difference of a pair."""
        return self.current_factor_um / math.sqrt(self.transistor_um2(process))

    def offset_sigma_v(self, process: Process) -> float:
        """Sigma of the input offset of a transconductor, pair and load at equal gm / I (2.8), V."""
        return math.hypot(self.threshold_v_um, self.load_threshold_v_um) / math.sqrt(self.transistor_um2(process))

    def capacitor_sigma(self, process: Process, capacitance_f: float) -> float:
        """Sigma of the relative error of a capacitor."""
        return self.capacitor_um / math.sqrt(capacitance_f / process.capacitor_f_per_um2)
