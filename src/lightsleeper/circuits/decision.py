"""The decision as large signals: a comparator with offset and delay, an integrator of two slopes between clamps."""

from dataclasses import dataclass, field

import numpy as np

from lightsleeper.circuits.block import Float64, check_limits, limited, limited_current
from lightsleeper.circuits.blocks import Comparator, Process
from lightsleeper.circuits.elements import asymmetric, capacitor, headroom, subcircuit

__all__ = ["RegenerativeComparator", "SlopeIntegrator"]


@dataclass(frozen=True, slots=True)
class RegenerativeComparator:
    """A `Comparator` with offset and a load that it must charge (2.8):

    C Vo' = Ib tanh((u - threshold - offset + hysteresis Vo / VDD) / VL), Vo within 0 and VDD.

    It rises when the input passes threshold + offset and falls below that minus the hysteresis.
    """

    comparator: Comparator = field(default_factory=Comparator)
    """Threshold, hysteresis, tail current."""
    offset_v: float = limited(0.0, -0.05, 0.05, "V")
    """N(0, s_os) over chips, s_os^2 ~ s_VTn^2 + (gm_p / gm_n)^2 s_VTp^2 (2.8)."""
    load_f: float = limited(0.1e-12, 1e-15, 1e-11, "F")
    """Load."""

    def __post_init__(self) -> None:
        check_limits(self)

    @property
    def inputs(self) -> tuple[str, ...]:
        """One."""
        return ("in",)

    def rest(self, process: Process) -> Float64:  # noqa: ARG002
        """Low."""
        return np.zeros(1)

    def derivative(self, state: Float64, input_v: Float64, process: Process) -> Float64:
        """Slope of the output in V/s."""
        parameters = self.comparator
        fed_back_v = parameters.hysteresis_v * state / process.supply_v
        difference_v = input_v - parameters.threshold_v - self.offset_v + fed_back_v
        current = parameters.current_a * np.tanh(difference_v / process.range_v)
        return np.asarray(limited_current(current, state, 0.0, process.supply_v, process) / self.load_f)

    def output(self, state: Float64, input_v: Float64, process: Process) -> Float64:  # noqa: ARG002
        """Voltage on the load, 0 to VDD."""
        return np.asarray(state[0])

    def delay_s(self, overdrive_v: float, process: Process) -> float:
        """From a step by `overdrive_v` over the threshold to half the supply: C VDD / 2 / (Ib tanh(overdrive / VL)).

        The hysteresis, which helps along, is left out: exact for overdrives far above it.
        """
        current = self.comparator.current_a * float(np.tanh(overdrive_v / process.range_v))
        return self.load_f * process.supply_v / 2.0 / current

    def power_w(self, process: Process) -> float:
        """Supply times tail current."""
        return process.supply_v * self.comparator.current_a

    def area_mm2(self, process: Process) -> float:
        """Two stages, as in `FrontEnd.area_mm2`, and the load."""
        return process.capacitor_area_mm2(self.load_f) + process.ota_area_mm2(2)

    def netlist(self, name: str, process: Process) -> str:
        """Sub-circuit."""
        parameters = self.comparator
        feedback = parameters.hysteresis_v / process.supply_v
        difference = f"v(in)-({parameters.threshold_v + self.offset_v:.12g})+{feedback:.12g}*v(out)"
        current = f"{parameters.current_a:.12g}*tanh(({difference})/{process.range_v:.12g})"
        return subcircuit(
            name,
            self.inputs,
            f"B1 0 out I={headroom(current, 'out', 0.0, process.supply_v, process)}",
            capacitor("1", "out", "0", self.load_f),
        )


@dataclass(frozen=True, slots=True)
class SlopeIntegrator:
    """C V' = Iup or Idown times tanh(u / VL), by the sign of u, V within 0 and `clamp_v` (1).

    The up slope debounces, the down slope holds (hang time); unlike the one-pole `Integrator` it keeps its value where
    the input is 0. Full drive takes it from clamp to clamp in `rise_s` and `fall_s`.
    """

    rise_s: float = limited(30e-3, 5e-3, 5.0, "s")
    """From 0 to the upper clamp at full drive."""
    fall_s: float = limited(0.3, 5e-3, 5.0, "s")
    """From the upper clamp to 0 at full drive."""
    clamp_v: float = limited(0.5, 0.1, 1.0, "V")
    """Upper clamp."""
    capacitance_f: float = limited(5e-12, 1e-13, 1e-10, "F")
    """Integrating capacitor."""

    def __post_init__(self) -> None:
        check_limits(self)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Score over its threshold."""
        return ("in",)

    def rest(self, process: Process) -> Float64:  # noqa: ARG002
        """The lower clamp."""
        return np.zeros(1)

    def _currents_a(self) -> tuple[float, float]:
        """Iup, Idown."""
        charge_c = self.capacitance_f * self.clamp_v
        return charge_c / self.rise_s, charge_c / self.fall_s

    def derivative(self, state: Float64, input_v: Float64, process: Process) -> Float64:
        """Slope in V/s."""
        up, down = self._currents_a()
        current = np.tanh(input_v / process.range_v) * np.where(input_v > 0.0, up, down)
        return np.asarray(limited_current(current, state, 0.0, self.clamp_v, process) / self.capacitance_f)

    def output(self, state: Float64, input_v: Float64, process: Process) -> Float64:  # noqa: ARG002
        """Voltage on the capacitor."""
        return np.asarray(state[0])

    def power_w(self, process: Process) -> float:
        """Supply times both tail currents."""
        return process.supply_v * sum(self._currents_a())

    def area_mm2(self, process: Process) -> float:
        """Capacitor, two transconductors."""
        return process.capacitor_area_mm2(self.capacitance_f) + process.ota_area_mm2(2)

    def netlist(self, name: str, process: Process) -> str:
        """Sub-circuit."""
        current = asymmetric(f"tanh(v(in)/{process.range_v:.12g})", *self._currents_a())
        return subcircuit(
            name,
            self.inputs,
            f"B1 0 out I={headroom(current, 'out', 0.0, self.clamp_v, process)}",
            capacitor("1", "out", "0", self.capacitance_f),
        )
