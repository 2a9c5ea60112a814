"""The first stage in time: state in, state out, in chunks of any length."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lightsleeper.circuits import kernels
from lightsleeper.circuits.amplify import amplify
from lightsleeper.circuits.built import Built, build, filter_offsets
from lightsleeper.circuits.chip import Chip
from lightsleeper.circuits.columns import Columns
from lightsleeper.circuits.integrator import integrate_forward
from lightsleeper.circuits.network_kernel import log1p
from lightsleeper.circuits.neurons import NeuronRows
from lightsleeper.circuits.rates import (
    CONTROL_RATE_HZ,
    SUBSTEPS,
    interpolation_taps,
    oversampling_for,
    substeps_for,
)
from lightsleeper.circuits.simd import LANES
from lightsleeper.errors import InputError

if TYPE_CHECKING:
    from lightsleeper.circuits.blocks import Comparator
    from lightsleeper.circuits.frontend import FrontEnd

__all__ = ["FrontEndStream", "compare"]

Float32 = NDArray[np.float32]
_PIECE_S = 0.256
"""Simulated at once: a drive of this length stays in the cache."""


def compare(integral_v: Float32, comparator: "Comparator", *, awake: bool = False) -> NDArray[np.bool_]:
    """Comparator with hysteresis over (T,) volts: True from the threshold up until threshold - hysteresis."""
    above = integral_v > comparator.threshold_v
    below = integral_v < comparator.threshold_v - comparator.hysteresis_v
    events = np.where(above, 1, np.where(below, -1, 0))
    marks = np.where(events != 0, np.arange(len(events)), -1)
    last = np.maximum.accumulate(marks)
    return np.where(last >= 0, events[np.maximum(last, 0)] > 0, awake)


def _generator_words(seed: int, rows: int) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Generator words of the columns, none of them 0 (xorshift would stay there), and input-noise seeds of the rows."""
    words = np.random.SeedSequence(seed).generate_state(LANES + rows).astype(np.uint32)
    return np.maximum(words[:LANES], np.uint32(1)), words[LANES:]


def _built_rows(frontend: "FrontEnd", rows: int, chips: Sequence[Chip] | None) -> list[Built]:
    if chips is None:
        return [build(frontend, Chip(temperature_c=frontend.process.temperature_c, effects=()))] * rows
    if len(chips) != rows:
        raise InputError(f"{len(chips)} chips for {rows} signals; give one each")
    return [build(frontend, chip) for chip in chips]


class FrontEndStream:
    """Runs a `FrontEnd` over `rows` signals at once; each call goes on where the last one stopped.

    The envelopes leave as means over one frame, so samples that do not fill a frame wait for the next call: whatever
    the chunks, the frames are the same to the bit. Neurons, score and integral are given at a frame's end.

    Args:
        frontend: the stage.
        rows: number of signals side by side; rows x bands at most 128.
        rate_hz: sample rate, a multiple of the frame rate.
        noise_seed: seed of the circuit's noise; None is noiseless.
        frame_rate_hz: frames per second; training takes fewer than measurement.
        chips: the chip of each row; none means that all rows are nominal.
    """

    def __init__(
        self,
        frontend: "FrontEnd",
        *,
        rows: int,
        rate_hz: float,
        noise_seed: int | None = None,
        frame_rate_hz: float = CONTROL_RATE_HZ,
        chips: Sequence[Chip] | None = None,
    ) -> None:
        self.frontend = frontend
        self.rows = rows
        self.built = _built_rows(frontend, rows, chips)
        if rate_hz % frame_rate_hz:
            raise InputError(f"sample rate {rate_hz:g} Hz: resample to a multiple of {frame_rate_hz:g} Hz")
        factor = oversampling_for(rate_hz, max(frontend.bank.center_hz))
        self.rate_hz = rate_hz
        self.step_rate_hz = rate_hz * factor
        self.frame_rate_hz = frame_rate_hz
        self.frame_samples = int(rate_hz / frame_rate_hz)
        self.hop = self.frame_samples * factor
        self.substeps = substeps_for(np.asarray(frontend.bank.center_hz), self.step_rate_hz)
        self.columns = Columns.of(rows, self.substeps)
        self._taps = interpolation_taps(factor)
        self._histories = [np.zeros((rows, taps.shape[1] - 1), np.float32) for taps in self._taps]
        self._coupled = np.zeros(rows, np.float32)
        self._tail = np.zeros((rows, SUBSTEPS), np.float32)
        self._samples_done = 0
        self._state = np.zeros((kernels.STATES, self.columns.width), np.float32)
        self._integral = np.zeros(rows, np.float32)
        self._hidden = np.zeros(rows * frontend.network.neurons, np.float32)
        self._awake = np.zeros(rows, np.bool_)
        self._pending: Float32 = np.zeros((rows, 0), np.float32)
        self._range_v = np.array([frontend.bank.range_v(row.frontend.process) for row in self.built])
        self._coefficients = self.columns.spread(self._each(self._band_coefficients))
        self.noise = np.zeros((2, self.columns.width), np.float32)
        self._input_noise = np.zeros(rows, np.float32)
        if noise_seed is not None:
            self.noise = self.columns.spread(self._each(self._step_noise))
            self._input_noise = np.array([self._input_noise_v(row) for row in self.built], np.float32)
        self._keep_constants()
        self._last_score = self.neurons.read_out(np.zeros((rows, 1, frontend.network.neurons), np.float32))
        seed = 0 if noise_seed is None else noise_seed
        words, self._input_seeds = _generator_words(seed, rows)
        self.words = words[: self.columns.width]

    def _keep_constants(self) -> None:
        """What stands behind the bank, of every row, in the shapes in which it is used."""
        self.neurons = NeuronRows(self.built)
        per_input = [(row.envelope_offset_v, row.knee_v, row.log_offset_v) for row in self.built]
        arrays = np.array(per_input, np.float32).transpose(1, 0, 2)[:, :, None]
        self._envelope_offset_v, self._knee_v, self._log_offset_v = arrays
        # The loop's output counts from the offset of G2, see `filter_offsets`.
        self._rest_v = np.array([row.filter_offset_v[3] for row in self.built], np.float32)[:, :, None]
        self._slope_v = np.array([[[row.frontend.process.slope_v]] for row in self.built], np.float32)
        self._neuron_s = np.concatenate([row.frontend.network.neuron_s for row in self.built])
        integrators = [row.frontend.integrator for row in self.built]
        self._rise_s, self._fall_s = (np.array([getattr(i, n) for i in integrators]) for n in ("rise_s", "fall_s"))
        self._integrator_offset_v = np.array([[row.integrator_offset_v] for row in self.built], np.float32)

    def _each(self, of_row: Callable[[Built], NDArray[np.float64]]) -> NDArray[np.float64]:
        """(n, bands) of every row beside each other: (n, rows x bands); rows of one chip are computed once."""
        parts = {id(row): of_row(row) for row in self.built}
        return np.concatenate([parts[id(row)] for row in self.built], axis=1)

    def _band_coefficients(self, row: Built) -> NDArray[np.float64]:
        """(22, bands) in the order of the kernel."""
        bank, stage = self.frontend.bank, row.frontend
        range_v = bank.range_v(stage.process)
        rules = bank.step_rules(1.0 / (self.step_rate_hz * self.substeps), ratios=row.ratios)
        rates = -np.expm1(-1.0 / (stage.envelopes.times_s() * self.step_rate_hz))
        bias, offset = filter_offsets(row, self.step_rate_hz * self.substeps)
        return np.stack([*rules[:10], *rates, *rules[10:], bias, offset, np.full(bank.bands, range_v)])

    def _step_noise(self, row: Built) -> NDArray[np.float64]:
        """(2, bands) in linear ranges."""
        bank, process = self.frontend.bank, row.frontend.process
        noise_v = bank.step_noise_v(process, 1.0 / self.step_rate_hz, self.substeps, ratios=row.ratios)
        return noise_v / bank.range_v(process)

    @property
    def fixed_coefficients(self) -> Float32:
        """(6, width) coefficients that are not trained."""
        return self._coefficients[kernels.TRAINED :]

    def _input_noise_v(self, row: Built) -> float:
        """Rms noise per sample: microphone and amplifier densities over the recording's bandwidth."""
        microphone, amplifier = row.frontend.microphone, row.frontend.amplifier
        nyquist = self.rate_hz / 2.0
        microphone_v = microphone.noise_pa * microphone.sensitivity_v_per_pa * np.sqrt(nyquist / 20_000.0)
        amplifier_v = amplifier.noise_v * np.sqrt(nyquist / amplifier.bandwidth_hz)
        return float(np.hypot(microphone_v, amplifier_v))

    def drive(self, samples_v: Float32) -> Float32:
        """Amplifier and input transconductors: (rows, T) volts at the microphone, whole frames, to their mean current.

        Returns (drive rows, >= T x phases) over the substeps, in units of the tail current.
        """
        amplifiers = [row.frontend.amplifier for row in self.built]
        coupling_s = 1.0 / (2.0 * np.pi * np.array([amplifier.corner_hz for amplifier in amplifiers]))
        # An odd number of cache lines: at a power of two all rows would fall into the same few places of the cache.
        substeps = samples_v.shape[1] // self.frame_samples * self.hop * SUBSTEPS
        length = (substeps // 32 * 2 + 3) * 16
        drive = np.zeros((self.columns.drive_rows, length), np.float32)
        amplify(  # type: ignore[call-arg]  # numba's stub counts them wrongly
            samples_v,
            *self._taps,
            (np.array([amplifier.gain for amplifier in amplifiers]) / self._range_v).astype(np.float32),
            (np.array([amplifier.clip_v for amplifier in amplifiers]) / self._range_v).astype(np.float32),
            (-np.expm1(-1.0 / (coupling_s * self.rate_hz))).astype(np.float32),
            self._input_noise,
            self._input_seeds,
            self._samples_done,
            self.frame_samples,
            *self._histories,
            self._coupled,
            self._tail,
            drive,
        )
        self._samples_done += samples_v.shape[1]
        return drive

    def envelopes(self, samples_v: Float32, *, keep: bool = False) -> tuple[Float32, Float32]:
        """Envelopes of the next samples (rows, T).

        Returns:
            Hop means of the envelopes (F, 3, rows x bands) and, if `keep`, band-pass output and envelopes at every
            step (N, 4, rows x bands), in V.
        """
        joined = np.concatenate([self._pending, samples_v], axis=1)
        usable = joined.shape[1] // self.frame_samples * self.frame_samples
        self._pending = joined[:, usable:]
        columns = self.columns
        outputs = np.empty((usable // self.frame_samples, 3, columns.width), np.float32)
        trace = np.empty((len(outputs) * self.hop if keep else 0, kernels.TRACED, columns.width), np.float32)
        at_once = max(round(_PIECE_S * self.frame_rate_hz), 1)
        for first in range(0, len(outputs), at_once):
            last = min(first + at_once, len(outputs))
            piece = joined[:, first * self.frame_samples : last * self.frame_samples]
            self._run(np.ascontiguousarray(piece), outputs[first:last], trace[first * self.hop : last * self.hop])
        return columns.collect(outputs), columns.collect(trace)

    def _run(self, samples_v: Float32, outputs: Float32, trace: Float32) -> None:
        """Whole frames through amplifier and bank; `trace` of length 0 keeps none."""
        columns = self.columns
        kernels.bank_forward(
            self.drive(samples_v),
            np.array(columns.counts),
            columns.lanes,
            columns.row_of,
            self._coefficients,
            self.noise,
            self._state,
            self.words,
            self.hop,
            outputs,
            trace,
            np.empty((0, *self._state.shape), np.float32),
            np.empty((0, columns.width), np.uint32),
        )

    def compress(self, envelopes_v: Float32) -> Float32:
        """Logarithms as the network sees them: (F, 3, rows x bands) -> (rows, F, 3 x bands)."""
        frames, kinds, _ = envelopes_v.shape
        bands = self.frontend.bank.bands
        by_row = envelopes_v.reshape(frames, kinds, self.rows, bands).transpose(2, 0, 1, 3)
        heard_v = np.ascontiguousarray(by_row).reshape(self.rows, frames, kinds * bands) + self._envelope_offset_v
        # A diode conducts one way: an offset below its input's rest is lost.
        logs_v = self._slope_v * log1p(np.maximum(heard_v, np.float32(0.0)) / self._knee_v)
        return np.asarray(logs_v + self._log_offset_v)

    def network(self, compressed_v: Float32) -> tuple[Float32, Float32]:
        """Neurons and score: (rows, F, inputs) -> (rows, F, neurons) and (rows, F), in V."""
        excitation = self.neurons.excite(compressed_v).transpose(1, 0, 2)
        columns = excitation.reshape(len(excitation), self._hidden.size)
        settled = self._settle(columns, self._neuron_s, self._hidden)
        hidden = settled.reshape(excitation.shape).transpose(1, 0, 2)
        return hidden, self.neurons.read_out(hidden)

    def integrate(self, score_v: Float32) -> Float32:
        """Asymmetric integrator over (rows, F) volts at the frames' ends, between which they move on straight lines."""
        ends_v = np.concatenate([self._last_score, score_v], axis=1)
        self._last_score = ends_v[:, -1:]
        inputs = (np.float32(0.5) * (ends_v[:, 1:] + ends_v[:, :-1]) + self._integrator_offset_v).T
        return np.ascontiguousarray(self._settle(inputs, self._rise_s, self._integral, fall_s=self._fall_s).T)

    def _settle(
        self,
        input_v: Float32,
        rise_s: NDArray[np.float64],
        state_v: Float32,
        *,
        fall_s: NDArray[np.float64] | None = None,
    ) -> Float32:
        """One-poles over (F, K) mean volts of frames with their state in place."""
        rise = -np.expm1(-1.0 / (rise_s * self.frame_rate_hz)).astype(np.float32)
        fall = rise if fall_s is None else -np.expm1(-1.0 / (fall_s * self.frame_rate_hz)).astype(np.float32)
        output = np.empty(input_v.shape, np.float32)
        integrate_forward(np.ascontiguousarray(input_v), rise, fall, state_v, output)
        return output

    def decide(self, compressed_v: Float32) -> Float32:
        """The integrator's voltage (rows, F) from the logarithms (rows, F, inputs), in V."""
        return self.integrate(self.network(compressed_v)[1])

    def process(self, samples_v: Float32) -> Float32:
        """The integrator's voltage (rows, F) for the next samples (rows, T), in V: what the comparator sees."""
        return self.decide(self.compress(self.envelopes(samples_v)[0]))

    def trace(self, samples_v: Float32, *, filters: bool = True) -> dict[str, NDArray[np.float32]]:
        """Every net of the next samples (rows, T); names and shapes as in `FrontEnd.simulate`, rows first.

        The band-pass outputs, which change at every step, are most of the memory and of the time; without `filters`
        they are left out.
        """
        outputs, states = self.envelopes(samples_v, keep=filters)
        compressed = self.compress(outputs)
        hidden, score = self.network(compressed)
        integral = self.integrate(score)
        frames, bands = outputs.shape[0], self.frontend.bank.bands
        first = self._samples_done // self.frame_samples - frames
        nets: dict[str, NDArray[np.float32]] = {
            "time_s": ((np.arange(frames) + first + 1) / self.frame_rate_hz).astype(np.float32),
        }
        if filters:
            steps = np.arange(len(states)) + first * self.hop + 1
            nets["filter_time_s"] = (steps / self.step_rate_hz).astype(np.float32)
            nets["filter"] = states[:, 0].reshape(len(states), self.rows, bands).transpose(1, 2, 0) - self._rest_v
        for index, name in enumerate(("fast", "slow", "floor")):
            nets[name] = outputs[:, index].reshape(frames, self.rows, bands).transpose(1, 2, 0)
            nets[f"log_{name}"] = compressed.reshape(self.rows, frames, 3, bands)[:, :, index].transpose(0, 2, 1)
        nets["hidden"] = hidden.transpose(0, 2, 1)
        nets["score"] = score
        nets["integral"] = integral
        supply_v = np.array([[row.frontend.process.supply_v] for row in self.built])
        nets["wake"] = (supply_v * self._compare(integral)).astype(np.float32)
        return nets

    def _compare(self, integral_v: Float32) -> NDArray[np.bool_]:
        """Comparator over (rows, F) volts, from where it stood after the last call."""
        rows = zip(integral_v, self.built, self._awake, strict=True)
        high = np.stack([compare(row, chip.frontend.comparator, awake=bool(awake)) for row, chip, awake in rows])
        if high.shape[1]:
            self._awake = high[:, -1]
        return high
