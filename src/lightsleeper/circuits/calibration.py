"""Calibration as a factory does it: measure each chip at one temperature, set its trims, never touch it again.

First what test tones and a muted input show at the analog test points: centre frequency, Q and gain of each band,
offsets of rectifiers and followers, swing of the neurons. Then, while the chip hears a test sequence, the biases of the
neurons are set until their means are those of the nominal stage; last the threshold, by what the integrator reaches
where the decision is close.
"""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lightsleeper.circuits.built import Built, build
from lightsleeper.circuits.chip import Chip
from lightsleeper.circuits.rates import CONTROL_RATE_HZ
from lightsleeper.circuits.stream import FrontEndStream
from lightsleeper.circuits.trim import Trim, TrimRange
from lightsleeper.errors import InputError

if TYPE_CHECKING:
    from lightsleeper.circuits.frontend import FrontEnd

__all__ = ["Factory"]

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
SETTLE_S = 5.0
"""Beginning of the test sequence that is not measured: the floor followers take seconds."""
PEAK_S = 2.0
"""The sequence is cut into stretches of this length; of each the integrator's highest voltage counts."""
CLOSE_SHARE = 0.1
"""Share of the stretches, those whose peak lies next to the threshold in the nominal stage, that set the threshold."""
CHUNK_S = 30.0
"""Simulated at once: minutes of many chips side by side would take gigabytes."""


@dataclass(frozen=True, slots=True, eq=False)
class _Marks:
    """What the nominal stage makes of the sequence, for each row's noise.

    Attributes:
        drive: (rows, neurons) mean of each neuron between its rails, -1 to 1.
        peak_v: (rows, stretches) highest integral of every stretch of `PEAK_S`.
    """

    drive: Float64
    peak_v: Float32

    def first(self, rows: int) -> "_Marks":
        """Of the first rows."""
        return _Marks(self.drive[:rows], self.peak_v[:rows])


class Factory:
    """Trims chips of one design; the nominal stage hears the test sequence once, for all of them.

    Args:
        frontend: the design; the factory is at its process temperature and supply, and the charges are fresh.
        sequence_v: (T,) the test sequence in V at the microphone, over 10 s: the sounds that the stage is made for.
        rate_hz: its sample rate.
        rows: most chips that are trimmed side by side; rows x bands at most 128. Half an hour of sequence takes 90 MB
            of memory a row of eight bands.
        noise_seed: of the circuit's noise while it is heard, row by row; None is noiseless.
        trim_range: bits and reach of every trim.

    Raises:
        InputError: the sequence is too short, or the nominal stage does not wake in it.
    """

    def __init__(
        self,
        frontend: "FrontEnd",
        sequence_v: NDArray[np.floating],
        rate_hz: float,
        *,
        rows: int,
        noise_seed: int | None = None,
        trim_range: TrimRange | None = None,
    ) -> None:
        if len(sequence_v) < 2.0 * SETTLE_S * rate_hz:
            raise InputError(f"test sequence lasts {len(sequence_v) / rate_hz:g} s; give {2.0 * SETTLE_S:g} s or more")
        self.frontend, self.rows, self.trim_range = frontend, rows, trim_range or TrimRange()
        self._sequence_v, self._rate_hz, self._noise_seed = np.asarray(sequence_v, np.float32), rate_hz, noise_seed
        self._here = frontend.process.temperature_c
        nominal = self._heard([Chip(temperature_c=self._here, effects=())] * rows)
        self._wanted = _Marks(nominal.drive(), nominal.peak_v())
        if not (self._wanted.peak_v > frontend.comparator.threshold_v).any(axis=1).all():
            raise InputError(
                "the nominal stage does not wake in the test sequence; give one with the sounds that it is made for"
            )

    def trim(self, chips: Sequence[Chip]) -> list[Chip]:
        """The chips with their trims set: as `chips`, at their own temperature, supply and age.

        Args:
            chips: at most `rows`; trims that they had are dropped.
        """
        if len(chips) > self.rows:
            raise InputError(f"{len(chips)} chips at once; this factory trims at most {self.rows} side by side")
        bench = [dataclasses.replace(chip, temperature_c=self._here, supply_v=None, years=0.0) for chip in chips]
        bench = [_tune(self.frontend, chip, self.trim_range) for chip in bench]
        trimmed = self._bias(bench, self._heard(bench), self._wanted.first(len(chips)))
        return [dataclasses.replace(chip, trim=done.trim) for chip, done in zip(chips, trimmed, strict=True)]

    def _heard(self, chips: Sequence[Chip]) -> "_Heard":
        rows, rate_hz = len(chips), self._rate_hz
        stream = FrontEndStream(self.frontend, rows=rows, rate_hz=rate_hz, noise_seed=self._noise_seed, chips=chips)
        chunk = round(CHUNK_S * rate_hz)
        volts = (self._sequence_v[i : i + chunk] for i in range(0, self._sequence_v.size, chunk))
        compressed_v = [stream.compress(stream.envelopes(np.tile(part, (rows, 1)))[0]) for part in volts]
        return _Heard(self.frontend, chips, rate_hz, compressed_v)

    def _bias(self, chips: list[Chip], heard: "_Heard", wanted: _Marks) -> list[Chip]:
        """Biases of all neurons and the threshold, while the chips hear the sequence."""
        chips = _approach(chips, "neuron_v", lambda rows: heard.by(rows).drive(), wanted.drive)
        threshold_v = self.frontend.comparator.threshold_v
        shifts_v = _close_shift(heard.by(chips).peak_v(), wanted.peak_v, threshold_v)
        thresholds_v = [build(self.frontend, chip).frontend.comparator.threshold_v for chip in chips]
        codes = self.trim_range.code("threshold_v", threshold_v + shifts_v - np.array(thresholds_v))
        return _having(chips, "threshold_v", codes)


def _tune(frontend: "FrontEnd", chip: Chip, trim_range: TrimRange) -> Chip:
    """Bands, offsets and swings, which need no sound but test tones."""
    center_hz, q = np.asarray(frontend.bank.center_hz), np.asarray(frontend.bank.q)
    gain, weight = frontend.amplifier.gain, frontend.network.output_weight
    wanted: dict[str, Callable[[Built], Float64]] = {
        # In this order: the bias of all four moves the others, damping moves the gain.
        "center": lambda built: center_hz / built.center_hz - 1.0,
        "q": lambda built: built.q / q - 1.0,
        "gain": lambda built: gain / (built.frontend.amplifier.gain * built.peak_gain) - 1.0,
        "detector_v": lambda built: built.filter_offset_v[3] - built.detector_offset_v,
        "envelope_v": lambda built: -built.envelope_offset_v,
        # What the output neuron hears of a neuron that goes from rail to rail, which the weight's error scales as well.
        "swing": lambda built: _ratio(weight, built.neuron_gain * built.frontend.network.output_weight) - 1.0,
    }
    trim = Trim.neutral(frontend.bank.bands, frontend.network.neurons, trim_range)
    for name, change in wanted.items():
        built = build(frontend, dataclasses.replace(chip, trim=trim))
        trim = trim.having(name, trim_range.code(name, change(built)))
    return dataclasses.replace(chip, trim=trim)


class _Heard:
    """What the network and the integrator of each chip make of the logarithms of a sequence, given part by part."""

    def __init__(
        self, frontend: "FrontEnd", chips: Sequence[Chip], rate_hz: float, compressed_v: Sequence[Float32]
    ) -> None:
        self._frontend, self._chips, self._rate_hz, self._compressed_v = frontend, chips, rate_hz, compressed_v

    def by(self, chips: Sequence[Chip]) -> "_Heard":
        """The same logarithms, heard by the same chips with other trims behind them."""
        return _Heard(self._frontend, chips, self._rate_hz, self._compressed_v)

    def drive(self) -> Float64:
        """Mean of each neuron between its rails (offset -/+ swing of its own), -1 to 1, (rows, neurons)."""
        stream = self._stream()
        mean_v = _settled_mean(stream.neurons.excite(part) for part in self._compressed_v)
        offset_v = np.array([row.neuron_offset_v for row in stream.built])
        swing_v = np.array([row.frontend.process.range_v * row.neuron_gain for row in stream.built])
        return np.asarray((mean_v - offset_v) / swing_v)

    def peak_v(self) -> Float32:
        """Highest integral of every stretch of `PEAK_S`, (rows, stretches)."""
        stream = self._stream()
        integral_v = np.concatenate([stream.decide(part) for part in self._compressed_v], axis=1)
        settled_v = integral_v[:, round(SETTLE_S * CONTROL_RATE_HZ) :]
        length = round(PEAK_S * CONTROL_RATE_HZ)
        count = settled_v.shape[1] // length
        return np.asarray(settled_v[:, : count * length].reshape(len(settled_v), count, length).max(axis=2))

    def _stream(self) -> FrontEndStream:
        return FrontEndStream(self._frontend, rows=len(self._chips), rate_hz=self._rate_hz, chips=self._chips)


def _settled_mean(parts_v: Iterable[Float32]) -> Float64:
    """Mean over the frames of all parts (rows, F, ...) after `SETTLE_S`."""
    skip, total_v, frames = round(SETTLE_S * CONTROL_RATE_HZ), np.float64(0.0), 0
    for part_v in parts_v:
        kept_v = part_v[:, skip:]
        skip = max(skip - part_v.shape[1], 0)
        total_v = total_v + kept_v.sum(axis=1, dtype=np.float64)
        frames += kept_v.shape[1]
    return np.asarray(total_v / frames)


def _close_shift(peak_v: Float32, wanted_v: Float32, threshold_v: float) -> Float64:
    """How far each chip's peaks lie above those of the nominal stage where these decide, (rows,), V.

    Only such stretches tell how the decisions move: loud ones saturate the output neuron, quiet ones never matter. Both
    heard the same, so that the mean of their differences is far less scattered than a share of time.
    """
    count = max(1, round(CLOSE_SHARE * wanted_v.shape[1]))
    close = np.argsort(np.abs(wanted_v - threshold_v), axis=1, kind="stable")[:, :count]
    return np.asarray(np.take_along_axis(peak_v - wanted_v, close, axis=1).mean(axis=1, dtype=np.float64))


def _trim_of(chip: Chip) -> Trim:
    assert chip.trim is not None, "tuned before"
    return chip.trim


def _having(chips: Sequence[Chip], name: str, codes: NDArray[np.int64]) -> list[Chip]:
    """Each chip with its row of the codes."""
    return [
        dataclasses.replace(chip, trim=_trim_of(chip).having(name, np.asarray(code)))
        for chip, code in zip(chips, codes, strict=True)
    ]


def _ratio(wanted: Float64, present: Float64) -> Float64:
    """Their ratio, 1 where nothing is present."""
    return np.divide(wanted, present, out=np.ones_like(wanted), where=present != 0.0)


def _approach(chips: list[Chip], name: str, measure: Callable[[list[Chip]], Float64], target: Float64) -> list[Chip]:
    """Successive approximation, bit by bit, of the code at which what is measured, and rises with it, is the target."""
    half = 2 ** (_trim_of(chips[0]).range.bits - 1)
    below = np.full(target.shape, -half, np.int64)
    missing = target - measure(_having(chips, name, below))
    step = half
    while step:
        trial = below + step
        left = target - measure(_having(chips, name, trial))
        below, missing = np.where(left >= 0.0, trial, below), np.where(left >= 0.0, left, missing)
        step //= 2
    above = np.minimum(below + 1, half - 1)
    over = measure(_having(chips, name, above)) - target
    return _having(chips, name, np.where(np.abs(over) < np.abs(missing), above, below))
