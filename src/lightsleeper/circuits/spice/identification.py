"""What transistors do, as parameters of the behavioural model: from .op and .ac of one transconductor."""

import math
from dataclasses import dataclass

from lightsleeper.circuits.blocks import Process
from lightsleeper.circuits.spice.engine import run_ngspice
from lightsleeper.circuits.spice.netlist import circuit
from lightsleeper.circuits.spice.transistors import OtaKind, transistor_preamble

__all__ = ["IDENTIFIED_OTA", "OtaParameters", "identified_band_pass", "identify_ota"]

IDENTIFIED_OTA = """\
* Transconductor as identified: saturating, with offset, output conductance, capacitances, and a mirror that takes its
* half of the current through a capacitance, in weak inversion: the net mirror is the logarithm of its current over half
* the tail, so it is late by 2 lag at rest, faster on the way up and slower on the way down.
.subckt identified_ota plus minus out common gm=1n range=74m offset=0 skew=0 go=0 cplus=0 cminus=0 cout=0 lag=1u
B1 switch 0 V=tanh((v(plus)-v(minus)-offset)/range)
B2 0 mirror I=1+v(switch)-exp(v(mirror))
C1 mirror 0 {2*lag}
B3 0 out I=gm*range/2*(exp(v(mirror))-1+v(switch))
I1 0 out {skew}
G2 out common out common {go}
C2 plus common {cplus}
C3 minus common {cminus}
C4 out common {cout}
.ends"""

LARGE_RANGES = 6.0
"""Input difference, in linear ranges, at which a differential pair is fully switched."""


@dataclass(frozen=True)
class OtaParameters:
    """Behavioural parameters of a transconductor, in and around the common level of inputs and output.

    Iout = Gm VL tanh((V+ - V- - offset) / VL) + skew - go (Vout - Vcommon), late by `lag_s`.
    """

    gm_s: float
    """Transconductance, S."""
    range_v: float
    """Linear range VL: swing of the output current over Gm, V."""
    offset_v: float
    """Input difference at the centre of the output current's swing, V."""
    skew_a: float
    """Centre of the output current's swing, A: the mirror's error."""
    output_s: float
    """Output conductance go, S."""
    plus_f: float
    """Capacitance of the non-inverting input, F."""
    minus_f: float
    """Capacitance of the inverting input, F."""
    output_f: float
    """Capacitance of the output, F."""
    lag_s: float
    """Delay of the output current behind the input, s: the mirror's pole."""
    supply_a: float
    """Supply current without the bias branch, A."""

    @property
    def gain(self) -> float:
        """Open-loop voltage gain Gm / go."""
        return self.gm_s / self.output_s


def identify_ota(kind: OtaKind, tail_a: float, process: Process, *, frequency_hz: float) -> OtaParameters:
    """Parameters of one transconductor at its tail current, in A, and the frequency at which it will work.

    Six copies side by side, every output held at the common level: one at rest for .op, one switched to either side,
    and one driven at each of input and output for .ac.
    """
    swing_v = LARGE_RANGES * kind.widening * process.range_v
    # name: plus, minus, output (each a source against the common level).
    drives = {
        "rest": ("0", "0", "0"),
        "high": (f"{swing_v / 2:.6g}", f"{-swing_v / 2:.6g}", "0"),
        "low": (f"{-swing_v / 2:.6g}", f"{swing_v / 2:.6g}", "0"),
        "plus": ("dc 0 ac 1", "0", "0"),
        "minus": ("0", "dc 0 ac 1", "0"),
        "output": ("0", "0", "dc 0 ac 1"),
    }
    lines = []
    for name, sources in drives.items():
        for pin, source in zip(("p", "m", "o"), sources, strict=True):
            lines.append(f"V{pin}_{name} {pin}_{name} common {source}")
        lines.append(f"V_{name} vdd supply_{name} 0")
        lines.append(f"X_{name} p_{name} m_{name} o_{name} supply_{name} {kind.value} tail={tail_a:.10g}")
    analyses = [".op", f".ac lin 1 {frequency_hz:.10g} {frequency_hz:.10g}", ".save all"]
    plots = run_ngspice(circuit("Transconductor", transistor_preamble(kind, process), *lines, *analyses))
    point = next(plot for plot in plots if "Operating" in plot.name)
    small = next(plot for plot in plots if "AC" in plot.name)

    def output_a(name: str) -> float:
        return float(point.real(f"i(vo_{name})")[0])

    def admittance_s(source: str, name: str) -> complex:
        # ngspice counts a source's current into its plus pin: positive where the transconductor puts it out.
        return complex(small[f"i({source}_{name})"][0])

    omega = 2.0 * math.pi * frequency_hz
    transfer_s = admittance_s("vo", "plus")
    gm_s = transfer_s.real
    skew_a = (output_a("high") + output_a("low")) / 2.0
    return OtaParameters(
        gm_s=gm_s,
        range_v=(output_a("high") - output_a("low")) / 2.0 / gm_s,
        offset_v=-(output_a("rest") - skew_a) / gm_s,
        skew_a=skew_a,
        output_s=-admittance_s("vo", "output").real,
        plus_f=-admittance_s("vp", "plus").imag / omega,
        minus_f=-admittance_s("vm", "minus").imag / omega,
        output_f=-admittance_s("vo", "output").imag / omega,
        lag_s=-math.atan2(transfer_s.imag, gm_s) / omega,
        supply_a=float(point.real("i(v_rest)")[0]) - tail_a,
    )


def identified_band_pass(coupling: OtaParameters, damping: OtaParameters, capacitance_f: float) -> list[str]:
    """Behavioural band-pass that follows the transistors, between `input` and `output` around `common`.

    The circuit of `transistor_band_pass` with its transconductors replaced; give `IDENTIFIED_OTA` beside it.
    """
    return [
        f"X_input input common output common identified_ota {_arguments(damping)}",
        f"X_damping common output output common identified_ota {_arguments(damping)}",
        f"X_back common inner output common identified_ota {_arguments(coupling)}",
        f"X_forward output common inner common identified_ota {_arguments(coupling)}",
        f"C_output output common {capacitance_f:.10g}",
        f"C_inner inner common {capacitance_f:.10g}",
    ]


def _arguments(ota: OtaParameters) -> str:
    return (
        f"gm={ota.gm_s:.10g} range={ota.range_v:.10g} offset={ota.offset_v:.10g} skew={ota.skew_a:.10g} "
        f"go={ota.output_s:.10g} cplus={ota.plus_f:.10g} cminus={ota.minus_f:.10g} cout={ota.output_f:.10g} "
        f"lag={ota.lag_s:.10g}"
    )
