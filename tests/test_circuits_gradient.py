"""Compiled adjoints against finite differences of the float64 reference."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lightsleeper.circuits import FilterBank, Process, kernels, reference
from lightsleeper.circuits.gradient import bank_envelopes, integrate

RANGE_V = Process().range_v
STEPS, HOP = 600, 100
Float64 = NDArray[np.float64]


def _bank_case(amplitude_v: float) -> tuple[Float64, Float64, Float64]:
    """Drive (T,), coefficients (9, 3) and starting states (5, 3); the followers work at speeds of their own."""
    rng = np.random.default_rng(0)
    bank = FilterBank(center_hz=(400.0, 1500.0, 6000.0), q=(0.8, 2.0, 4.0))
    followers = rng.uniform(0.002, 0.1, (6, 3))
    coefficients = np.concatenate([bank.step_coefficients(1.0 / 32_000.0), followers])
    drive_v = amplitude_v * rng.uniform(-1.0, 1.0, STEPS)
    return drive_v, coefficients, amplitude_v * rng.uniform(0.0, 0.3, (5, 3))


def _torch_bank(drive_v: Float64, coefficients: torch.Tensor, start_v: Float64) -> torch.Tensor:
    return bank_envelopes(
        coefficients,
        torch.tensor(drive_v[None], dtype=torch.float32),
        range_v=RANGE_V,
        noise_v=torch.zeros(2, 3),
        state=torch.tensor(start_v, dtype=torch.float32),
        words=torch.from_numpy(np.ones(kernels.LANES, np.uint32)),
        hop=HOP,
    )


def _difference(coefficients: Float64, band: int, j: int, drive_v: Float64, start_v: Float64, weight: Float64) -> float:
    """Central difference of the weighted sum of the reference's outputs."""
    sums = []
    step = 1e-5 * coefficients[j, band]
    for sign in (1.0, -1.0):
        moved = coefficients[:, band].copy()
        moved[j] += sign * step
        means, _ = reference.column(drive_v, moved.tolist(), range_v=RANGE_V, hop=HOP, start_v=start_v[:, band])
        sums.append(float((means * weight[:, :, band]).sum()))
    return (sums[0] - sums[1]) / (2.0 * step)


@pytest.mark.parametrize("amplitude_v", [5e-3, 60e-3])
def test_bank_gradient_equals_finite_differences(amplitude_v: float) -> None:
    drive_v, start, start_v = _bank_case(amplitude_v)
    weight = np.random.default_rng(1).uniform(0.2, 1.0, (STEPS // HOP, 3, 3))
    coefficients = torch.tensor(start, dtype=torch.float32, requires_grad=True)
    outputs = _torch_bank(drive_v, coefficients, start_v)
    (outputs * torch.tensor(weight, dtype=torch.float32)).sum().backward()
    assert coefficients.grad is not None
    exact = np.array([[_difference(start, k, j, drive_v, start_v, weight) for k in range(3)] for j in range(9)])
    # The scale of a coefficient is that of its largest gradient over the bands: one may cross zero.
    scale = np.abs(exact).max(axis=1, keepdims=True)
    np.testing.assert_allclose(coefficients.grad.numpy() / scale, exact / scale, atol=0.01)


def test_bank_gradient_of_one_frame_sees_nothing_of_later_frames() -> None:
    drive_v, start, start_v = _bank_case(10e-3)
    gradients = []
    for end in (300, STEPS):
        coefficients = torch.tensor(start, dtype=torch.float32, requires_grad=True)
        _torch_bank(drive_v[:end], coefficients, start_v)[:3].sum().backward()
        assert coefficients.grad is not None
        gradients.append(coefficients.grad)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=0, atol=0)


def test_bank_forward_leaves_the_state_where_a_second_call_goes_on() -> None:
    drive_v, start, start_v = _bank_case(10e-3)
    coefficients = torch.tensor(start, dtype=torch.float32)
    whole = _torch_bank(drive_v, coefficients, start_v)
    state, words = torch.tensor(start_v, dtype=torch.float32), torch.from_numpy(np.ones(kernels.LANES, np.uint32))
    parts = [
        bank_envelopes(
            coefficients,
            torch.tensor(part[None].copy(), dtype=torch.float32),
            range_v=RANGE_V,
            noise_v=torch.zeros(2, 3),
            state=state,
            words=words,
            hop=HOP,
        )
        for part in np.split(drive_v, [200])
    ]
    torch.testing.assert_close(torch.cat(parts), whole, rtol=0, atol=0)


def test_integrator_gradient_equals_finite_differences() -> None:
    rng = np.random.default_rng(2)
    frames, columns = 40, 4
    score = rng.normal(scale=0.05, size=(frames, columns))
    rise, fall = rng.uniform(0.05, 0.9, (2, columns))
    begin = rng.normal(scale=0.05, size=columns)
    weight = rng.normal(size=(frames, columns))

    def loss(score_v: Float64, rises: Float64, falls: Float64) -> float:
        rows = [
            reference.follower(score_v[:, k], rises[k], falls[k], start_v=begin[k]) @ weight[:, k]
            for k in range(columns)
        ]
        return float(sum(rows))

    tensors = [torch.tensor(v, dtype=torch.float32, requires_grad=True) for v in (score, rise, fall)]
    integral = integrate(*tensors, torch.tensor(begin, dtype=torch.float32))
    (integral * torch.tensor(weight, dtype=torch.float32)).sum().backward()
    for index, tensor in enumerate(tensors):
        exact = np.zeros(tensor.shape)
        for place in np.ndindex(*tensor.shape):
            sums = []
            for sign in (1e-6, -1e-6):
                values = [score.copy(), rise.copy(), fall.copy()]
                values[index][place] += sign
                sums.append(loss(*values))
            exact[place] = (sums[0] - sums[1]) / 2e-6
        assert tensor.grad is not None
        np.testing.assert_allclose(tensor.grad.numpy(), exact, rtol=1e-3, atol=1e-4 * np.abs(exact).max())


def test_integrate_leaves_its_start_alone() -> None:
    start = torch.tensor([0.02])
    integrate(torch.ones(5, 1), torch.tensor([0.5]), torch.tensor([0.5]), start)
    assert start.item() == pytest.approx(0.02)
