"""Second-order filters of two states: gm-C band-pass and low-pass with output conductance, and the C4 band-pass."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lightsleeper.circuits.block import Float64, check_limits, limited, state_variance
from lightsleeper.circuits.blocks import Process
from lightsleeper.circuits.device import ota_noise_density_a2_per_hz
from lightsleeper.circuits.elements import capacitor, subcircuit, transconductor
from lightsleeper.errors import InputError

__all__ = ["C4BandPass", "GmCFilter"]


@dataclass(frozen=True, slots=True)
class GmCFilter:
    """Two-integrator gm-C filter (2.3), f = L VL tanh(. / (L VL)):

    C Vo' = Gin f(Vin) - Gd f(Vo) - G f(Vx) - go1 Vo;  C Vx' = G f(Vo) - go2 Vx.

    The band-pass is Vo with Gin = Gd (unity peak), the low-pass Vx with Gin = G (unity at DC), both but for the
    output conductances: go1 = (Gin + Gd + G) / dc_gain, go2 = G / dc_gain.
    """

    kind: Literal["band_pass", "low_pass"] = "band_pass"
    center_hz: float = limited(1000.0, 1.0, 100e3, "Hz")
    """w0 = G / C over 2 pi."""
    q: float = limited(2.0, 0.5, 5.0, "")
    """Quality factor G / Gd without output conductance."""
    capacitance_f: float = limited(10e-12, 1e-13, 1e-10, "F")
    """Each of the two capacitors."""
    linearisation: float = limited(1.0, 1.0, 4.0, "")
    """Factor L on the linear range and on the bias current (2.2)."""
    dc_gain: float = limited(200.0, 5.0, math.inf, "V/V")
    """Gm over output conductance of each transconductor; infinite is ideal."""

    def __post_init__(self) -> None:
        check_limits(self)
        if self.kind not in ("band_pass", "low_pass"):
            raise InputError(f"GmCFilter: kind is {self.kind}; choose band_pass or low_pass")

    @property
    def inputs(self) -> tuple[str, ...]:
        """One."""
        return ("in",)

    def range_v(self, process: Process) -> float:
        """Linear range L VL, V."""
        return self.linearisation * process.range_v

    def _conductances_s(self) -> tuple[float, float, float]:
        """Gin, Gd, G in A/V."""
        coupling = 2.0 * math.pi * self.center_hz * self.capacitance_f
        damping = coupling / self.q
        return (damping if self.kind == "band_pass" else coupling), damping, coupling

    def _leaks_s(self) -> tuple[float, float]:
        """Output conductances go1, go2 in A/V."""
        conductances = self._conductances_s()
        return sum(conductances) / self.dc_gain, conductances[2] / self.dc_gain

    def rest(self, process: Process) -> Float64:  # noqa: ARG002
        """Vo, Vx."""
        return np.zeros(2)

    def derivative(self, state: Float64, input_v: Float64, process: Process) -> Float64:
        """Slopes of Vo and Vx in V/s."""
        range_v = self.range_v(process)
        (drive, damping, coupling), (leak_o, leak_x) = self._conductances_s(), self._leaks_s()
        into, out, inner = (range_v * np.tanh(v / range_v) for v in (input_v[0], state[0], state[1]))
        current_o = drive * into - damping * out - coupling * inner - leak_o * state[0]
        current_x = coupling * out - leak_x * state[1]
        return np.stack([current_o, current_x]) / self.capacitance_f

    def output(self, state: Float64, input_v: Float64, process: Process) -> Float64:  # noqa: ARG002
        """Vo of a band-pass, Vx of a low-pass."""
        return np.asarray(state[0 if self.kind == "band_pass" else 1])

    def transfer(self, frequency_hz: Float64, process: Process) -> NDArray[np.complex128]:  # noqa: ARG002
        """Gin (s C + go2) or Gin G over ((s C + Gd + go1)(s C + go2) + G^2)."""
        (drive, damping, coupling), (leak_o, leak_x) = self._conductances_s(), self._leaks_s()
        sc = 2j * math.pi * np.asarray(frequency_hz) * self.capacitance_f
        below = (sc + damping + leak_o) * (sc + leak_x) + coupling**2
        return np.asarray(drive * ((sc + leak_x) if self.kind == "band_pass" else coupling) / below)

    def noise_v(self, process: Process) -> float:
        """White noise of the four transconductors on both capacitors; 2 gamma L kT/C (1 + Q) for an ideal band-pass."""
        (drive, damping, coupling), (leak_o, leak_x) = self._conductances_s(), self._leaks_s()
        matrix = np.array([[-(damping + leak_o), -coupling], [coupling, -leak_x]]) / self.capacitance_f
        density = ota_noise_density_a2_per_hz(self.range_v(process))
        currents = np.array([drive + damping + coupling, coupling]) * density
        index = 0 if self.kind == "band_pass" else 1
        return math.sqrt(state_variance(matrix, currents / self.capacitance_f**2)[index, index])

    def power_w(self, process: Process) -> float:
        """Supply times the tail currents of Gin, Gd and the two G."""
        drive, damping, coupling = self._conductances_s()
        return process.supply_v * self.range_v(process) * (drive + damping + 2.0 * coupling)

    def area_mm2(self, process: Process) -> float:
        """Two capacitors, four transconductors."""
        return process.capacitor_area_mm2(2.0 * self.capacitance_f) + process.ota_area_mm2(4.0 * self.linearisation)

    def netlist(self, name: str, process: Process) -> str:
        """Sub-circuit."""
        (drive, damping, coupling), leaks = self._conductances_s(), self._leaks_s()
        out, inner = ("out", "inner") if self.kind == "band_pass" else ("inner", "out")
        wires = (
            ("in", "0", out, drive),
            ("0", out, out, damping),
            ("0", inner, out, coupling),
            (out, "0", inner, coupling),
        )
        return subcircuit(
            name,
            self.inputs,
            *(
                transconductor(
                    str(number),
                    plus,
                    minus,
                    net,
                    conductance_s=gm,
                    process=process,
                    linearisation=self.linearisation,
                )
                for number, (plus, minus, net, gm) in enumerate(wires, 1)
            ),
            *(f"G_leak_{net} {net} 0 {net} 0 {leak:.12g}" for net, leak in zip((out, inner), leaks, strict=True)),
            *(capacitor(f"_{net}", net, "0", self.capacitance_f) for net in (out, inner)),
        )


@dataclass(frozen=True, slots=True)
class C4BandPass:
    """Capacitively coupled current conveyor, an inverting band-pass of two transconductors (2.4).

    CT V1' - C2 Vo' = I2 + C1 Vin';  CO Vo' - C2 V1' = I1;  CT = C1 + C2 + CW, CO = C2 + CL;
    I1 = Ib1 tanh((Vref - V1) / VL1), I2 = Ib2 tanh((Vo - V1) / VL2), Vref mid-supply.

    The states are the charges CT V1 - C2 Vo - C1 Vin and CO Vo - C2 V1, so that no slope of the input is needed.
    Default capacitors: those of a field-programmable analog array (2.4).
    """

    center_hz: float = limited(1000.0, 1.0, 100e3, "Hz")
    """w0 = sqrt(G1 G2 / D) over 2 pi, D = CT CO - C2^2."""
    q: float = limited(0.8, 0.05, 5.0, "")
    """At most `largest_q`; of the two ratios G1 / G2 that give it the larger is taken, for its gain."""
    input_f: float = limited(384e-15, 1e-14, 1e-10, "F")
    """C1; gain in the pass band towards -C1 / C2."""
    feedback_f: float = limited(160e-15, 1e-14, 1e-10, "F")
    """C2."""
    wide_f: float = limited(160e-15, 0.0, 1e-10, "F")
    """CW, from the inner node to ground."""
    load_f: float = limited(600e-15, 1e-14, 1e-10, "F")
    """CL."""
    forward_linearisation: float = limited(1.0, 1.0, 10.0, "")
    """Factor on the linear range of the amplifying transconductor, VL1."""
    feedback_linearisation: float = limited(100.0 / 22.0, 1.0, 10.0, "")
    """Factor on that of the feedback transconductor, VL2: an input divider 100/22."""

    def __post_init__(self) -> None:
        check_limits(self)
        if self.q > self.largest_q:
            raise InputError(
                f"C4BandPass: q is {self.q:g}; these capacitors allow {self.largest_q:.3g} at most: take a larger "
                "input_f or wide_f, or cascade two"
            )

    @property
    def inputs(self) -> tuple[str, ...]:
        """One."""
        return ("in",)

    @property
    def _capacitors_f(self) -> tuple[float, float, float]:
        """CT, CO and D = CT CO - C2^2, in F and F^2."""
        total, output = self.input_f + self.feedback_f + self.wide_f, self.feedback_f + self.load_f
        return total, output, total * output - self.feedback_f**2

    @property
    def largest_q(self) -> float:
        """Qmax = sqrt(D) / (2 sqrt(CL C2))."""
        return math.sqrt(self._capacitors_f[2] / (4.0 * self.load_f * self.feedback_f))

    def conductances_s(self) -> tuple[float, float]:
        """G1 and G2 in A/V, from w0 = sqrt(G1 G2 / D) and Q = sqrt(D G1 G2) / (G2 CL + G1 C2)."""
        determinant = self._capacitors_f[2]
        product = (2.0 * math.pi * self.center_hz) ** 2 * determinant
        half = math.sqrt(determinant) / (2.0 * self.q * self.feedback_f)
        root = half + math.sqrt(max(half**2 - self.load_f / self.feedback_f, 0.0))
        return math.sqrt(product) * root, math.sqrt(product) / root

    def _ranges_v(self, process: Process) -> tuple[float, float]:
        """VL1, VL2."""
        return self.forward_linearisation * process.range_v, self.feedback_linearisation * process.range_v

    def _voltages(self, state: Float64, input_v: Float64) -> tuple[Float64, Float64]:
        """V1 and Vo from the charges."""
        total, output, determinant = self._capacitors_f
        inner_c = state[0] + self.input_f * input_v[0]
        return (
            (output * inner_c + self.feedback_f * state[1]) / determinant,
            (self.feedback_f * inner_c + total * state[1]) / determinant,
        )

    def rest(self, process: Process) -> Float64:  # noqa: ARG002
        """Charges in C."""
        return np.zeros(2)

    def derivative(self, state: Float64, input_v: Float64, process: Process) -> Float64:
        """Currents I2 and I1 in A."""
        inner_v, output_v = self._voltages(state, input_v)
        (forward, feedback), (range_1, range_2) = self.conductances_s(), self._ranges_v(process)
        return np.stack(
            [
                feedback * range_2 * np.tanh((output_v - inner_v) / range_2),
                forward * range_1 * np.tanh(-inner_v / range_1),
            ]
        )

    def output(self, state: Float64, input_v: Float64, process: Process) -> Float64:  # noqa: ARG002
        """Vo."""
        return self._voltages(state, input_v)[1]

    def transfer(self, frequency_hz: Float64, process: Process) -> NDArray[np.complex128]:  # noqa: ARG002
        """-(C1 / C2) s tl (1 - s tf) / (s^2 th tl + s (tl + tf CL / C2) + 1), with its right-half-plane zero (2.4)."""
        forward, feedback = self.conductances_s()
        s = 2j * math.pi * np.asarray(frequency_hz)
        slow, fast = self.feedback_f / feedback, self.feedback_f / forward
        high = self._capacitors_f[2] / (self.feedback_f * forward)
        below = s**2 * high * slow + s * (slow + fast * self.load_f / self.feedback_f) + 1.0
        return np.asarray(-(self.input_f / self.feedback_f) * s * slow * (1.0 - s * fast) / below)

    def noise_v(self, process: Process) -> float:
        """White noise 4 q Ib = 4 k T gamma L G (2.2) of both transconductors."""
        total, output, determinant = self._capacitors_f
        forward, feedback = self.conductances_s()
        to_voltages = np.array([[output, self.feedback_f], [self.feedback_f, total]]) / determinant
        matrix = np.array([[-feedback, feedback], [-forward, 0.0]]) @ to_voltages
        range_1, range_2 = self._ranges_v(process)
        tails_a = (feedback * range_2, forward * range_1)
        density = np.array([ota_noise_density_a2_per_hz(tail_a) for tail_a in tails_a])
        variance = to_voltages @ state_variance(matrix, density) @ to_voltages.T
        return math.sqrt(variance[1, 1])

    def power_w(self, process: Process) -> float:
        """Supply times both tail currents G VL."""
        pairs = zip(self.conductances_s(), self._ranges_v(process), strict=True)
        return process.supply_v * sum(gm * range_v for gm, range_v in pairs)

    def area_mm2(self, process: Process) -> float:
        """Four capacitors, two transconductors."""
        capacitance_f = self.input_f + self.feedback_f + self.wide_f + self.load_f
        return process.capacitor_area_mm2(capacitance_f) + process.ota_area_mm2(
            self.forward_linearisation + self.feedback_linearisation
        )

    def netlist(self, name: str, process: Process) -> str:
        """Sub-circuit."""
        forward, feedback = self.conductances_s()
        first, second = self.forward_linearisation, self.feedback_linearisation
        return subcircuit(
            name,
            self.inputs,
            transconductor("1", "0", "inner", "out", conductance_s=forward, process=process, linearisation=first),
            transconductor("2", "out", "inner", "inner", conductance_s=feedback, process=process, linearisation=second),
            capacitor("1", "in", "inner", self.input_f),
            capacitor("2", "inner", "out", self.feedback_f),
            capacitor("w", "inner", "0", self.wide_f),
            capacitor("l", "out", "0", self.load_f),
        )
