"""The first stage up to its envelopes in the limit of small signals: linear filters of many chips."""

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lightsleeper.circuits.built import Built, build, filter_offsets
from lightsleeper.circuits.chip import Chip
from lightsleeper.circuits.linear_kernel import STATE_NAMES, TRACED, input_moments, linear_forward
from lightsleeper.circuits.linear_rules import MOMENTS, input_taps, linear_rules
from lightsleeper.circuits.rates import CONTROL_RATE_HZ, oversampling_for
from lightsleeper.circuits.simd import BLOCK
from lightsleeper.errors import InputError

if TYPE_CHECKING:
    from lightsleeper.circuits.frontend import FrontEnd

__all__ = ["LinearBank"]

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
KINDS = ("fast", "slow", "floor")
_PIECE_BYTES = 16e6
"""Of envelopes that `pieces` gives at once, where a frame does not take more."""


class LinearBank:
    """Amplifier, filters and detectors of a `FrontEnd` for small signals: every sound through every chip.

    Neither amplifier nor transconductors clip; rectifiers and detectors stay what they are, and so do offsets. A step
    of the filters is exact. State in, state out: each call goes on where the last one stopped, and the frames are the
    same to the bit whatever the chunks. They are those of `FrontEndStream` without noise, at the same times.

    Args:
        frontend: the stage.
        rate_hz: sample rate, a multiple of the frame rate.
        sounds: number of signals, each heard by all chips.
        chips: one or more; none means one nominal chip.
        frame_rate_hz: frames per second.

    Raises:
        InputError: no sound or no chip, a rate that is no multiple, or a band at half the sample rate or above.
    """

    def __init__(
        self,
        frontend: "FrontEnd",
        *,
        rate_hz: float,
        sounds: int = 1,
        chips: Sequence[Chip] | None = None,
        frame_rate_hz: float = CONTROL_RATE_HZ,
    ) -> None:
        if sounds < 1:
            raise InputError(f"linear bank: sounds is {sounds}; give 1 or more")
        if chips is not None and len(chips) < 1:
            raise InputError("linear bank: chips is empty; give 1 chip or more, or none for the nominal one")
        if not (rate_hz > 0.0 and frame_rate_hz > 0.0) or rate_hz % frame_rate_hz:
            raise InputError(f"linear bank: rate_hz is {rate_hz:g} Hz; resample to a multiple of {frame_rate_hz:g} Hz")
        factor = oversampling_for(rate_hz, max(frontend.bank.center_hz))
        self.frontend = frontend
        self.sounds = sounds
        self.rate_hz, self.step_rate_hz, self.frame_rate_hz = rate_hz, rate_hz * factor, frame_rate_hz
        self.frame_samples = round(rate_hz / frame_rate_hz)
        self.hop = self.frame_samples * factor
        self._taps = input_taps(rate_hz, factor)
        self._histories = [np.zeros((sounds, taps.shape[1] - 1), np.float32) for taps in self._taps]
        self._pending: Float32 = np.zeros((sounds, 0), np.float32)
        self._frames_done = 0
        if chips is None:
            chips = (Chip(temperature_c=frontend.process.temperature_c, effects=()),)
        self.chips = len(chips)
        self._keep_columns(chips)

    def _keep_columns(self, chips: Sequence[Chip]) -> None:
        """Coefficients and initial states of chips x bands, and what `response` needs."""
        shape = (len(chips), self.frontend.bank.bands)
        self._ratios = np.empty((4, *shape))
        self._rest_v = np.empty(shape, np.float32)
        self._gain, self._corner_hz = np.empty((shape[0], 1)), np.empty((shape[0], 1))
        times_s, start_v, offset_v = np.empty((6, *shape)), np.empty(shape), np.empty(shape)
        for number, chip in enumerate(chips):
            built = build(self.frontend, chip)
            self._ratios[:, number] = built.ratios
            # The loop's output counts from the offset of G2, see `filter_offsets`.
            self._rest_v[number] = built.filter_offset_v[3]
            start_v[number], offset_v[number] = self._offsets_v(built)
            times_s[:, number] = built.frontend.envelopes.times_s()
            self._gain[number] = built.frontend.amplifier.gain
            self._corner_hz[number] = built.frontend.amplifier.corner_hz
        leak = np.broadcast_to(-np.expm1(-2.0 * math.pi * self._corner_hz / self.step_rate_hz), shape)
        rules = self._rules(leak)
        rates = -np.expm1(-1.0 / (times_s * self.step_rate_hz))
        self._columns = shape[0] * shape[1]
        width = -(-self._columns // BLOCK) * BLOCK
        wide = np.zeros((len(rules) + 8, width), np.float32)
        wide[:, : self._columns] = np.concatenate([rules, leak[None], rates, offset_v[None]]).reshape(len(wide), -1)
        self._coefficients = wide
        self._state = np.zeros((self.sounds, len(STATE_NAMES), width), np.float32)
        self._state[:, 1, : self._columns] = start_v.reshape(-1)

    def _offsets_v(self, built: Built) -> tuple[Float64, Float64]:
        """Of a chip's bands: Vx when the supply comes up, counted from its rest, and what the rectifiers add."""
        range_v = built.frontend.bank.range_v(built.frontend.process)
        bias, offset = filter_offsets(built, np.full(built.frontend.bank.bands, self.step_rate_hz))
        outward = 2.0 * math.pi * np.asarray(built.frontend.bank.center_hz) / self.step_rate_hz * built.ratios[2]
        return -range_v * bias / outward, range_v * offset

    def _rules(self, leak: Float64) -> Float64:
        """(10, chips, bands) of `linear_rules`."""
        drive, damping, outward, inward = self._rates_per_s() / self.step_rate_hz
        flat = [rate.reshape(-1) for rate in (self._gain * drive, damping, outward, inward)]
        rules = linear_rules(**dict(zip(("drive", "damping", "outward", "inward"), flat, strict=True)))
        rules = rules.reshape(-1, *leak.shape)
        # A one-pole that is bilinear in the limit of slow leaks; tilt and curvature carry nothing so slow.
        for row in (2, 2 + len(rules) // 2):
            rules[row] *= 1.0 - leak / 2.0
        return rules

    def _rates_per_s(self) -> Float64:
        """Gin, Gd, G1, G2 over C, (4, chips, bands) in 1/s."""
        rates = self._ratios * 2.0 * math.pi * np.asarray(self.frontend.bank.center_hz)
        rates[:2] /= np.asarray(self.frontend.bank.q)
        return np.asarray(rates)

    def response(self, frequency_hz: NDArray[np.floating]) -> NDArray[np.complex128]:
        """Transfer function from the microphone to each filter's output, (chips, bands, frequencies), exact."""
        s = 2j * math.pi * np.asarray(frequency_hz, dtype=np.float64)
        drive, damping, outward, inward = self._rates_per_s()[..., None]
        coupled = s / (s + 2.0 * math.pi * self._corner_hz)
        band_pass = drive * s / (s**2 + damping * s + outward * inward)
        return np.asarray(self._gain[:, :, None] * coupled[:, None] * band_pass)

    def envelopes(self, samples_v: NDArray[np.floating]) -> Float32:
        """Envelopes of the next samples (sounds, T), in V at the microphone.

        Returns:
            Means over the frames (sounds, F, 3, chips, bands) of fast envelope, slow envelope and floor, in V. Samples
            that do not fill a frame wait for the next call. InputError where the shape is wrong or a sample not finite.
        """
        return self._advance(self._frames(samples_v), keep=False)[0]

    def pieces(self, samples_v: NDArray[np.floating]) -> Iterator[Float32]:
        """The same a few frames at a time, so that memory stays flat: thousands of chips give 1 MB or more a frame."""
        frames = self._frames(samples_v)
        frame_bytes = 4 * len(KINDS) * self._columns * self.sounds
        at_once = max(int(_PIECE_BYTES / frame_bytes), 1) * self.frame_samples
        for first in range(0, frames.shape[1], at_once):
            yield self._advance(frames[:, first : first + at_once], keep=False)[0]

    def trace(self, samples_v: NDArray[np.floating]) -> dict[str, Float32]:
        """Nets of the next samples (sounds, T), in V; names as in `FrontEnd.simulate`.

        Returns:
            `time_s` (F,) and `fast`, `slow`, `floor` (sounds, chips, bands, F); `filter_time_s` (N,) and `filter`
            (sounds, chips, bands, N) at the simulation rate.
        """
        means, steps = self._advance(self._frames(samples_v), keep=True)
        first, frames = self._frames_done - means.shape[1], means.shape[1]
        nets = {
            "time_s": ((np.arange(frames) + first + 1) / self.frame_rate_hz).astype(np.float32),
            "filter_time_s": ((np.arange(frames * self.hop) + first * self.hop + 1) / self.step_rate_hz).astype(
                np.float32
            ),
            "filter": np.moveaxis(steps, 1, -1) - self._rest_v[..., None],
        }
        return nets | {name: np.moveaxis(means[:, :, kind], 1, -1) for kind, name in enumerate(KINDS)}

    def _frames(self, samples_v: NDArray[np.floating]) -> Float32:
        """Whole frames of what waited and what came; the rest waits."""
        samples = np.asarray(samples_v, dtype=np.float32)
        if samples.ndim != 2 or len(samples) != self.sounds or not np.isfinite(samples).all():
            raise InputError(
                f"linear bank: samples_v of shape {samples.shape}; give finite volts ({self.sounds}, T), a row a sound"
            )
        joined = np.concatenate([self._pending, samples], axis=1)
        usable = joined.shape[1] // self.frame_samples * self.frame_samples
        self._pending = joined[:, usable:]
        return joined[:, :usable]

    def _advance(self, frames_v: Float32, *, keep: bool) -> tuple[Float32, Float32]:
        """Whole frames through all chips: frame means, and if `keep` the filters' output at every step."""
        count = frames_v.shape[1] // self.frame_samples
        steps, width = count * self.hop, self._state.shape[2]
        moments = np.empty((steps, MOMENTS), np.float32)
        means = np.empty((self.sounds, count, len(KINDS), width), np.float32)
        outputs = np.empty((self.sounds, steps if keep else 0, self._columns), np.float32)
        trace = np.empty((steps if keep else 0, TRACED, width), np.float32)
        for sound in range(self.sounds):
            histories = (history[sound] for history in self._histories)
            input_moments(  # type: ignore[call-arg]  # numba's stub counts them wrongly
                np.ascontiguousarray(frames_v[sound]), *self._taps, self.frame_samples, *histories, moments
            )
            linear_forward(moments, self._coefficients, self._state[sound], self.hop, means[sound], trace)
            outputs[sound] = trace[:, 0, : self._columns]
        self._frames_done += count
        shape = (self.chips, self.frontend.bank.bands)
        return (
            means[..., : self._columns].reshape(*means.shape[:3], *shape),
            outputs.reshape(*outputs.shape[:2], *shape),
        )
