"""Trainable bands give the coefficients of the circuit, stay within its limits and install exactly."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from example_frontend import make_frontend
from lightsleeper.circuits.rates import oversampling_for
from lightsleeper.learning.bank_model import LOW_HZ, Q_LIMITS, TIME_LIMITS_S, TOP_SHARE, BankModel

RATE_HZ, STEP_HZ = 16_000.0, 32_000.0
FRONTEND = make_frontend((300.0, 1700.0, 7000.0))


def test_coefficients_equal_the_circuits() -> None:
    model = BankModel(FRONTEND, rate_hz=RATE_HZ, step_rate_hz=STEP_HZ)
    coefficients = model.coefficients().detach().numpy()
    filters = FRONTEND.bank.step_rules(1.0 / (STEP_HZ * model.substeps()))[:10]
    followers = -np.expm1(-1.0 / (FRONTEND.envelopes.times_s() * STEP_HZ))
    np.testing.assert_allclose(coefficients, np.concatenate([filters, followers]), rtol=1e-4, atol=1e-6)
    assert coefficients.dtype == np.float32


@settings(max_examples=25, deadline=None)
@given(st.floats(200.0, 8000.0), st.floats(0.6, 5.0), st.floats(0.5e-3, 10.0))
def test_coefficients_equal_the_circuits_anywhere(center_hz: float, q: float, time_s: float) -> None:
    model = BankModel(FRONTEND, rate_hz=RATE_HZ, step_rate_hz=STEP_HZ)
    with torch.no_grad():
        model.log_center_hz.fill_(math.log(center_hz))
        model.log_q.fill_(math.log(q))
        model.log_time_s.fill_(math.log(time_s))
    installed = model.install(FRONTEND)
    expected = installed.bank.step_rules(1.0 / (STEP_HZ * model.substeps()))[:10]
    got = model.coefficients().detach().numpy()
    np.testing.assert_allclose(got[:10], expected, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(got[10:], -np.expm1(-1.0 / (time_s * STEP_HZ)), rtol=1e-4)


def test_install_returns_the_starting_stage_and_then_what_was_trained() -> None:
    model = BankModel(FRONTEND, rate_hz=RATE_HZ, step_rate_hz=STEP_HZ)
    same = model.install(FRONTEND)
    np.testing.assert_allclose(same.bank.center_hz, FRONTEND.bank.center_hz, rtol=1e-6)
    np.testing.assert_allclose(same.envelopes.times_s(), FRONTEND.envelopes.times_s(), rtol=1e-6)
    with torch.no_grad():
        model.log_center_hz += math.log(1.1)
        model.log_q += math.log(1.5)
        model.log_time_s[3, 1] += math.log(2.0)
    moved = model.install(FRONTEND)
    np.testing.assert_allclose(moved.bank.center_hz, 1.1 * np.array(FRONTEND.bank.center_hz), rtol=1e-6)
    np.testing.assert_allclose(moved.bank.q, [3.0] * 3, rtol=1e-6)
    assert moved.envelopes.slow_decay_s[1] == pytest.approx(0.2, rel=1e-6)
    assert moved.bank.capacitance_f == FRONTEND.bank.capacitance_f
    assert moved.network is FRONTEND.network


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.floats(0.1, 10.0))
def test_clamp_holds_the_limits(seed: int, size: float) -> None:
    model = BankModel(FRONTEND, rate_hz=RATE_HZ, step_rate_hz=STEP_HZ)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(size * torch.randn(parameter.shape, generator=generator))
    model.clamp()
    installed = model.install(FRONTEND)
    limits = [(LOW_HZ, TOP_SHARE * RATE_HZ / 2.0), Q_LIMITS, *TIME_LIMITS_S]
    values = [installed.bank.center_hz, installed.bank.q, *installed.envelopes.times_s()]
    for (low, high), value in zip(limits, values, strict=True):
        assert min(value) >= low * (1 - 1e-5)
        assert max(value) <= high * (1 + 1e-5)
    assert torch.isfinite(model.coefficients()).all()
    # What training makes of a bank must still be simulated on the recordings that it was trained on.
    assert oversampling_for(RATE_HZ, max(installed.bank.center_hz)) * RATE_HZ <= STEP_HZ


def test_gradient_of_the_coefficients_equals_finite_differences() -> None:
    model = BankModel(FRONTEND, rate_hz=RATE_HZ, step_rate_hz=STEP_HZ)
    weight = torch.rand(16, 3, generator=torch.Generator().manual_seed(0))
    (model.coefficients() * weight).sum().backward()

    def loss(name: str, shift: float) -> float:
        values = {key: value.detach().double().numpy() for key, value in model.named_parameters()}
        values[name] = values[name] + shift
        bank = type(FRONTEND.bank)(center_hz=tuple(np.exp(values["log_center_hz"])), q=tuple(np.exp(values["log_q"])))
        followers = -np.expm1(-1.0 / (np.exp(values["log_time_s"]) * STEP_HZ))
        rates = np.concatenate([bank.step_rules(1.0 / (STEP_HZ * model.substeps()))[:10], followers])
        return float((rates * weight.numpy()).sum())

    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        exact = (loss(name, 1e-4) - loss(name, -1e-4)) / 2e-4
        assert float(parameter.grad.sum()) == pytest.approx(exact, rel=5e-3)
