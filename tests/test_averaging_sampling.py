"""The gate that says which steps are sampled, and its draws."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightsleeper.averaging.sampling import SamplingGate, uniform
from lightsleeper.errors import InputError


def test_samples_the_last_half_of_each_period() -> None:
    gate = SamplingGate(period=4)
    assert [gate.samples(step) for step in range(8)] == [False, False, True, True] * 2
    assert [gate.ends_period(step) for step in range(8)] == [False, False, False, True] * 2


def test_window_spans_periods() -> None:
    gate = SamplingGate(period=2, write_back_every=3)
    assert [step for step in range(13) if gate.ends_window(step)] == [5, 11]


def test_samples_each_third_step_of_the_share_back_from_the_end() -> None:
    gate = SamplingGate(period=10, sample_share=0.8, sample_every=3)
    assert [step for step in range(20) if gate.samples(step)] == [3, 6, 9, 13, 16, 19]


@given(st.integers(1, 500), st.floats(0.001, 1.0), st.integers(1, 4), st.integers(1, 60))
def test_counts_agree_with_the_gate_that_thins(period: int, share: float, every: int, thin: int) -> None:
    gate = SamplingGate(period=period, sample_share=share, write_back_every=every, sample_every=thin)
    assert sum(gate.samples(step) for step in range(gate.steps_per_window)) == gate.expected_samples_per_window
    assert gate.samples(period - 1)


@given(st.integers(1, 500), st.floats(0.001, 1.0), st.integers(1, 4))
def test_counts_agree_with_the_gate(period: int, share: float, every: int) -> None:
    gate = SamplingGate(period=period, sample_share=share, write_back_every=every)
    sampled = sum(gate.samples(step) for step in range(period * every))
    assert sampled == gate.expected_samples_per_window
    assert 1 <= sampled / every <= period
    assert gate.samples(period - 1)
    assert abs(sampled / every - share * period) <= 1.0


def test_probability_thins_the_samples() -> None:
    gate = SamplingGate(period=1, sample_share=1.0, sample_probability=0.3, seed=5)
    drawn = [gate.samples(step) for step in range(20_000)]
    assert abs(np.mean(drawn) - 0.3) < 4 * (0.3 * 0.7 / 20_000) ** 0.5
    other = SamplingGate(period=1, sample_share=1.0, sample_probability=0.3, seed=6)
    assert drawn != [other.samples(step) for step in range(20_000)]


def test_uniform_is_uniform_and_uncorrelated() -> None:
    draws = np.array([[uniform(seed, counter) for counter in range(400)] for seed in range(100)])
    counts, _ = np.histogram(draws, bins=20, range=(0.0, 1.0))
    expected = draws.size / 20
    assert ((counts - expected) ** 2 / expected).sum() < 43.8  # chi-square, 19 degrees of freedom, p = 0.001
    centred = draws - 0.5
    limit = 4 / 12 / draws.size**0.5
    assert abs((centred[:, :-1] * centred[:, 1:]).mean()) < limit
    assert abs((centred[:-1] * centred[1:]).mean()) < limit


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"period": 0}, "period"),
        ({"period": -3}, "period"),
        ({"period": 2.5}, "period"),
        ({"period": True}, "period"),
        ({"period": 5, "write_back_every": 0}, "write_back_every"),
        ({"period": 5, "sample_every": 0}, "sample_every"),
        ({"period": 5, "sample_share": 0.0}, "sample_share"),
        ({"period": 5, "sample_share": 1.5}, "sample_share"),
        ({"period": 5, "sample_share": float("nan")}, "sample_share"),
        ({"period": 5, "sample_probability": -0.1}, "sample_probability"),
    ],
)
def test_refuses_values_out_of_range(options: dict[str, float], named: str) -> None:
    with pytest.raises(InputError, match=f"^{named} is "):
        SamplingGate(**options)  # type: ignore[arg-type]
