"""Streams: any chunks give the bits of one run, rows are alone, and the comparator has hysteresis."""

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from example_frontend import RATE_HZ, make_frontend, noise_bursts
from lightsleeper.circuits import Comparator, FrontEnd, FrontEndStream
from lightsleeper.circuits.stream import compare
from lightsleeper.errors import InputError

SAMPLES = 4000
VOLTS = noise_bursts(2, SAMPLES)
FRONTENDS = {"no oversampling": make_frontend(), "oversampled": make_frontend((300.0, 1000.0, 7000.0))}


def _stream(frontend: FrontEnd, noise_seed: int | None, rows: int = 2) -> FrontEndStream:
    return FrontEndStream(frontend, rows=rows, rate_hz=RATE_HZ, noise_seed=noise_seed)


@pytest.mark.parametrize("frontend", FRONTENDS.values(), ids=FRONTENDS.keys())
@pytest.mark.parametrize("noise_seed", [None, 7])
@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, SAMPLES), max_size=12).map(sorted))
@example([1, 2, 3, 130, 131])
@example(list(range(128, SAMPLES, 128)))
def test_any_chunks_give_the_bits_of_one_run(frontend: FrontEnd, noise_seed: int | None, cuts: list[int]) -> None:
    whole = _stream(frontend, noise_seed).process(VOLTS)
    stream = _stream(frontend, noise_seed)
    parts = [stream.process(part) for part in np.split(VOLTS, cuts, axis=1)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)


def test_traces_of_chunks_join_to_the_trace_of_the_whole() -> None:
    """Every net, its times and the comparator's memory as well."""
    quantiles = np.quantile(_stream(FRONTENDS["oversampled"], 7).process(VOLTS)[0], [0.3, 0.7])
    comparator = Comparator(threshold_v=float(quantiles[1]), hysteresis_v=float(np.diff(quantiles)[0]))
    frontend = make_frontend((300.0, 1000.0, 7000.0), comparator=comparator)
    whole = _stream(frontend, 7).trace(VOLTS)
    stream = _stream(frontend, 7)
    parts = [stream.trace(part) for part in np.split(VOLTS, list(range(50, SAMPLES, 333)), axis=1)]
    assert 0 < whole["wake"].mean() < frontend.process.supply_v
    for name, values in whole.items():
        np.testing.assert_array_equal(np.concatenate([p[name] for p in parts], axis=-1), values, err_msg=name)


def test_without_the_filters_the_other_nets_are_the_same():
    frontend = make_frontend()
    whole, few = _stream(frontend, 7).trace(VOLTS), _stream(frontend, 7).trace(VOLTS, filters=False)
    assert set(whole) - set(few) == {"filter", "filter_time_s"}
    for name, values in few.items():
        np.testing.assert_array_equal(values, whole[name], err_msg=name)


def test_samples_short_of_a_frame_wait_for_the_next_call() -> None:
    stream = _stream(make_frontend(), None)
    assert stream.frame_samples == 32
    assert stream.process(VOLTS[:, :31]).shape == (2, 0)
    assert stream.process(VOLTS[:, 31:33]).shape == (2, 1)


def test_longer_frames_hold_the_means_of_shorter_ones_and_the_same_circuit() -> None:
    """A quarter of the frames: envelopes are the means, score and integral are the same waveforms."""
    frontend = FRONTENDS["oversampled"]
    fine = _stream(frontend, None)
    coarse = FrontEndStream(frontend, rows=2, rate_hz=RATE_HZ, frame_rate_hz=fine.frame_rate_hz / 4)
    sound = noise_bursts(2, 16_000)
    nets, quarter = fine.trace(sound), coarse.trace(sound)
    np.testing.assert_allclose(quarter["time_s"], nets["time_s"][3::4], rtol=1e-6)
    means = nets["fast"].reshape(2, 3, -1, 4).mean(axis=-1)
    np.testing.assert_allclose(quarter["fast"], means, rtol=1e-4, atol=1e-7)
    for net, share in (("score", 0.2), ("integral", 0.1)):
        fine_v = nets[net][:, 3::4]
        assert np.sqrt(np.mean((quarter[net] - fine_v) ** 2)) < share * fine_v.std(), net


def test_the_integrator_takes_the_score_as_straight_lines() -> None:
    """A ramp of the score: the integral follows a time constant later, not half a frame less."""
    frontend = make_frontend()
    stream = _stream(frontend, None, 1)
    tau_s, slope_v_per_s = frontend.integrator.rise_s, 0.5
    time_s = np.arange(1, 400) / stream.frame_rate_hz
    ramp_v = (slope_v_per_s * time_s).astype(np.float32)[None]
    settled = time_s > 5.0 * tau_s
    expected = slope_v_per_s * (time_s - tau_s)
    np.testing.assert_allclose(
        stream.integrate(ramp_v)[0][settled], expected[settled], atol=0.01 * slope_v_per_s * tau_s
    )


@pytest.mark.parametrize("rows", [2, 7, 42])
def test_each_row_is_its_solo_run(rows: int) -> None:
    volts = noise_bursts(rows, 1280)
    frontend = FRONTENDS["oversampled"]
    together = _stream(frontend, None, rows).process(volts)
    for row in {0, rows // 2, rows - 1}:
        np.testing.assert_array_equal(_stream(frontend, None, 1).process(volts[row : row + 1])[0], together[row])


def test_rows_of_one_stream_hear_different_noise() -> None:
    stream = _stream(make_frontend(), 1, 3)
    filtered_v = stream.trace(np.zeros((3, 16_000), np.float32))["filter"]
    for band in range(3):
        correlation = np.corrcoef(filtered_v[:, band])
        assert np.abs(correlation - np.eye(3)).max() < 0.25


def test_settled_nets_of_silence_are_the_networks_rest() -> None:
    """tanh of the biases, through neurons and integrator: known by hand."""
    frontend = make_frontend()
    integral_v = _stream(frontend, None, 1).process(np.zeros((1, 16_000), np.float32))[0]
    range_v = frontend.process.range_v
    hidden_v = range_v * np.tanh(frontend.network.hidden_bias_v / range_v)
    total_v = hidden_v @ frontend.network.output_weight + frontend.network.output_bias_v
    assert integral_v[-1] == pytest.approx(range_v * np.tanh(total_v / range_v), rel=1e-4)


def test_logarithm_adds_one_slope_per_e_fold() -> None:
    """UT / kappa = 36.9 mV at 27 C (2.6); the input counts in knees above one knee."""
    frontend = make_frontend()
    knees = np.array([0.0, math.e - 1.0, math.e**2 - 1.0, math.e**5 - 1.0], np.float32)
    envelopes_v = np.tile((frontend.compressor.knee_v * knees)[:, None, None], (1, 3, 3)).astype(np.float32)
    compressed_v = _stream(frontend, None, 1).compress(envelopes_v)
    expected = 25.865e-3 / 0.7 * np.array([0.0, 1.0, 2.0, 5.0])
    np.testing.assert_allclose(compressed_v[0], np.tile(expected[:, None], (1, 9)), rtol=1e-4)


def test_network_inputs_are_ordered_by_kind_then_band_and_rows_apart() -> None:
    stream = _stream(make_frontend(), None, 2)
    kinds, rows, bands = np.meshgrid(np.arange(3), np.arange(2), np.arange(3), indexing="ij")
    envelopes_v = (1.0 + kinds * 100 + rows * 10 + bands).reshape(1, 3, 6).astype(np.float32)
    order = np.argsort(stream.compress(envelopes_v)[:, 0], axis=1)
    np.testing.assert_array_equal(order, np.tile(np.arange(9), (2, 1)))


def test_stream_refuses_too_many_columns_and_odd_rates() -> None:
    with pytest.raises(InputError, match="exceed 128 columns"):
        FrontEndStream(make_frontend(), rows=43, rate_hz=RATE_HZ)
    with pytest.raises(InputError, match="multiple of 500 Hz"):
        FrontEndStream(make_frontend((300.0, 1000.0)), rows=1, rate_hz=22_050.0)


# Multiples of 2^-10 V, whose sums are exact in float32: equality with a threshold must come up, and not by rounding.
grid_v = st.integers(-30, 30).map(lambda steps: steps / 1024.0)
volts_lists = st.lists(grid_v, max_size=60)


def _loop(integral_v: list[float], comparator: Comparator, *, awake: bool) -> list[bool]:
    states = []
    for volts in integral_v:
        if volts > comparator.threshold_v:
            awake = True
        elif volts < comparator.threshold_v - comparator.hysteresis_v:
            awake = False
        states.append(awake)
    return states


@given(volts_lists, grid_v, grid_v.map(abs), st.booleans())
def test_comparator_follows_its_two_thresholds(
    volts: list[float], threshold_v: float, hysteresis_v: float, awake: bool
) -> None:
    comparator = Comparator(threshold_v=threshold_v, hysteresis_v=hysteresis_v)
    high = compare(np.array(volts, dtype=np.float32), comparator, awake=awake)
    assert high.tolist() == _loop(volts, comparator, awake=awake)


@given(volts_lists, grid_v.map(abs))
def test_wider_hysteresis_never_toggles_more(volts: list[float], hysteresis_v: float) -> None:
    def rises(width_v: float) -> int:
        high: NDArray[np.bool_] = compare(np.array(volts, dtype=np.float32), Comparator(hysteresis_v=width_v))
        return int(np.count_nonzero(np.diff(high.astype(int), prepend=0) > 0))

    assert rises(2.0 * hysteresis_v) <= rises(hysteresis_v)


def test_ripple_within_the_hysteresis_is_not_seen() -> None:
    ripple_v = np.tile(np.array([1e-3, -1e-3], np.float32), 20)
    assert compare(ripple_v, Comparator(hysteresis_v=5e-3)).all()
    assert compare(ripple_v, Comparator(hysteresis_v=0.5e-3)).sum() == 20
