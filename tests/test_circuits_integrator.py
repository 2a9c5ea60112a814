"""The compiled asymmetric one-pole against the readable reference; its adjoint is tested with the gradients."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lightsleeper.circuits import reference
from lightsleeper.circuits.integrator import integrate_forward


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.001, 1.0), st.floats(0.001, 1.0))
def test_integrator_equals_the_reference(seed: int, rise: float, fall: float) -> None:
    score_v = np.random.default_rng(seed).normal(scale=0.07, size=(60, 3)).astype(np.float32)
    start = np.array([0.0, 0.05, -0.05], np.float32)
    integral_v, state = np.empty_like(score_v), start.copy()
    rises, falls = np.full(3, rise, np.float32), np.full(3, fall, np.float32)
    integrate_forward(score_v, rises, falls, state, integral_v)
    np.testing.assert_array_equal(state, integral_v[-1])
    for k in range(3):
        expected = reference.follower(score_v[:, k].astype(float), float(rises[k]), float(falls[k]), start_v=start[k])
        np.testing.assert_allclose(integral_v[:, k], expected, atol=1e-6)
        bounds = (
            np.minimum.accumulate(np.r_[start[k], score_v[:, k]]),
            np.maximum.accumulate(np.r_[start[k], score_v[:, k]]),
        )
        assert (integral_v[:, k] >= bounds[0][1:] - 1e-6).all()
        assert (integral_v[:, k] <= bounds[1][1:] + 1e-6).all()


def test_step_response_rises_and_falls_at_its_two_rates() -> None:
    score_v = np.array([1.0] * 20 + [0.0] * 20, np.float32)[:, None]
    integral_v = np.empty_like(score_v)
    integrate_forward(
        score_v, np.full(1, 0.25, np.float32), np.full(1, 0.1, np.float32), np.zeros(1, np.float32), integral_v
    )
    up = 1.0 - 0.75 ** np.arange(1, 21)
    np.testing.assert_allclose(integral_v[:20, 0], up, rtol=1e-5)
    np.testing.assert_allclose(integral_v[20:, 0], up[-1] * 0.9 ** np.arange(1, 21), rtol=1e-5)


def test_equal_rates_are_linear() -> None:
    rng = np.random.default_rng(0)
    one, two = rng.normal(size=(2, 50, 1)).astype(np.float32)
    rate = np.full(1, 0.2, np.float32)
    outputs = []
    for score_v in (one, two, one + two):
        outputs.append(np.empty_like(score_v))
        integrate_forward(score_v, rate, rate, np.zeros(1, np.float32), outputs[-1])
    np.testing.assert_allclose(outputs[2], outputs[0] + outputs[1], atol=1e-5)
