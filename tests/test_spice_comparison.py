"""How a verification measures: errors, means, the common delay, excerpts of a recording, and its rows."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightsleeper.circuits import Amplifier, Comparator
from lightsleeper.circuits.spice import Row, Verification
from lightsleeper.circuits.spice.chain import crossings_s
from lightsleeper.circuits.spice.comparison import around_peak, common_lag_s, means_between, nrmse_percent
from lightsleeper.circuits.spice.excerpt import loudest_excerpt
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


@pytest.mark.parametrize("lag_s", [-3.3e-4, 0.0, 7.5237e-4])
def test_one_delay_is_found_for_all(lag_s: float) -> None:
    time_s = np.arange(4000) / 64_000.0
    rng = np.random.default_rng(1)
    pairs = []
    for tone_hz in (200.0, 3000.0, 7000.0):
        phase = rng.uniform(0.0, 6.0)

        def reference(t: np.ndarray, tone_hz: float = tone_hz, phase: float = phase) -> np.ndarray:
            return np.sin(2.0 * np.pi * tone_hz * t + phase) * np.exp(-t / 0.02)

        pairs.append((time_s, reference(time_s - lag_s), reference))
    assert common_lag_s(pairs) == pytest.approx(lag_s, abs=1e-7)


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
