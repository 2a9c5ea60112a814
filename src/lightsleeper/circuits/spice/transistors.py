"""Transistor level: transconductors of sub-threshold MOS transistors, and the band-pass built from them.

The transistors are those of `subthreshold.cir`, a generic BSIM4 card of this project. All devices have the 20 um^2 of
gate area that `Process.ota_gate_um2` counts.
"""

import math
from dataclasses import dataclass
from enum import Enum
from importlib.resources import files

from lightsleeper.circuits.blocks import FilterBank, Process
from lightsleeper.circuits.device import KAPPA

__all__ = [
    "BandBias",
    "OtaKind",
    "band_bias",
    "transistor_band_pass",
    "transistor_preamble",
]

OPTIONS = ".options method=trap reltol=1e-4 abstol=1e-17 vntol=1e-8 chgtol=1e-20 gmin=1e-18"


class OtaKind(Enum):
    """A transconductor's circuit."""

    FIVE_TRANSISTOR = "five_transistor"
    """Differential pair, mirror load, tail: linear range VL = 2 UT / kappa (2.2)."""
    WIDE_RANGE = "wide_range"
    """The same with a diode-connected transistor under each input device, which degenerates it (Watts, Kerns, Lyon and
    Mead, JSSC 27(5) 1992; Sarpeshkar, Lyon and Mead, Analog Integr. Circ. Sig. Proc. 13, 1997)."""

    @property
    def widening(self) -> float:
        """Linear range over that of a plain pair.

        A diode below the source makes I ~ exp(kappa^2 V / ((1 + kappa) UT)): wider by (1 + kappa) / kappa.
        """
        return 1.0 if self is OtaKind.FIVE_TRANSISTOR else (1.0 + KAPPA) / KAPPA

    @property
    def noise_sources(self) -> float:
        """White output noise over 2 q I of one transistor at half the tail current; 4 in a plain pair and mirror.

        Of an arm with a diode in series either device passes on its own resistance's share of the sum, 1 : 1/kappa.
        """
        if self is OtaKind.FIVE_TRANSISTOR:
            return 4.0
        return 2.0 + 2.0 * (1.0 + KAPPA**2) / (1.0 + KAPPA) ** 2


_OTAS = {
    OtaKind.FIVE_TRANSISTOR: """\
.subckt five_transistor plus minus out vdd tail=1n
I0 vdd bias {tail}
M0 bias bias 0 0 nfet w=5u l=4u
M1 foot bias 0 0 nfet w=5u l=4u
M2 mirror plus foot 0 nfet w=5u l=4u
M3 out minus foot 0 nfet w=5u l=4u
M4 mirror mirror vdd vdd pfet w=5u l=4u
M5 out mirror vdd vdd pfet w=5u l=4u
.ends""",
    OtaKind.WIDE_RANGE: """\
.subckt wide_range plus minus out vdd tail=1n
I0 vdd bias {tail}
M0 bias bias 0 0 nfet w=5u l=4u
M1 foot bias 0 0 nfet w=5u l=4u
M2 mirror plus left 0 nfet w=10u l=2u
M3 out minus right 0 nfet w=10u l=2u
M6 left left foot 0 nfet w=20u l=1u
M7 right right foot 0 nfet w=20u l=1u
M4 mirror mirror vdd vdd pfet w=5u l=4u
M5 out mirror vdd vdd pfet w=5u l=4u
.ends""",
}


@dataclass(frozen=True)
class BandBias:
    """Tail currents of one band: of its two coupling and of its input and damping transconductors, in A."""

    coupling_a: float
    damping_a: float


def band_bias(bank: FilterBank, process: Process, band: int, kind: OtaKind) -> BandBias:
    """Tail currents VL 2 pi f0 C and 1/Q of it, VL as wide as the transconductor makes it; `band` counts from 1."""
    range_v = kind.widening * process.range_v
    coupling_a = range_v * 2.0 * math.pi * bank.center_hz[band - 1] * bank.capacitance_f
    return BandBias(coupling_a=coupling_a, damping_a=coupling_a / bank.q[band - 1])


def transistor_preamble(kind: OtaKind, process: Process) -> str:
    """Options, temperature, the card, the transconductor's sub-circuit, supply and common level at half of it."""
    card = files("lightsleeper.circuits.spice").joinpath("subthreshold.cir").read_text(encoding="utf-8")
    return "\n".join(
        [
            OPTIONS,
            f".options temp={process.temperature_c:g}",
            card.strip(),
            _OTAS[kind],
            f"V_supply vdd 0 {process.supply_v:.10g}",
            f"V_common common 0 {process.supply_v / 2.0:.10g}",
        ]
    )


def transistor_band_pass(kind: OtaKind, bias: BandBias, capacitance_f: float) -> list[str]:
    """Band-pass between the nets `input` and `output`, both around `common`, fed by `vdd`; inner node `inner`."""
    name, coupling, damping = kind.value, f"{bias.coupling_a:.10g}", f"{bias.damping_a:.10g}"
    return [
        f"X_input input common output vdd {name} tail={damping}",
        f"X_damping common output output vdd {name} tail={damping}",
        f"X_back common inner output vdd {name} tail={coupling}",
        f"X_forward output common inner vdd {name} tail={coupling}",
        f"C_output output common {capacitance_f:.10g}",
        f"C_inner inner common {capacitance_f:.10g}",
    ]
