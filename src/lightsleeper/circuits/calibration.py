"""Calibration as a factory would do it: measure each chip at one temperature, set its trims, never touch it again.

First what test tones and a muted input show at the analog test points: centre frequency, Q and gain of each band,
offsets of rectifiers and followers. Then, while the chip hears a test sequence, the neurons' biases are set until their
means are those of the nominal stage; last the threshold, by what the integrator reaches where the decision is close.
"""

import dataclasses
from collections.abc import Callable, Sequence
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

__all__ = ["calibrate"]

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


def calibrate(
    frontend: "FrontEnd",
    chips: Sequence[Chip],
    sequence_v: NDArray[np.floating],
    rate_hz: float,
    *,
    noise_seed: int | None = None,
    trim_range: TrimRange | None = None,
) -> list[Chip]:
    """The chips with their trims set; rows x bands at most 128.

    Args:
        frontend: the design; the factory is at its process temperature and supply, and the charges are fresh.
        chips: to be trimmed; trims that they had are dropped.
        sequence_v: (T,) the test sequence in V at the microphone, over 10 s: the sounds that the stage is made for.
        rate_hz: its sample rate.
        noise_seed: of the circuit's noise while it is heard; None is noiseless.
        trim_range: bits and reach of every trim.

    Returns:
        As `chips`, at their own temperature, supply and age.
    """
    trim_range = trim_range or TrimRange()
    if len(sequence_v) < 2.0 * SETTLE_S * rate_hz:
        raise InputError(f"test sequence lasts {len(sequence_v) / rate_hz:g} s; give {2.0 * SETTLE_S:g} s or more")
    here = frontend.process.temperature_c
    bench = [dataclasses.replace(chip, temperature_c=here, supply_v=None, years=0.0, trim=None) for chip in chips]
    bench = [_tune(frontend, chip, trim_range) for chip in bench]
    volts = np.asarray(sequence_v, np.float32)
    chunk = round(CHUNK_S * rate_hz)

    def logarithms(rows: Sequence[Chip]) -> Float32:
        stream = FrontEndStream(frontend, rows=len(rows), rate_hz=rate_hz, noise_seed=noise_seed, chips=rows)
        parts = (np.tile(volts[i : i + chunk], (len(rows), 1)) for i in range(0, volts.size, chunk))
        return np.concatenate([stream.compress(stream.envelopes(part)[0]) for part in parts], axis=1)

    def heard(rows: Sequence[Chip], compressed_v: Float32) -> _Heard:
        return _Heard(FrontEndStream(frontend, rows=len(rows), rate_hz=rate_hz, chips=rows), compressed_v)

    ideal = [Chip(temperature_c=here, effects=())] * len(chips)
    tuned_v = logarithms(bench)
    bench = _bias(frontend, bench, lambda rows: heard(rows, tuned_v), heard(ideal, logarithms(ideal)))
    return [dataclasses.replace(chip, trim=trimmed.trim) for chip, trimmed in zip(chips, bench, strict=True)]


def _tune(frontend: "FrontEnd", chip: Chip, trim_range: TrimRange) -> Chip:
    """Bands and offsets, which need no sound but test tones."""
    center_hz, q = np.asarray(frontend.bank.center_hz), np.asarray(frontend.bank.q)
    gain = frontend.amplifier.gain
    wanted: dict[str, Callable[[Built], Float64]] = {
        # In this order: the bias of all four moves the others, damping moves the gain.
        "center": lambda built: center_hz / built.center_hz - 1.0,
        "q": lambda built: built.q / q - 1.0,
        "gain": lambda built: gain / (built.frontend.amplifier.gain * built.peak_gain) - 1.0,
        "detector_v": lambda built: built.filter_offset_v[3] - built.detector_offset_v,
        "envelope_v": lambda built: -built.envelope_offset_v,
    }
    trim = Trim.neutral(frontend.bank.bands, frontend.network.neurons, trim_range)
    for name, change in wanted.items():
        built = build(frontend, dataclasses.replace(chip, trim=trim))
        trim = trim.having(name, trim_range.code(name, change(built)))
    return dataclasses.replace(chip, trim=trim)


class _Heard:
    """What the network and the integrator of each chip make of the logarithms of a sequence."""

    def __init__(self, stream: FrontEndStream, compressed_v: Float32) -> None:
        self._stream = stream
        self._compressed_v = compressed_v
        self._skip = round(SETTLE_S * CONTROL_RATE_HZ)

    def excitation_v(self) -> Float64:
        """Mean of what each neuron settles towards, (rows, neurons)."""
        return self._mean(self._stream.neurons.excite(self._compressed_v))

    def score_v(self) -> Float64:
        """Mean score, (rows,)."""
        return self._mean(self._stream.network(self._compressed_v)[1])

    def integral_v(self) -> Float32:
        """(rows, frames)"""
        return self._stream.decide(self._compressed_v)[:, self._skip :]

    def peak_v(self) -> Float32:
        """Highest integral of every stretch of `PEAK_S`, (rows, stretches)."""
        integral_v = self.integral_v()
        length = round(PEAK_S * CONTROL_RATE_HZ)
        count = integral_v.shape[1] // length
        stretches_v = integral_v[:, : count * length].reshape(len(integral_v), count, length)
        return np.asarray(stretches_v.max(axis=2))

    def _mean(self, values_v: Float32) -> Float64:
        return np.asarray(values_v[:, self._skip :].mean(axis=1, dtype=np.float64))


def _bias(
    frontend: "FrontEnd", chips: list[Chip], heard: Callable[[Sequence[Chip]], _Heard], wanted: _Heard
) -> list[Chip]:
    """Biases of all neurons and the threshold, while the chips hear the sequence."""
    chips = _approach(chips, "neuron_v", lambda rows: heard(rows).excitation_v(), wanted.excitation_v())
    chips = _approach(chips, "output_v", lambda rows: heard(rows).score_v(), wanted.score_v())
    threshold_v = frontend.comparator.threshold_v
    wanted_v = wanted.peak_v()
    if not (wanted_v > threshold_v).any(axis=1).all():
        raise InputError(
            "the nominal stage does not wake in the test sequence; give one with the sounds that it is made for"
        )
    wanted_thresholds_v = threshold_v + _close_shift(heard(chips).peak_v(), wanted_v, threshold_v)
    changes_v = [
        wanted_v - build(frontend, chip).frontend.comparator.threshold_v
        for chip, wanted_v in zip(chips, wanted_thresholds_v, strict=True)
    ]
    codes = _trim_of(chips[0]).range.code("threshold_v", np.array(changes_v))
    return _having(chips, "threshold_v", codes)


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


def _approach(chips: list[Chip], name: str, measure: Callable[[list[Chip]], Float64], target: Float64) -> list[Chip]:
    """Successive approximation, bit by bit: the highest codes at which what is measured stays within the target."""
    bits = _trim_of(chips[0]).range.bits
    codes = np.full(target.shape, -(2 ** (bits - 1)), np.int64)
    for bit in reversed(range(bits)):
        trial = codes + 2**bit
        codes = np.where(measure(_having(chips, name, trial)) <= target, trial, codes)
    return _having(chips, name, codes)
