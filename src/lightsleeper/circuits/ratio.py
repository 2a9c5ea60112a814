"""Logarithm of a ratio: two diode-connected transistors and the difference of their voltages (2.6)."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lightsleeper.circuits.block import Float64, check_limits, limited
from lightsleeper.circuits.blocks import Process
from lightsleeper.circuits.device import BOLTZMANN_J_PER_K, KAPPA, thermal_voltage_v
from lightsleeper.circuits.elements import capacitor, subcircuit, white_noise

__all__ = ["LogRatio"]


@dataclass(frozen=True, slots=True)
class LogRatio:
    """out = V1 - V2 + offset, C V' = I0 (1 + u / knee) - I0 exp(V / slope) on either side, slope = UT / kappa (2.6).

    Settled: slope ln((knee + u1) / (knee + u2)), the logarithm of how far an envelope stands over its floor. A common
    gain of both drops out as long as both are above the knee. Negative inputs count as 0.
    """

    knee_v: float = limited(1e-3, 1e-5, 0.1, "V")
    """Input that doubles the bias current; below it a ratio is pulled towards 1."""
    bias_a: float = limited(20e-12, 1e-12, 1e-7, "A")
    """I0, current of either side in silence; the block settles with C slope / I0."""
    offset_v: float = limited(0.0, -0.05, 0.05, "V")
    """Difference of the two threshold voltages: it multiplies the ratio by exp(offset / slope) (2.6)."""
    capacitance_f: float = limited(1e-13, 1e-15, 1e-11, "F")
    """At either side."""

    def __post_init__(self) -> None:
        check_limits(self)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Numerator and denominator."""
        return ("above", "below")

    def rest(self, process: Process) -> Float64:  # noqa: ARG002
        """Voltages of both sides."""
        return np.zeros(2)

    def derivative(self, state: Float64, input_v: Float64, process: Process) -> Float64:
        """Slopes in V/s."""
        into = 1.0 + np.maximum(input_v, 0.0) / self.knee_v
        return np.asarray(self.bias_a * (into - np.exp(state / process.slope_v)) / self.capacitance_f)

    def output(self, state: Float64, input_v: Float64, process: Process) -> Float64:  # noqa: ARG002
        """Difference of both sides."""
        return np.asarray(state[0] - state[1] + self.offset_v)

    def settled_v(self, input_v: Float64, process: Process) -> Float64:
        """Output for steady inputs (2, ...), shape (...)."""
        above, below = self.knee_v + np.maximum(input_v, 0.0)
        return np.asarray(process.slope_v * np.log(above / below) + self.offset_v)

    def transfer(self, frequency_hz: Float64, process: Process) -> NDArray[np.complex128]:
        """From the first input, upwards from 0 V: (slope / knee) / (1 + s C slope / I0)."""
        time_s = self.capacitance_f * process.slope_v / self.bias_a
        return np.asarray(process.slope_v / self.knee_v / (1.0 + 2j * math.pi * np.asarray(frequency_hz) * time_s))

    def noise_v(self, process: Process) -> float:
        """Shot noise 2 q I0 of source and of diode, either side, on I0 / slope and C: Vn^2 = 2 kT / (kappa C)."""
        kt = BOLTZMANN_J_PER_K * (process.temperature_c + 273.15)
        return math.sqrt(2.0 * kt / (KAPPA * self.capacitance_f))

    def power_w(self, process: Process) -> float:
        """Supply times the current of both sides in silence."""
        return process.supply_v * 2.0 * self.bias_a

    def area_mm2(self, process: Process) -> float:
        """Two capacitors, two transconductors that bring the envelopes as currents."""
        return process.capacitor_area_mm2(2.0 * self.capacitance_f) + process.ota_area_mm2(2)

    def netlist(self, name: str, process: Process) -> str:
        """Sub-circuit."""
        conductance_s = self.bias_a / thermal_voltage_v(process.temperature_c)
        elements = []
        for side in self.inputs:
            net = f"log_{side}"
            # v(side) / 2 + |v(side)| / 2 is the positive part, with a conductance at 0.
            into = f"1+(v({side})+abs(v({side})))/{2.0 * self.knee_v:.12g}"
            elements += [
                f"B_{side} 0 {net} I={self.bias_a:.12g}*({into}-exp(v({net})/{process.slope_v:.12g}))",
                white_noise(side, net, conductance_s=conductance_s),
                capacitor(f"_{side}", net, "0", self.capacitance_f),
            ]
        output = f"B_out out 0 V=v(log_above)-v(log_below)+({self.offset_v:.12g})"
        return subcircuit(name, self.inputs, *elements, output)
