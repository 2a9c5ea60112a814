"""The linear bank is the small-signal limit of the first stage, to the bit the same in any chunks and batch."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.linalg import expm
from scipy.signal import lfilter

from example_frontend import RATE_HZ, make_frontend
from lightsleeper.circuits import Chip, FrontEndStream, LinearBank
from lightsleeper.circuits.linear_kernel import input_moments
from lightsleeper.circuits.linear_reference import linear_reference
from lightsleeper.circuits.linear_rules import MOMENTS, linear_rules, moment_taps
from lightsleeper.errors import InputError
from lightsleeper.learning import initial_frontend

Float32 = NDArray[np.float32]
FRONTEND = make_frontend()
CHIPS = tuple(Chip(seed=seed) for seed in range(3))
NOISE = np.random.default_rng(0).standard_normal((2, 8000)).astype(np.float32)


def _range_v() -> float:
    """Linear range of the filters, at the microphone."""
    return FRONTEND.bank.range_v(FRONTEND.process) / FRONTEND.amplifier.gain


def _error(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    return float(np.sqrt(np.mean((one - other) ** 2) / np.mean(other**2)))


@settings(max_examples=25, deadline=None)
@given(
    damping=st.floats(0.01, 2.0), outward=st.floats(0.01, 2.0), inward=st.floats(0.01, 2.0), drive=st.floats(0.1, 2.0)
)
def test_a_step_is_the_matrix_exponential(damping: float, outward: float, inward: float, drive: float) -> None:
    """Van Loan's block matrix, of a constant, a ramp and a parabola, gives the same as the series."""
    values = {"drive": drive, "damping": damping, "outward": outward, "inward": inward}
    rules = linear_rules(**{name: np.array([value]) for name, value in values.items()})[:, 0].reshape(2, 5)
    block = np.zeros((5, 5))
    block[:2, :2] = [[-damping, -outward], [inward, 0.0]]
    block[:2, 2] = [drive, 0.0]
    block[2, 3], block[3, 4] = 1.0, 1.0  # u'' constant
    step = expm(block)
    one, ramp, bowl = step[:2, 2], step[:2, 3], 2.0 * step[:2, 4]  # of 1, s and s^2 on 0 to 1
    np.testing.assert_allclose(rules[:, :2], step[:2, :2], atol=1e-12)
    np.testing.assert_allclose(rules[:, 2], one, atol=1e-12)
    np.testing.assert_allclose(rules[:, 3], 2.0 * ramp - one, atol=1e-12)
    np.testing.assert_allclose(rules[:, 4], 6.0 * bowl - 6.0 * ramp + one, atol=1e-11)


def test_moments_of_a_slow_sine_are_its_integrals() -> None:
    half, lag, period = 4, 4.5, 16.0
    taps = moment_taps(half, beta=5.5, lag=lag)
    t = np.arange(200.0)
    found = [lfilter(row, 1.0, np.sin(2 * np.pi * t / period))[100] for row in taps]
    s = np.linspace(-1.0, 0.0, 2001)
    wave = np.sin(2 * np.pi * (100.0 + s - lag) / period)
    legendre = np.array([np.ones_like(s), 2 * s + 1, 1.5 * (2 * s + 1) ** 2 - 0.5]) * np.array([[1.0], [3.0], [5.0]])
    np.testing.assert_allclose(found, np.trapezoid(wave * legendre, s, axis=1), atol=2e-3)


def test_the_kernel_is_its_reference() -> None:
    bank = LinearBank(FRONTEND, rate_hz=RATE_HZ, chips=CHIPS)
    sound = np.ascontiguousarray(1e-5 * NOISE[0, :640])
    moments = np.empty((640, MOMENTS), np.float32)
    histories = [history[0].copy() for history in bank._histories]
    input_moments(sound, *bank._taps, bank.frame_samples, *histories, moments)  # type: ignore[call-arg]
    expected = linear_reference(moments, bank._coefficients, bank._state[0], bank.hop)
    found = bank.envelopes(sound[None])[0]
    np.testing.assert_allclose(found.reshape(*found.shape[:2], -1), expected[..., :9], rtol=2e-4, atol=1e-9)


@pytest.mark.parametrize(("level", "most"), [(1e-3, 0.006), (1e-2, 0.006), (0.05, 0.015), (1.0, 1.0)])
def test_small_signals_are_those_of_the_full_simulation(level: float, most: float) -> None:
    stage = initial_frontend(bands=8)
    sound = (level * _range_v() * NOISE[:1]).astype(np.float32)
    linear = LinearBank(stage, rate_hz=RATE_HZ).envelopes(sound)[0, :, :, 0]
    full = FrontEndStream(stage, rows=1, rate_hz=RATE_HZ).envelopes(sound)[0]
    assert _error(linear, full) < most
    assert level < 0.5 or _error(linear, full) > 0.2  # a loud sound is clipped by the circuit alone


def test_every_chip_is_its_row_of_the_full_simulation() -> None:
    chips = (*CHIPS, Chip(seed=4, temperature_c=60.0), Chip(seed=5, effects=("detectors",)))
    sound = (0.01 * _range_v() * NOISE[:1]).astype(np.float32)
    linear = LinearBank(FRONTEND, rate_hz=RATE_HZ, chips=chips).envelopes(sound)[0]
    volts = np.repeat(sound, len(chips), axis=0)
    full = FrontEndStream(FRONTEND, rows=len(chips), rate_hz=RATE_HZ, chips=chips).envelopes(volts)[0]
    full = full.reshape(linear.shape)
    for number in range(len(chips)):
        assert _error(linear[:, :, number], full[:, :, number]) < 0.01
    assert _error(linear[:, :, 0], full[:, :, 1]) > 0.03


@pytest.mark.parametrize("chip", [Chip(effects=()), Chip(seed=1, effects=("filters", "amplifier"))])
def test_a_tone_leaves_with_the_transfer_function(chip: Chip) -> None:
    frequency_hz = np.array([100.0, 300.0, 950.0, 2000.0, 4100.0])
    t = np.arange(16_000) / RATE_HZ
    for index, hz in enumerate(frequency_hz):
        bank = LinearBank(FRONTEND, rate_hz=RATE_HZ, chips=(chip,))
        tone = (1e-6 * np.sin(2 * np.pi * hz * t)).astype(np.float32)
        settled = bank.trace(tone[None])["filter"][0, 0, :, -8_000:].astype(np.float64)
        rms = np.sqrt(2.0 * np.mean(settled**2, axis=1)) / 1e-6
        expected = np.abs(bank.response(frequency_hz)[0, :, index])
        np.testing.assert_allclose(20 * np.log10(rms / expected), 0.0, atol=0.1)


@pytest.mark.parametrize("cuts", [(1,), (31, 32, 33), (500, 5000)])
def test_chunks_are_the_whole_to_the_bit(cuts: tuple[int, ...]) -> None:
    sounds = 1e-5 * NOISE
    whole = LinearBank(FRONTEND, rate_hz=RATE_HZ, sounds=2, chips=CHIPS).envelopes(sounds)
    bank = LinearBank(FRONTEND, rate_hz=RATE_HZ, sounds=2, chips=CHIPS)
    parts = [bank.envelopes(part) for part in np.split(sounds, cuts, axis=1)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)
    pieces = list(LinearBank(FRONTEND, rate_hz=RATE_HZ, sounds=2, chips=CHIPS).pieces(sounds))
    np.testing.assert_array_equal(np.concatenate(pieces, axis=1), whole)


def test_batch_is_the_loop_to_the_bit() -> None:
    sounds = 1e-5 * NOISE
    chips = tuple(Chip(seed=seed) for seed in range(50))  # more columns than a tile
    together = LinearBank(FRONTEND, rate_hz=RATE_HZ, sounds=2, chips=chips).envelopes(sounds)
    for sound, chip in ((0, 0), (1, 17), (0, 49)):
        alone = LinearBank(FRONTEND, rate_hz=RATE_HZ, chips=(chips[chip],)).envelopes(sounds[sound : sound + 1])
        np.testing.assert_array_equal(together[sound, :, :, chip], alone[0, :, :, 0])


def test_nothing_is_heard_before_it_sounds() -> None:
    sound = 1e-5 * NOISE[:1]
    later = sound.copy()
    later[:, 4000:] = 1e-4
    one, other = (LinearBank(FRONTEND, rate_hz=RATE_HZ).envelopes(volts) for volts in (sound, later))
    np.testing.assert_array_equal(one[:, :125], other[:, :125])
    assert not np.array_equal(one[:, 126:], other[:, 126:])


def test_linear_means_twice_the_input_twice_the_output() -> None:
    sound = 1e-5 * NOISE[:1]
    one, two = (LinearBank(FRONTEND, rate_hz=RATE_HZ).envelopes(factor * sound) for factor in (1.0, 2.0))
    np.testing.assert_array_equal(2.0 * one, two)


def test_frames_carry_their_times_across_calls() -> None:
    bank = LinearBank(FRONTEND, rate_hz=RATE_HZ)
    first, second = (bank.trace(part) for part in np.split(1e-5 * NOISE[:1], 2, axis=1))
    assert first["time_s"][0] == pytest.approx(2e-3)
    assert second["time_s"][0] == pytest.approx(first["time_s"][-1] + 2e-3)
    assert second["filter_time_s"][0] == pytest.approx(0.25 + 1 / RATE_HZ)
    assert first["fast"].shape == (1, 1, 3, 125)
    assert first["filter"].shape == (1, 1, 3, 4000)


def test_memory_does_not_grow_with_the_sound() -> None:
    chips = tuple(Chip(seed=seed) for seed in range(400))
    peaks = []
    for seconds in (2, 6):
        bank = LinearBank(initial_frontend(bands=8), rate_hz=RATE_HZ, chips=chips)
        sound = np.tile(1e-5 * NOISE[:1], 2 * seconds)
        tracemalloc.start()
        frames = sum(piece.shape[1] for piece in bank.pieces(sound))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert frames == 500 * seconds
    # The envelopes of two seconds are 38 MB, of six 115; a piece is 16 MB at most, and two may live at once.
    assert peaks[1] < 1.05 * peaks[0] < 38e6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sounds": 0}, "sounds is 0; give 1 or more"),
        ({"chips": ()}, "chips is empty"),
        ({"rate_hz": 16_001.0}, "rate_hz is 16001 Hz; resample to a multiple of 500 Hz"),
        ({"rate_hz": 0.0}, "rate_hz is 0 Hz"),
        ({"rate_hz": 4000.0}, "band at 4000 Hz needs recordings above 8000 Hz"),
    ],
)
def test_what_does_not_fit_is_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        LinearBank(FRONTEND, **({"rate_hz": RATE_HZ} | options))  # type: ignore[arg-type]


@pytest.mark.parametrize("samples", [np.zeros(100), np.zeros((3, 100)), np.full((1, 100), np.nan)])
def test_only_finite_rows_are_heard(samples: NDArray[np.float64]) -> None:
    with pytest.raises(InputError, match=r"give finite volts \(1, T\)"):
        LinearBank(FRONTEND, rate_hz=RATE_HZ).envelopes(samples)
