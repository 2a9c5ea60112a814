"""The first stage as one chip has it: every block with the values of its own devices at its own temperature.

Sections are those of the analog circuits reference (2.2 transconductor, 2.7 weights, 2.9 mismatch, 2.11 temperature).
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lightsleeper.circuits.blocks import (
    TIME_NAMES,
    Amplifier,
    Comparator,
    EnvelopeDetectors,
    Integrator,
    NeuralNetwork,
)
from lightsleeper.circuits.chip import Chip
from lightsleeper.circuits.draw import Draw
from lightsleeper.circuits.trim import Trim

if TYPE_CHECKING:
    from lightsleeper.circuits.frontend import FrontEnd

__all__ = ["Built", "build", "filter_offsets"]

Float64 = NDArray[np.float64]

KELVIN = 273.15
AMPLIFIER_F = 20e-12
"""Input capacitor of the amplifier (`FrontEnd.area_mm2`); the feedback capacitor is smaller by the gain."""
BIAS_PER_SUPPLY_V = 0.02
"""Relative change of all currents per volt of supply (assumption: a cascoded reference)."""


@dataclass(frozen=True, slots=True, eq=False)
class Built:
    """A first stage as a chip has it: B bands, I = 3 B inputs of the network, N neurons.

    Attributes:
        frontend: the blocks with the values that they have here; the bank is nominal.
        ratios: (4, B) transconductances Gin, Gd, G1, G2 of the filters over their nominal values.
        filter_offset_v: (4, B) their input offsets, V.
        detector_offset_v: (B,) input offset of each rectifier, V.
        envelope_offset_v: (I,) output offset of each follower, V; fast, slow, floor of all bands.
        knee_v: (I,) knee of each logarithm, V.
        log_offset_v: (I,) its output offset, V.
        neuron_gain: (N,) output swing of each neuron over nominal.
        neuron_offset_v: (N,) output offset of each neuron's follower, V.
        output_gain: output swing of the output neuron over nominal.
        integrator_offset_v: input offset of the integrator, V.
    """

    frontend: "FrontEnd"
    ratios: Float64
    filter_offset_v: Float64
    detector_offset_v: Float64
    envelope_offset_v: Float64
    knee_v: Float64
    log_offset_v: Float64
    neuron_gain: Float64
    neuron_offset_v: Float64
    output_gain: float
    integrator_offset_v: float

    @property
    def center_hz(self) -> Float64:
        """Centre frequency of each band, sqrt(G1 G2) / (2 pi C), Hz."""
        return np.asarray(self.frontend.bank.center_hz * np.sqrt(self.ratios[2] * self.ratios[3]))

    @property
    def q(self) -> Float64:
        """Quality factor of each band, sqrt(G1 G2) / Gd."""
        return np.asarray(self.frontend.bank.q * np.sqrt(self.ratios[2] * self.ratios[3]) / self.ratios[1])

    @property
    def peak_gain(self) -> Float64:
        """Gain of each band at its centre, Gin / Gd."""
        return np.asarray(self.ratios[0] / self.ratios[1])


def build(frontend: "FrontEnd", chip: Chip) -> Built:
    """The stage as `chip` has it.

    Reference voltages (biases of the neurons, threshold, hysteresis) are programmed as fractions of tail currents, and
    the logarithms' knees are ratios of currents to transconductances: all go with the linear range, hence with T.
    """
    return _Builder(frontend, chip).build()


def filter_offsets(built: Built, substep_rate_hz: NDArray[np.floating]) -> tuple[Float64, Float64]:
    """What the offsets of filters and rectifiers add per substep, and to what the rectifiers hear, in linear ranges.

    With e the input offsets of Gin, Gd, G1, G2, the state that the loop holds at rest is Vo + e_G2. In it the others
    are a constant current Gin e_Gin - Gd (e_Gd - e_G2) - G1 e_G1 into the output, to first order in e over the range.

    Returns:
        (bands,) for the kernel's "bias" and "offset".
    """
    bank = built.frontend.bank
    range_v = bank.range_v(built.frontend.process)
    drive_v, damping_v, outward_v, inward_v = built.filter_offset_v
    drive, damping, outward, _ = built.ratios
    by_q = 1.0 / np.asarray(bank.q)
    current_v = by_q * (drive * drive_v - damping * (damping_v - inward_v)) - outward * outward_v
    angle = 2.0 * math.pi * np.asarray(bank.center_hz) / substep_rate_hz
    return angle * current_v / range_v, (built.detector_offset_v - inward_v) / range_v


class _Builder:
    """Block by block."""

    def __init__(self, frontend: "FrontEnd", chip: Chip) -> None:
        nominal = frontend.process
        supply_v = nominal.supply_v if chip.supply_v is None else chip.supply_v
        self.frontend, self.chip = frontend, chip
        self.process = dataclasses.replace(nominal, temperature_c=chip.temperature_c, supply_v=supply_v)
        self.draw = Draw(seed=chip.seed, effects=chip.effects, mismatch=chip.mismatch, process=self.process)
        self.trim = chip.trim or Trim.neutral(frontend.bank.bands, frontend.network.neurons)
        self.warmth = (chip.temperature_c + KELVIN) / (nominal.temperature_c + KELVIN)
        common = self.draw.relative("bias", "bias", (), chip.mismatch.bias)
        self.current = float(common) * (1.0 + BIAS_PER_SUPPLY_V * (supply_v - nominal.supply_v))
        if chip.bias_law == "ptat":
            self.current *= self.warmth
        self.speed = self.current / self.warmth  # of transconductances: Gm = I / VL, VL goes with T (2.11)

    def build(self) -> Built:
        draw, trim, warmth = self.draw, self.trim, self.warmth
        bands, neurons = self.frontend.bank.bands, self.frontend.network.neurons
        inputs = 3 * bands
        ratios, filter_offset_v = self._filters()
        blocks = dataclasses.replace(
            self.frontend,
            process=self.process,
            amplifier=self._amplifier(),
            envelopes=self._envelopes(),
            network=self._network(),
            integrator=self._integrator(),
            comparator=self._comparator(),
        )
        return Built(
            frontend=blocks,
            ratios=ratios,
            filter_offset_v=filter_offset_v,
            detector_offset_v=draw.offsets("detectors", "rectifiers", (bands,)) + trim.value("detector_v"),
            envelope_offset_v=draw.offsets("detectors", "followers", (inputs,)) + trim.value("envelope_v"),
            knee_v=self.frontend.compressor.knee_v * warmth * draw.currents("logarithms", "knees", (inputs,)),
            log_offset_v=draw.offsets("logarithms", "diodes", (inputs,)),
            neuron_gain=draw.currents("neurons", "tails", (neurons,)) * (1.0 + trim.value("swing")),
            neuron_offset_v=draw.offsets("neurons", "followers", (neurons,)),
            output_gain=float(draw.currents("neurons", "output tail", ())),
            integrator_offset_v=float(draw.offsets("comparator", "integrator", ())),
        )

    def _filters(self) -> tuple[Float64, Float64]:
        """Ratios and input offsets of Gin, Gd, G1, G2."""
        bank = self.frontend.bank
        at_output, inside = self.draw.capacitors("capacitors", "filters", (2, bank.bands), bank.capacitance_f)
        over = np.stack([at_output, at_output, at_output, inside])
        mismatch = self.draw.currents("filters", "filters", (4, bank.bands))
        ratios = self.speed * mismatch / over * self.trim.ratios()
        offset_v = self.draw.offsets("filter_offsets", "filters", (4, bank.bands))
        if self.chip.systematic is None:
            return ratios, offset_v
        more_ratios, more_v = self.chip.systematic.arrays(bank.bands)
        return ratios * more_ratios, offset_v + more_v

    def _amplifier(self) -> Amplifier:
        amplifier, draw = self.frontend.amplifier, self.draw
        feedback = draw.capacitors("amplifier", "feedback", (), AMPLIFIER_F / amplifier.gain)
        corner = draw.relative("amplifier", "corner", (), self.chip.mismatch.coupling_corner)
        return dataclasses.replace(
            amplifier,
            gain=float(amplifier.gain / feedback),
            corner_hz=float(amplifier.corner_hz * corner),
            clip_v=amplifier.clip_v * self.process.supply_v / self.frontend.process.supply_v,
            noise_v=amplifier.noise_v * self.warmth / math.sqrt(self.current),  # definition of NEF
        )

    def _envelopes(self) -> EnvelopeDetectors:
        envelopes, draw = self.frontend.envelopes, self.draw
        bands = self.frontend.bank.bands
        # Both directions of a follower charge one capacitor.
        held = np.repeat(draw.capacitors("capacitors", "envelopes", (3, bands), envelopes.capacitance_f), 2, axis=0)
        rates = self.speed * draw.currents("time_constants", "envelopes", (len(TIME_NAMES), bands))
        times_s = (envelopes.times_s() * held / rates).tolist()
        values = {name: tuple(row) for name, row in zip(TIME_NAMES, times_s, strict=True)}
        return dataclasses.replace(envelopes, **values)  # type: ignore[arg-type]  # six names of tuples

    def _network(self) -> NeuralNetwork:
        network, draw, trim, years = self.frontend.network, self.draw, self.trim, self.chip.years
        shape = (network.neurons,)
        held = draw.capacitors("capacitors", "neurons", shape, network.capacitance_f)
        rates = self.speed * draw.currents("time_constants", "neurons", shape)
        biases_v = self.warmth * network.hidden_bias_v * draw.programmed("hidden bias", shape, years)
        bias_v = self.warmth * network.output_bias_v * float(draw.programmed("output bias", (), years))
        return dataclasses.replace(
            network,
            hidden_weight=self._weights("hidden", network.hidden_weight),
            hidden_bias_v=biases_v + draw.offsets("neurons", "hidden", shape) + trim.value("neuron_v"),
            neuron_s=network.neuron_s * held / rates,
            output_weight=self._weights("output", network.output_weight),
            output_bias_v=bias_v + float(draw.offsets("neurons", "output", ())),
        )

    def _weights(self, name: str, target: Float64) -> Float64:
        """Programmed weights; those that are differences of charges become w^(T0/T) (2.7)."""
        power = 1.0 / self.warmth if self.chip.weight_law == "charge" else 1.0
        size = np.abs(target) ** power if power != 1.0 else np.abs(target)
        ratio = self.draw.programmed(f"{name} weight", target.shape, self.chip.years)
        return np.asarray(np.sign(target) * size * ratio)

    def _integrator(self) -> Integrator:
        integrator, draw = self.frontend.integrator, self.draw
        held = draw.capacitors("capacitors", "integrator", (), integrator.capacitance_f)
        up, down = held / (self.speed * draw.currents("time_constants", "integrator", (2,)))
        return dataclasses.replace(
            integrator, rise_s=float(integrator.rise_s * up), fall_s=float(integrator.fall_s * down)
        )

    def _comparator(self) -> Comparator:
        comparator, draw = self.frontend.comparator, self.draw
        offset_v = float(draw.offsets("comparator", "comparator", ())) + float(self.trim.value("threshold_v"))
        width = float(draw.currents("comparator", "hysteresis", ()))
        return dataclasses.replace(
            comparator,
            threshold_v=self.warmth * comparator.threshold_v + offset_v,
            hysteresis_v=self.warmth * comparator.hysteresis_v * width,
        )
