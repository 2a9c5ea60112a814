"""Operational transconductance amplifier on its load: tanh, finite output resistance, offset, rails (2.1, 2.2)."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lightsleeper.circuits.block import Float64, check_limits, limited, limited_current
from lightsleeper.circuits.blocks import Process
from lightsleeper.circuits.device import KAPPA, ota_noise_density_a2_per_hz
from lightsleeper.circuits.elements import capacitor, headroom, subcircuit, white_noise

__all__ = ["Ota"]


@dataclass(frozen=True, slots=True)
class Ota:
    """C V' = Ib tanh((u - offset) / (L VL)) within the rails - go V, Gm = Ib / (L VL), go = Gm / dc_gain (2.2).

    The rails are half the supply above and below mid-supply.
    """

    bias_a: float = limited(1e-9, 1e-12, 1e-6, "A")
    """Tail current."""
    linearisation: float = limited(1.0, 1.0, 4.0, "")
    """Factor L on the linear range (2.2)."""
    dc_gain: float = limited(44.0, 5.0, 10_000.0, "V/V")
    """Gm over output conductance; 44 (33 dB) is that of the reference's bare five-transistor OTA (4)."""
    offset_v: float = limited(0.0, -0.05, 0.05, "V")
    """Input voltage that gives no current; of a mismatched pair N(0, A_VT / sqrt(W L)) (2.9)."""
    capacitance_f: float = limited(1e-12, 1e-14, 1e-10, "F")
    """Load."""

    def __post_init__(self) -> None:
        check_limits(self)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The differential input, seen from one side."""
        return ("in",)

    def range_v(self, process: Process) -> float:
        """Linear range L VL, V."""
        return self.linearisation * process.range_v

    def conductance_s(self, process: Process) -> float:
        """Transconductance Gm at no input, in A/V."""
        return self.bias_a / self.range_v(process)

    def rest(self, process: Process) -> Float64:  # noqa: ARG002
        """Mid-supply."""
        return np.zeros(1)

    def derivative(self, state: Float64, input_v: Float64, process: Process) -> Float64:
        """Output slope in V/s."""
        half_v = process.supply_v / 2.0
        current = self.bias_a * np.tanh((input_v - self.offset_v) / self.range_v(process))
        leak = self.conductance_s(process) / self.dc_gain * state
        return np.asarray((limited_current(current, state, -half_v, half_v, process) - leak) / self.capacitance_f)

    def output(self, state: Float64, input_v: Float64, process: Process) -> Float64:  # noqa: ARG002
        """Voltage on the load."""
        return np.asarray(state[0])

    def transfer(self, frequency_hz: Float64, process: Process) -> NDArray[np.complex128]:
        """Gm / (go + s C) at no input and no offset."""
        gm = self.conductance_s(process)
        return np.asarray(gm / (gm / self.dc_gain + 2j * math.pi * frequency_hz * self.capacitance_f))

    def noise_v(self, process: Process) -> float:
        """White noise S_i = 4 q Ib (2.2) on load and output resistance: Vn^2 = S_i / (4 go C)."""
        density = ota_noise_density_a2_per_hz(self.bias_a)
        return math.sqrt(density / (4.0 * self.conductance_s(process) / self.dc_gain * self.capacitance_f))

    def power_w(self, process: Process) -> float:
        """Supply times tail current."""
        return process.supply_v * self.bias_a

    def area_mm2(self, process: Process) -> float:
        """Load and transistors."""
        return process.capacitor_area_mm2(self.capacitance_f) + process.ota_area_mm2(self.linearisation)

    def netlist(self, name: str, process: Process) -> str:
        """Sub-circuit."""
        half_v, gm = process.supply_v / 2.0, self.conductance_s(process)
        current = f"{self.bias_a:.12g}*tanh((v(in)-({self.offset_v:.12g}))/{self.range_v(process):.12g})"
        return subcircuit(
            name,
            self.inputs,
            f"B1 0 out I={headroom(current, 'out', -half_v, half_v, process)}",
            white_noise("1", "out", conductance_s=2.0 * self.linearisation / KAPPA * gm),
            f"R1 out 0 {self.dc_gain / gm:.12g} noisy=0",
            capacitor("1", "out", "0", self.capacitance_f),
        )
