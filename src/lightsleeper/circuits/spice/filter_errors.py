"""What transistors make of the band-passes, as parameters of the simulator."""

import cmath
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lightsleeper.circuits.frontend import FrontEnd
from lightsleeper.circuits.spice.identification import OtaParameters, identify_ota
from lightsleeper.circuits.spice.transistors import OtaKind, band_bias
from lightsleeper.circuits.systematic import FilterErrors

__all__ = ["IdentifiedBand", "filter_errors", "identify_band", "identify_filters"]

NEWTON_STEPS = 20


@dataclass(frozen=True)
class IdentifiedBand:
    """A band-pass of two identified transconductors in the small-signal limit.

    With the nets' capacitances Co, Ci and leaks o, i, and both integrators late by their mirrors,
    D(s) = (s Co + Gd exp(-s ld) + o)(s Ci + i) + G^2 exp(-2 s l), H = Gin exp(-s ld)(s Ci + i) / D.

    Attributes:
        coupling: transconductor of G1 and G2.
        damping: of Gin and Gd.
        capacitance_f: of each drawn capacitor, F.
    """

    coupling: OtaParameters
    damping: OtaParameters
    capacitance_f: float

    @property
    def output_f(self) -> float:
        """All capacitance of the output net: input and damping put out there, G1 too; Gd and G2 listen."""
        inputs_f = self.damping.minus_f + self.coupling.plus_f
        return self.capacitance_f + 2.0 * self.damping.output_f + self.coupling.output_f + inputs_f

    @property
    def inner_f(self) -> float:
        """All capacitance of the inner net."""
        return self.capacitance_f + self.coupling.output_f + self.coupling.minus_f

    def _factors(self, s: complex) -> tuple[complex, complex]:
        """Admittances of the output and of the inner net, S."""
        leak_s = 2.0 * self.damping.output_s + self.coupling.output_s
        damped_s = self.damping.gm_s * cmath.exp(-s * self.damping.lag_s)
        return s * self.output_f + damped_s + leak_s, s * self.inner_f + self.coupling.output_s

    def _determinant(self, s: complex) -> complex:
        output_s, inner_s = self._factors(s)
        return output_s * inner_s + self.coupling.gm_s**2 * cmath.exp(-2.0 * s * self.coupling.lag_s)

    def pole(self) -> complex:
        """The pole in the upper half plane, 1/s, by Newton's method from that of the two capacitors alone."""
        omega = self.coupling.gm_s / math.sqrt(self.output_f * self.inner_f)
        s = omega * cmath.exp(1j * (math.pi - math.acos(0.5 * self.damping.gm_s / self.coupling.gm_s)))
        for _ in range(NEWTON_STEPS):
            near = 1e-6 * s
            slope = (self._determinant(s + near) - self._determinant(s - near)) / (2.0 * near)
            s -= self._determinant(s) / slope
        return s

    def transfer(self, frequency_hz: float) -> complex:
        """H at a frequency."""
        s = 2j * math.pi * frequency_hz
        drive_s = self.damping.gm_s * cmath.exp(-s * self.damping.lag_s)
        return drive_s * self._factors(s)[1] / self._determinant(s)

    def ratios(self, center_hz: float, q: float) -> tuple[float, float, float, float]:
        """Gin, Gd, G1, G2 over those of a nominal band that have the same pole and the same gain at its centre."""
        pole = self.pole()
        center = abs(pole) / (2.0 * math.pi * center_hz)
        damping = -2.0 * pole.real / abs(pole) * center * q
        drive = damping * abs(self.transfer(abs(pole) / (2.0 * math.pi)))
        outward = self.coupling.gm_s / (2.0 * math.pi * center_hz * self.output_f)
        return drive, damping, outward, center**2 / outward

    def offsets_v(self) -> tuple[float, float, float, float]:
        """Input offsets of Gin, Gd, G1, G2, V, with the sign that adds to what each of them hears.

        The mirror's error counts as an offset of the input that puts out as much. Gin and G2 hear at their plus pin.
        The leak of the inner net, which G2 must feed at rest, counts as an offset of G2.
        """
        damping_v, coupling_v = (each.offset_v - each.skew_a / each.gm_s for each in (self.damping, self.coupling))
        over_q = self.damping.gm_s / self.coupling.gm_s
        inner_v = -coupling_v - over_q * (2.0 * damping_v + coupling_v)
        return -damping_v, damping_v, coupling_v, -coupling_v - inner_v / self.coupling.gain


def identify_filters(frontend: FrontEnd, kind: OtaKind) -> FilterErrors:
    """Errors of all band-passes made of one kind of transconductor, for `Chip`; two runs of ngspice a band.

    Centre frequency, Q, gain and offset are those of the transistors at small signals. Left out: that the transistors
    saturate a few percent later than the nominal linear range says, and the mirror of the input transconductor, which
    delays by microseconds and weakens sound far above a low band.

    Args:
        frontend: the stage; a wide-range transconductor wants its widening as the bank's `linearisation`.
        kind: the transconductor.

    Raises:
        MissingToolError: ngspice is not installed.
        SpiceError: it failed.
    """
    return filter_errors(frontend, {band: identify_band(frontend, band, kind) for band in range(frontend.bank.bands)})


def filter_errors(frontend: FrontEnd, found: Mapping[int, IdentifiedBand]) -> FilterErrors:
    """Errors of the identified bands, counted from 0; the others have none."""
    bank = frontend.bank
    ratios, offset_v = np.ones((4, bank.bands)), np.zeros((4, bank.bands))
    for band, each in found.items():
        ratios[:, band] = each.ratios(bank.center_hz[band], bank.q[band])
        offset_v[:, band] = each.offsets_v()
    return FilterErrors(ratios=tuple(map(tuple, ratios.tolist())), offset_v=tuple(map(tuple, offset_v.tolist())))


def identify_band(frontend: FrontEnd, band: int, kind: OtaKind) -> IdentifiedBand:
    """Both transconductors of one band, counted from 0, at their own bias and frequency."""
    bias = band_bias(frontend.bank, frontend.process, band + 1, kind)
    coupling, damping = (
        identify_ota(kind, tail_a, frontend.process, frequency_hz=frontend.bank.center_hz[band])
        for tail_a in (bias.coupling_a, bias.damping_a)
    )
    return IdentifiedBand(coupling, damping, frontend.bank.capacitance_f)
