"""The compiled logarithm and tanh layer against float64, in any number of frames to the same bits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightsleeper.circuits.network_kernel import log1p, tanh_layer


def _layer(rows: int, frames: int, inputs: int, neurons: int, size: float = 1.0) -> list[np.ndarray]:
    rng = np.random.default_rng(frames)
    shapes = ((rows, frames, inputs), (rows, inputs, neurons), (rows, neurons), (rows, neurons))
    return [(size * rng.normal(size=shape)).astype(np.float32) for shape in shapes]


@given(st.floats(0.0, 1e6, width=32))
def test_logarithm_is_that_of_one_and_the_value(value: float) -> None:
    assert log1p(np.array([[value]], np.float32))[0, 0] == pytest.approx(np.log1p(value), rel=3e-7, abs=2e-7)


def test_logarithm_keeps_the_shape_and_takes_any_length() -> None:
    values = np.random.default_rng(0).exponential(size=(3, 7, 101)).astype(np.float32)
    np.testing.assert_allclose(log1p(values), np.log1p(values), rtol=1e-6, atol=2e-7)
    np.testing.assert_array_equal(log1p(values[:, ::2])[2, 3], log1p(values[2, 6]))
    assert log1p(values[:, :0]).shape == (3, 0, 101)


@given(st.integers(1, 3), st.integers(0, 600), st.integers(1, 9), st.integers(1, 5))
def test_layer_is_the_squashed_weighted_sum(rows: int, frames: int, inputs: int, neurons: int) -> None:
    values, weight, bias, swing = _layer(rows, frames, inputs, neurons)
    total = np.einsum("rfi,rin->rfn", values.astype(float), weight.astype(float)) + bias[:, None]
    np.testing.assert_allclose(
        tanh_layer(values, weight, bias, swing), swing[:, None] * np.tanh(total), atol=3e-6, rtol=1e-5
    )


def test_layer_saturates_at_its_swing() -> None:
    values, weight, bias, swing = _layer(2, 50, 4, 3, size=100.0)
    assert np.abs(tanh_layer(values, weight, bias, swing)).max() <= np.abs(swing).max() * (1 + 1e-6)


@pytest.mark.parametrize("split", [1, 255, 256, 300, 517])
def test_frames_give_the_same_bits_in_any_chunk(split: int) -> None:
    values, *rest = _layer(2, 600, 24, 8)
    whole = tanh_layer(values, *rest)
    np.testing.assert_array_equal(tanh_layer(values[:, :split], *rest), whole[:, :split])
    np.testing.assert_array_equal(tanh_layer(values[:, split:], *rest), whole[:, split:])
    np.testing.assert_array_equal(log1p(np.abs(values[:, split:])), log1p(np.abs(values))[:, split:])
