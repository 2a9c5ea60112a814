"""Envelope detectors beyond the asymmetric one-pole of `EnvelopeDetectors`: OTA peak detector, adaptive speed."""

from dataclasses import dataclass

import numpy as np

from lightsleeper.circuits.block import Float64, check_limits, limited
from lightsleeper.circuits.blocks import Process
from lightsleeper.circuits.device import thermal_voltage_v
from lightsleeper.circuits.elements import asymmetric, capacitor, subcircuit

__all__ = ["AdaptiveDetector", "PeakDetector"]


@dataclass(frozen=True, slots=True)
class PeakDetector:
    """C V' = Ia max(0, tanh((u - V) / VL)) - Id tanh((V - Vref) / UT): half-wave, slews up, falls in a line (2.5 b).

    Ia = C VL / attack_s, so that the small-signal attack is `attack_s` and the attack slew VL / attack_s;
    Id = C decay_v_per_s.
    """

    attack_s: float = limited(1e-3, 20e-6, 20e-3, "s")
    """Small-signal time constant of the attack."""
    decay_v_per_s: float = limited(1.0, 0.01, 1000.0, "V/s")
    """Slope far above the reference voltage."""
    reference_v: float = limited(0.0, -0.5, 0.5, "V")
    """Where it rests."""
    capacitance_f: float = limited(5e-12, 1e-13, 1e-10, "F")
    """Integrating capacitor."""

    def __post_init__(self) -> None:
        check_limits(self)

    @property
    def inputs(self) -> tuple[str, ...]:
        """One."""
        return ("in",)

    def rest(self, process: Process) -> Float64:  # noqa: ARG002
        """The reference voltage."""
        return np.array([self.reference_v])

    def _currents_a(self, process: Process) -> tuple[float, float]:
        """Ia, Id."""
        return self.capacitance_f * process.range_v / self.attack_s, self.capacitance_f * self.decay_v_per_s

    def derivative(self, state: Float64, input_v: Float64, process: Process) -> Float64:
        """Slope in V/s."""
        attack, decay = self._currents_a(process)
        up = attack * np.maximum(np.tanh((input_v - state) / process.range_v), 0.0)
        down = decay * np.tanh((state - self.reference_v) / thermal_voltage_v(process.temperature_c))
        return np.asarray((up - down) / self.capacitance_f)

    def output(self, state: Float64, input_v: Float64, process: Process) -> Float64:  # noqa: ARG002
        """Voltage on the capacitor."""
        return np.asarray(state[0])

    def power_w(self, process: Process) -> float:
        """Supply times both tail currents."""
        return process.supply_v * sum(self._currents_a(process))

    def area_mm2(self, process: Process) -> float:
        """Capacitor, two transconductors."""
        return process.capacitor_area_mm2(self.capacitance_f) + process.ota_area_mm2(2)

    def netlist(self, name: str, process: Process) -> str:
        """Sub-circuit."""
        attack, decay = self._currents_a(process)
        up = f"{attack:.12g}*max(tanh((v(in)-v(out))/{process.range_v:.12g}),0)"
        ut = thermal_voltage_v(process.temperature_c)
        down = f"{decay:.12g}*tanh((v(out)-({self.reference_v:.12g}))/{ut:.12g})"
        return subcircuit(
            name,
            self.inputs,
            f"B1 0 out I={up}-{down}",
            capacitor("1", "out", "0", self.capacitance_f, start_v=self.reference_v),
        )


@dataclass(frozen=True, slots=True)
class AdaptiveDetector:
    """A fast full-wave envelope with ripple, then a follower that is the faster the louder it is (2.5 d):

    Vpk' = (|u| - Vpk) / (attack_s or decay_s);  tau(V) V' = Vpk - V, tau(V) = quiet_s / (1 + V / knee_v).

    After Rumberg and Graham (JSSC 47(3), 2012); this law of tau is the project's: bias I0 (1 + V / knee_v) of the
    follower, tau = C UT / (kappa I).
    """

    attack_s: float = limited(1e-3, 0.1e-3, 20e-3, "s")
    """Of the fast envelope."""
    decay_s: float = limited(5e-3, 1e-3, 0.5, "s")
    """Of the fast envelope."""
    quiet_s: float = limited(0.1, 1e-3, 1.0, "s")
    """Time constant of the follower near 0 V."""
    knee_v: float = limited(2e-3, 1e-4, 1.0, "V")
    """Envelope at which the follower is twice as fast."""
    capacitance_f: float = limited(5e-12, 1e-13, 1e-10, "F")
    """Each of the two capacitors."""
    rectifier_current_a: float = limited(10e-9, 1e-11, 1e-6, "A")
    """Bias of the full-wave rectifier (assumption, as in `EnvelopeDetectors`)."""

    def __post_init__(self) -> None:
        check_limits(self)

    @property
    def inputs(self) -> tuple[str, ...]:
        """One."""
        return ("in",)

    def rest(self, process: Process) -> Float64:  # noqa: ARG002
        """Fast envelope, output."""
        return np.zeros(2)

    def derivative(self, state: Float64, input_v: Float64, process: Process) -> Float64:  # noqa: ARG002
        """Slopes of both in V/s."""
        above_v = np.abs(input_v[0]) - state[0]
        fast = above_v / np.where(above_v > 0.0, self.attack_s, self.decay_s)
        return np.stack([fast, (state[0] - state[1]) * (1.0 + state[1] / self.knee_v) / self.quiet_s])

    def output(self, state: Float64, input_v: Float64, process: Process) -> Float64:  # noqa: ARG002
        """The follower's voltage."""
        return np.asarray(state[1])

    def power_w(self, process: Process) -> float:
        """In silence: rectifier, attack and decay C VL / tau, follower C slope / quiet_s; W."""
        rates = process.range_v * (1.0 / self.attack_s + 1.0 / self.decay_s) + process.slope_v / self.quiet_s
        return process.supply_v * (self.rectifier_current_a + self.capacitance_f * rates)

    def area_mm2(self, process: Process) -> float:
        """Two capacitors, rectifier, attack, decay and follower."""
        return process.capacitor_area_mm2(2.0 * self.capacitance_f) + process.ota_area_mm2(5)

    def netlist(self, name: str, process: Process) -> str:  # noqa: ARG002
        """Sub-circuit."""
        fast = asymmetric("abs(v(in))-v(fast)", self.capacitance_f / self.attack_s, self.capacitance_f / self.decay_s)
        speed = f"{self.capacitance_f / self.quiet_s:.12g}*(1+v(out)/{self.knee_v:.12g})"
        return subcircuit(
            name,
            self.inputs,
            f"B1 0 fast I={fast}",
            capacitor("1", "fast", "0", self.capacitance_f),
            f"B2 0 out I={speed}*(v(fast)-v(out))",
            capacitor("2", "out", "0", self.capacitance_f),
        )
