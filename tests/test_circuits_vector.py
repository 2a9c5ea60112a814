"""Arithmetic on eight numbers against the same in numpy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lightsleeper.circuits.simd import BLOCK, Float32, f32, jit, tanh, tracked
from lightsleeper.circuits.vector import fused, load, splat, store

LEVELS = arrays(np.float32, (3, BLOCK), elements=st.floats(-16.0, 16.0, width=32))
RESULTS = 9


@jit
def _apply(a: Float32, b: Float32, c: Float32, out: Float32) -> None:
    x, y, z = load(a, 1), load(b, 0), load(c, 0)
    store(out, 0, x + y)
    store(out, BLOCK, x - y)
    store(out, 2 * BLOCK, f32(3.0) * x)
    store(out, 3 * BLOCK, x / (abs(y) + f32(1.0)))
    store(out, 4 * BLOCK, min(max(x, f32(-1.0)), y))
    store(out, 5 * BLOCK, splat(c[2]) - z)
    store(out, 6 * BLOCK, tanh(x))
    store(out, 7 * BLOCK, tracked(x, y, z, f32(0.25) * z))
    store(out, 8 * BLOCK, fused(x, y, z))


@jit
def _each(x: Float32, y: Float32, z: Float32, out: Float32) -> None:
    for k in range(x.size):
        out[0, k] = tanh(x[k])
        out[1, k] = tracked(x[k], y[k], z[k], f32(0.25) * z[k])


@given(values=LEVELS)
def test_eight_at_once_are_eight_times_one(values: Float32) -> None:
    x, y, z = values
    out = np.empty(RESULTS * BLOCK, np.float32)
    _apply(np.concatenate([[np.float32(7.0)], x]), y, z, out)
    rows = out.reshape(RESULTS, BLOCK)
    one = np.float32(1.0)
    known = [x + y, x - y, np.float32(3.0) * x, x / (abs(y) + one), np.minimum(np.maximum(x, -one), y), z[2] - z]
    np.testing.assert_array_equal(rows[:6], known)
    single = np.empty((2, BLOCK), np.float32)
    _each(x, y, z, single)
    np.testing.assert_array_equal(rows[6:8], single)
    exact = x.astype(np.float64) * y + z
    np.testing.assert_allclose(rows[8], exact, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("place", [0, 3, BLOCK])
def test_a_store_touches_its_eight_alone(place: int) -> None:
    @jit
    def put(target: Float32, at: int) -> None:
        store(target, at, splat(f32(1.0)))

    target = np.zeros(3 * BLOCK, np.float32)
    put(target, place)
    assert np.flatnonzero(target).tolist() == list(range(place, place + BLOCK))
