"""Gain in front of the bank: programmable in steps, or automatic and slow; both around the `Amplifier` of the stage."""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lightsleeper.circuits.block import Float64, check_limits, limited, limited_current
from lightsleeper.circuits.blocks import Amplifier, Process
from lightsleeper.circuits.device import BOLTZMANN_J_PER_K
from lightsleeper.circuits.elements import asymmetric, capacitor, headroom, subcircuit
from lightsleeper.errors import InputError

__all__ = ["AutomaticGainControl", "GainStage"]

COUPLING_F = 20e-12
"""Coupling capacitor, as counted in `FrontEnd.area_mm2`."""
NEPER_PER_DB = math.log(10.0) / 20.0


def _coupling_elements(amplifier: Amplifier) -> list[str]:
    """AC coupling from `in` to `coupled`: C R, tau = 1 / (2 pi corner)."""
    resistance = 1.0 / (2.0 * math.pi * amplifier.corner_hz * COUPLING_F)
    return [capacitor("_couple", "in", "coupled", COUPLING_F), f"R_couple coupled 0 {resistance:.12g} noisy=0"]


@dataclass(frozen=True, slots=True)
class GainStage:
    """AC coupling, gain in steps of a switched capacitor ratio, soft clip (1):

    x' = 2 pi corner (u - x);  out = clip tanh(gain (u - x + offset) / clip);
    gain = amplifier.gain 10^(-step code / 20).
    """

    amplifier: Amplifier = field(default_factory=Amplifier)
    """Largest gain, corner, clip, input noise and current."""
    step_db: float = limited(6.0, 0.5, 12.0, "dB")
    """Attenuation of one step."""
    steps: int = limited(7, 1, 31, "steps")
    """Largest code."""
    code: int = limited(0, 0, 31, "steps")
    """Steps below the largest gain, up to `steps`."""
    offset_v: float = limited(0.0, -0.05, 0.05, "V")
    """At the input, behind the coupling."""

    def __post_init__(self) -> None:
        check_limits(self)
        if self.code > self.steps:
            raise InputError(f"GainStage: code is {self.code}; choose 0 to {self.steps} steps")

    @property
    def inputs(self) -> tuple[str, ...]:
        """One."""
        return ("in",)

    @property
    def gain(self) -> float:
        """Voltage gain at this code."""
        return self.amplifier.gain * math.exp(-NEPER_PER_DB * self.step_db * self.code)

    def rest(self, process: Process) -> Float64:  # noqa: ARG002
        """Voltage on the coupling capacitor."""
        return np.zeros(1)

    def derivative(self, state: Float64, input_v: Float64, process: Process) -> Float64:  # noqa: ARG002
        """Slope in V/s."""
        return np.asarray(2.0 * math.pi * self.amplifier.corner_hz * (input_v - state))

    def output(self, state: Float64, input_v: Float64, process: Process) -> Float64:  # noqa: ARG002
        """Amplified voltage."""
        clip_v = self.amplifier.clip_v
        return np.asarray(clip_v * np.tanh(self.gain * (input_v[0] - state[0] + self.offset_v) / clip_v))

    def transfer(self, frequency_hz: Float64, process: Process) -> NDArray[np.complex128]:  # noqa: ARG002
        """gain s / (s + 2 pi corner), at no offset."""
        ratio = 1j * np.asarray(frequency_hz) / self.amplifier.corner_hz
        return np.asarray(self.gain * ratio / (1.0 + ratio))

    def noise_v(self, process: Process) -> float:  # noqa: ARG002
        """Input noise times gain, up to the amplifier's bandwidth."""
        return self.gain * self.amplifier.noise_v

    def power_w(self, process: Process) -> float:
        """What the amplifier's noise costs."""
        return process.supply_v * self.amplifier.current_a(process)

    def area_mm2(self, process: Process) -> float:
        """Coupling capacitor, which the steps divide, four transconductors and a switch a step."""
        return process.capacitor_area_mm2(COUPLING_F) + process.ota_area_mm2(4.0 + 0.2 * self.steps)

    def netlist(self, name: str, process: Process) -> str:
        """Sub-circuit."""
        four_kt = 4.0 * BOLTZMANN_J_PER_K * (process.temperature_c + 273.15)
        resistance = self.amplifier.noise_v**2 / self.amplifier.bandwidth_hz / four_kt
        clip_v = self.amplifier.clip_v
        return subcircuit(
            name,
            self.inputs,
            *_coupling_elements(self.amplifier),
            f"R_noise noise 0 {resistance:.12g}",
            f"B1 out 0 V={clip_v:.12g}"
            f"*tanh({self.gain:.12g}*(v(coupled)+v(noise)+({self.offset_v:.12g}))/{clip_v:.12g})",
        )


@dataclass(frozen=True, slots=True)
class AutomaticGainControl:
    """Amplifier whose gain slowly brings the level of its own output to a target, at a speed that no level changes.

    x' = 2 pi corner (u - x);  out = clip tanh(gain (u - x) / clip), gain = amplifier.gain exp(-Vc / slope);
    Ve' = (|out| - Ve) / (attack_s or decay_s);  C Vc' = I (Ve - target) / (Ve + target) within 0 to its range.

    The gain is a transconductor's bias, exponential in its gate voltage (2.1, slope = UT / kappa); Ve is the asymmetric
    one-pole (2.5 a); the ratio is that of a differential pair between two logarithms, tanh(ln(Ve / target) / 2) (2.2,
    2.6). I makes the gain fall by at most `fall_db_per_s` and rise by `rise_db_per_s`. It settles where both balance
    in time; the ratio saturates, so that loud sounds count by how long they last and not by how loud they are. An
    exponential control in a single slow loop: compare Baker and Sarpeshkar, JSSC 41(9), 2006.
    """

    amplifier: Amplifier = field(default_factory=lambda: Amplifier(gain=500.0))
    """Largest gain, corner, clip, input noise and current."""
    range_db: float = limited(40.0, 6.0, 60.0, "dB")
    """How far the gain can fall."""
    target_v: float = limited(5e-3, 1e-4, 0.2, "V")
    """Level at the output, as the envelope has it."""
    attack_s: float = limited(10e-3, 0.1e-3, 0.1, "s")
    """Of the envelope."""
    decay_s: float = limited(30e-3, 1e-3, 1.0, "s")
    """Of the envelope."""
    fall_db_per_s: float = limited(3.0, 0.01, 1000.0, "dB/s")
    """Largest speed at which the gain falls."""
    rise_db_per_s: float = limited(3.0, 0.01, 1000.0, "dB/s")
    """Largest speed at which the gain rises."""
    start_db: float = limited(8.0, 0.0, 60.0, "dB")
    """Attenuation before the first sample, up to `range_db`; 8 dB of a gain of 500 leave 200."""
    envelope_f: float = limited(5e-12, 1e-13, 1e-10, "F")
    """Capacitor of the envelope."""
    control_f: float = limited(10e-9, 1e-9, 1e-6, "F")
    """Capacitor of the gain, off chip: on chip 1 dB/s would need 0.04 pA for 10 pF, less than a junction leaks."""
    rectifier_current_a: float = limited(10e-9, 1e-11, 1e-6, "A")
    """Bias of rectifier and logarithms (assumption, as in `EnvelopeDetectors`)."""

    def __post_init__(self) -> None:
        check_limits(self)
        if self.start_db > self.range_db:
            raise InputError(f"AutomaticGainControl: start_db is {self.start_db:g}; choose 0 to {self.range_db:g} dB")

    @property
    def inputs(self) -> tuple[str, ...]:
        """One."""
        return ("in",)

    def attenuation(self, control_v: Float64, process: Process) -> Float64:
        """Gain over the amplifier's largest at control voltages (...)."""
        return np.asarray(np.exp(-control_v / process.slope_v))

    def volts_per_db(self, process: Process) -> float:
        """Control voltage of one decibel: 4.3 mV at 27 C."""
        return process.slope_v * NEPER_PER_DB

    def _control_currents_a(self, process: Process) -> tuple[float, float]:
        """Largest currents that make the gain fall and rise."""
        per_db_per_s = self.control_f * self.volts_per_db(process)
        return self.fall_db_per_s * per_db_per_s, self.rise_db_per_s * per_db_per_s

    def rest(self, process: Process) -> Float64:
        """Coupling capacitor, envelope, control voltage."""
        return np.array([0.0, 0.0, self.start_db * self.volts_per_db(process)])

    def derivative(self, state: Float64, input_v: Float64, process: Process) -> Float64:
        """Slopes in V/s."""
        coupled_v, envelope_v, control_v = state
        above_v = np.abs(self.output(state, input_v, process)) - envelope_v
        ratio = (envelope_v - self.target_v) / (np.maximum(envelope_v, 0.0) + self.target_v)
        fall, rise = self._control_currents_a(process)
        current = ratio * np.where(ratio > 0.0, fall, rise)
        highest_v = self.range_db * self.volts_per_db(process)
        return np.stack(
            [
                2.0 * math.pi * self.amplifier.corner_hz * (input_v[0] - coupled_v),
                above_v / np.where(above_v > 0.0, self.attack_s, self.decay_s),
                limited_current(current, control_v, 0.0, highest_v, process) / self.control_f,
            ]
        )

    def output(self, state: Float64, input_v: Float64, process: Process) -> Float64:
        """Amplified voltage."""
        gain = self.amplifier.gain * self.attenuation(state[2], process)
        clip_v = self.amplifier.clip_v
        return np.asarray(clip_v * np.tanh(gain * (input_v[0] - state[0]) / clip_v))

    def power_w(self, process: Process) -> float:
        """Amplifier, rectifier, envelope C VL / tau, control currents; W."""
        envelope = self.envelope_f * process.range_v * (1.0 / self.attack_s + 1.0 / self.decay_s)
        control = sum(self._control_currents_a(process))
        return process.supply_v * (self.amplifier.current_a(process) + self.rectifier_current_a + envelope + control)

    def area_mm2(self, process: Process) -> float:
        """Capacitors of coupling and envelope, nine transconductors; the control capacitor is off chip."""
        return process.capacitor_area_mm2(COUPLING_F + self.envelope_f) + process.ota_area_mm2(9)

    def netlist(self, name: str, process: Process) -> str:
        """Sub-circuit."""
        fall, rise = self._control_currents_a(process)
        envelope = asymmetric(
            "abs(v(out))-v(envelope)", self.envelope_f / self.attack_s, self.envelope_f / self.decay_s
        )
        target = f"{self.target_v:.12g}"
        current = asymmetric(f"(v(envelope)-{target})/(max(v(envelope),0)+{target})", fall, rise)
        highest_v = self.range_db * self.volts_per_db(process)
        clip_v = f"{self.amplifier.clip_v:.12g}"
        gain = f"{self.amplifier.gain:.12g}*exp(-v(control)/{process.slope_v:.12g})"
        return subcircuit(
            name,
            self.inputs,
            *_coupling_elements(self.amplifier),
            f"B1 out 0 V={clip_v}*tanh({gain}*v(coupled)/{clip_v})",
            f"B2 0 envelope I={envelope}",
            capacitor("_envelope", "envelope", "0", self.envelope_f),
            f"B3 0 control I={headroom(current, 'control', 0.0, highest_v, process)}",
            capacitor("_control", "control", "0", self.control_f, start_v=float(self.rest(process)[2])),
        )
