"""How a verification measures: errors, means, excerpts of a recording, and its rows."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from example_frontend import make_frontend
from lightsleeper.circuits import Amplifier, Comparator
from lightsleeper.circuits.rates import input_delay_s, oversampling_for, substeps_for
from lightsleeper.circuits.spice import Row, Verification
from lightsleeper.circuits.spice.chain import crossings_s
from lightsleeper.circuits.spice.comparison import around_peak, means_between, nrmse_percent
from lightsleeper.circuits.spice.excerpt import loudest_excerpt
from lightsleeper.circuits.spice.transient import filter_times_s
from lightsleeper.errors import InputError

RATE_HZ = 16_000.0


def test_error_is_relative_to_the_reference_about_its_rest() -> None:
    reference = np.array([3.0, -3.0, 3.0, -3.0])
    assert nrmse_percent(1.02 * reference, reference) == pytest.approx(2.0)
    assert nrmse_percent(1.0 + reference, 1.0 + reference) == 0.0
    assert nrmse_percent(1.3 + reference, 1.0 + reference, rest=1.0) == pytest.approx(10.0)


@given(st.lists(st.floats(0.01, 1.0), min_size=2, max_size=6), st.integers(0, 100))
def test_means_of_a_line_are_its_middles(lengths: list[float], seed: int) -> None:
    edges_s = np.concatenate([[0.0], np.cumsum(lengths)])
    knots_s = np.union1d(np.random.default_rng(seed).uniform(0.0, edges_s[-1], 9), edges_s[[0, -1]])
    means = means_between(knots_s, 3.0 * knots_s - 1.0, edges_s)
    np.testing.assert_allclose(means, 3.0 * (edges_s[1:] + edges_s[:-1]) / 2.0 - 1.0, atol=1e-12)


def test_a_band_holds_for_the_instant_that_is_said() -> None:
    """Small tones, settled: gain and phase of the transfer function, with no delay fitted."""
    frontend = make_frontend((200.0, 1000.0, 6000.0))
    delay_s = input_delay_s(RATE_HZ, oversampling_for(RATE_HZ, 6000.0))
    assert set(substeps_for(np.array([200.0, 1000.0, 6000.0]), 32_000.0)) == {1, 2, 3}
    for index, tone_hz in enumerate((230.0, 1100.0, 5500.0)):
        samples_v = 1e-6 * np.sin(2.0 * np.pi * tone_hz * np.arange(4800) / RATE_HZ)
        simulated = frontend.simulate(samples_v, RATE_HZ)
        time_s = filter_times_s(frontend, simulated, delay_s)[index]
        coupled = 1j * tone_hz / frontend.amplifier.corner_hz
        gain = (
            frontend.amplifier.gain * coupled / (1.0 + coupled) * frontend.bank.response(np.array([tone_hz]))[index, 0]
        )
        expected = np.imag(1e-6 * gain * np.exp(2j * np.pi * tone_hz * time_s))
        settled = time_s > 0.15
        assert nrmse_percent(simulated["filter"][index][settled], expected[settled]) < 0.5


def test_single_waves_are_shown_around_the_peak() -> None:
    time_s = np.linspace(0.0, 1.0, 10_001)
    wave = np.exp(-np.abs(time_s - 0.7) / 0.1)
    cut = around_peak({"ngspice": (time_s, wave), "simulator": (time_s[::10], wave[::10])}, 100.0)
    for x, y in cut.values():
        assert x[0] == pytest.approx(0.5, abs=2e-3)
        assert x[-1] == pytest.approx(0.9, abs=2e-3)
        assert y.max() == pytest.approx(1.0)


def test_the_worst_band_names_the_row() -> None:
    row = Row.worst("band-pass", "behavioural", "AC", {"200 Hz": 0.01, "4000 Hz": 0.3}, 0.1, "dB")
    assert (row.block, row.error, row.passed) == ("band-pass, 4000 Hz", 0.3, False)
    assert row.to_dict()["by_band"] == {"200 Hz": 0.01, "4000 Hz": 0.3}
    assert Row.worst("band-pass", "behavioural", "AC", {"200 Hz": 0.01}, 0.1, "dB").block == "band-pass"
    assert not Row("x", "behavioural", "AC", math.nan, 1.0, "%").passed
    assert Row("x", "behavioural", "AC", 1.0, 1.0, "%").passed


def test_a_verification_passes_with_all_its_rows() -> None:
    good, bad = (Row("x", "behavioural", "AC", error, 1.0, "%") for error in (0.5, 2.0))
    assert Verification("ngspice-39", [good], [], {}).passed
    found = Verification("ngspice-39", [good, bad], [], {"levels": [0.0]})
    assert not found.passed
    data = found.to_dict()
    assert data["engine"] == "ngspice-39"
    assert [set(row) >= {"block", "level", "analysis", "error", "limit", "passed"} for row in data["rows"]] == [
        True
    ] * 2
    assert [row["passed"] for row in data["rows"]] == [True, False]


def test_wakes_are_where_the_line_crosses_and_only_after_it_fell_below_the_hysteresis() -> None:
    comparator = Comparator(threshold_v=1.0, hysteresis_v=0.4)
    voltage = np.array([0.0, 2.0, 0.8, 2.0, 0.5, 1.5])
    np.testing.assert_allclose(crossings_s(np.arange(6.0), voltage, comparator), [0.5, 4.5])
    np.testing.assert_allclose(
        crossings_s(np.arange(5.0), voltage[1:], comparator), [3.5], err_msg="high from the start"
    )
    assert crossings_s(np.arange(6.0), voltage - 2.0, comparator).size == 0


def test_excerpt_is_the_loudest_part_at_its_level() -> None:
    samples = 0.01 * np.random.default_rng(0).normal(size=16_000)
    samples[9_000] = 0.5
    excerpt = loudest_excerpt(samples, RATE_HZ, duration_s=0.1)
    assert len(excerpt.samples) == 1600
    assert np.abs(excerpt.samples).argmax() == 320
    assert excerpt.samples[0] == excerpt.samples[-1] == 0.0
    microphone_v = excerpt.microphone_v(Amplifier(gain=100.0, clip_v=0.4), -20.0)
    assert np.abs(microphone_v).max() == pytest.approx(0.4e-3)


def test_rows_for_ngspice_are_the_band_limited_signal() -> None:
    time_s = np.arange(4800) / RATE_HZ
    tone = np.sin(2.0 * np.pi * 5000.0 * time_s) * np.hanning(4800)
    excerpt = loudest_excerpt(tone, RATE_HZ, duration_s=0.3)
    text = excerpt.source_text(Amplifier(gain=1.0, clip_v=1.0), 0.0)
    rows = np.array([line.split() for line in text.splitlines()], dtype=np.float64)
    inside = (rows[:, 0] > 0.1) & (rows[:, 0] < 0.2)
    envelope = 0.5 - 0.5 * np.cos(2.0 * np.pi * rows[inside, 0] * RATE_HZ / 4799)
    expected = np.sin(2.0 * np.pi * 5000.0 * rows[inside, 0]) * envelope / np.abs(tone).max()
    np.testing.assert_allclose(rows[inside, 1], expected, atol=1e-4)
    assert np.diff(rows[:, 0]).max() < 1.0 / 500_000.0


@pytest.mark.parametrize("samples", [np.zeros(1000), np.array([np.nan] * 1000), np.ones((2, 1000)), np.ones(10)])
def test_what_is_no_recording_is_refused(samples: np.ndarray) -> None:
    with pytest.raises(InputError, match="recording"):
        loudest_excerpt(samples, RATE_HZ, duration_s=0.1)
