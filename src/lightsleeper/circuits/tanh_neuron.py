"""One differential-pair tanh neuron on floating-gate weights that drift with temperature (2.7)."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lightsleeper.circuits.block import Float64, check_limits, limited
from lightsleeper.circuits.blocks import Process
from lightsleeper.circuits.device import BOLTZMANN_J_PER_K, KAPPA
from lightsleeper.circuits.elements import capacitor, subcircuit, transconductor
from lightsleeper.errors import InputError

__all__ = ["Neuron"]

_KELVIN = 273.15


@dataclass(frozen=True, slots=True)
class Neuron:
    """tau h' = VL tanh((e - h) / VL), e = VL tanh((sum_j w_j u_j + bias) / VL), w_j(T) = +/-|w_j(T0)|^(T0 / T) (2.7).

    `NeuralNetwork` holds a whole layer of these. Here the follower that gives the time constant saturates like the
    transconductor that it is, and the weights, ratios exp(kappa dQ / (CT UT)) of currents, are those of the
    temperature. A signed weight is the difference of two rows; one of the two is off.
    """

    weights: tuple[float, ...] = (1.0, -1.0)
    """Programmed at `programmed_c`, each within +/- `max_weight`."""
    bias_v: float = limited(0.0, -0.5, 0.5, "V")
    """At the input of the tanh."""
    time_s: float = limited(10e-3, 1e-3, 1.0, "s")
    """Time constant for small signals."""
    programmed_c: float = limited(27.0, -40.0, 125.0, "C")
    """Temperature T0 at which the weights were programmed."""
    max_weight: float = limited(8.0, 0.1, 100.0, "")
    """Largest programmable weight, as in `NeuralNetwork`."""
    unit_current_a: float = limited(1e-9, 1e-12, 1e-7, "A")
    """Current that a weight of 1 carries."""
    neuron_current_a: float = limited(2e-9, 1e-12, 1e-7, "A")
    """Tail current of the differential pair."""
    capacitance_f: float = limited(5e-12, 1e-13, 1e-10, "F")
    """Capacitor of the follower."""

    def __post_init__(self) -> None:
        check_limits(self)
        if not self.weights:
            raise InputError("Neuron: weights is empty; give one for each input")
        for index, weight in enumerate(self.weights):
            if not abs(weight) <= self.max_weight:
                raise InputError(
                    f"Neuron: weight {index} is {weight:g}; choose {-self.max_weight:g} to {self.max_weight:g}"
                )

    @property
    def inputs(self) -> tuple[str, ...]:
        """in1, in2, ..."""
        return tuple(f"in{number}" for number in range(1, len(self.weights) + 1))

    def weights_at(self, process: Process) -> NDArray[np.float64]:
        """Weights at the temperature, shape (inputs,): w(T) = w(T0)^(T0 / T)."""
        exponent = (self.programmed_c + _KELVIN) / (process.temperature_c + _KELVIN)
        values = np.asarray(self.weights, dtype=np.float64)
        return np.asarray(np.sign(values) * np.abs(values) ** exponent)

    def rest(self, process: Process) -> Float64:
        """Settled without an input."""
        return np.array([process.range_v * math.tanh(self.bias_v / process.range_v)])

    def derivative(self, state: Float64, input_v: Float64, process: Process) -> Float64:
        """Slope in V/s."""
        range_v = process.range_v
        total_v = np.tensordot(self.weights_at(process), input_v, axes=1) + self.bias_v
        excitation_v = range_v * np.tanh(total_v / range_v)
        return np.asarray(range_v * np.tanh((excitation_v - state) / range_v) / self.time_s)

    def output(self, state: Float64, input_v: Float64, process: Process) -> Float64:  # noqa: ARG002
        """Voltage on the capacitor."""
        return np.asarray(state[0])

    def transfer(self, frequency_hz: Float64, process: Process) -> NDArray[np.complex128]:
        """From the first input at rest: w1 / cosh^2(bias / VL) / (1 + s tau)."""
        gain = self.weights_at(process)[0] / math.cosh(self.bias_v / process.range_v) ** 2
        return np.asarray(gain / (1.0 + 2j * math.pi * np.asarray(frequency_hz) * self.time_s))

    def noise_v(self, process: Process) -> float:
        """Of the follower alone, Vn^2 = gamma kT / C with gamma = 2 / kappa (2.2); weights add 2 q I each (2.7)."""
        kt = BOLTZMANN_J_PER_K * (process.temperature_c + _KELVIN)
        return math.sqrt(2.0 / KAPPA * kt / self.capacitance_f)

    def power_w(self, process: Process) -> float:
        """Weights in use, tail, follower C VL / tau; W."""
        weights = float(np.abs(self.weights_at(process)).sum()) * self.unit_current_a
        follower = self.capacitance_f * process.range_v / self.time_s
        return process.supply_v * (weights + self.neuron_current_a + follower)

    def area_mm2(self, process: Process) -> float:
        """Capacitor, two transconductors and 0.4 of one a weight, as in `FrontEnd.area_mm2`."""
        return process.capacitor_area_mm2(self.capacitance_f) + process.ota_area_mm2(2.0 + 0.4 * len(self.weights))

    def netlist(self, name: str, process: Process) -> str:
        """Sub-circuit."""
        range_v = process.range_v
        weighted = "+".join(
            f"({weight:.12g})*v({net})" for weight, net in zip(self.weights_at(process), self.inputs, strict=True)
        )
        excitation = f"{range_v:.12g}*tanh(({weighted}+({self.bias_v:.12g}))/{range_v:.12g})"
        return subcircuit(
            name,
            self.inputs,
            f"B_sum sum 0 V={excitation}",
            transconductor("1", "sum", "out", "out", conductance_s=self.capacitance_f / self.time_s, process=process),
            capacitor("1", "out", "0", self.capacitance_f, start_v=float(self.rest(process)[0])),
        )
