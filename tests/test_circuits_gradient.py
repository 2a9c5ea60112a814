"""Compiled adjoints against finite differences of the float64 reference."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lightsleeper.circuits import FilterBank, Process, reference
from lightsleeper.circuits.columns import Columns
from lightsleeper.circuits.gradient import bank_envelopes, integrate
from lightsleeper.circuits.rates import substeps_for

RANGE_V = Process().range_v
STEPS, HOP = 600, 100
Float64 = NDArray[np.float64]
BANK = FilterBank(center_hz=(400.0, 1500.0, 6000.0), q=(0.8, 2.0, 4.0))
SUBSTEPS = substeps_for(np.array(BANK.center_hz), 32_000.0)
RULES = BANK.step_rules(1.0 / (32_000.0 * SUBSTEPS))
FIXED = np.concatenate([RULES[10:], np.array([0.0, 0.0, RANGE_V])[:, None] * np.ones(3)])


def _bank_case(amplitude: float) -> tuple[Float64, Float64, Float64]:
    """Drive (3 T,), trained coefficients (16, 3) and starting states (11, 3)."""
    rng = np.random.default_rng(0)
    followers = rng.uniform(0.002, 0.1, (6, 3))
    drive = amplitude * rng.uniform(-1.0, 1.0, 3 * STEPS)
    return drive, np.concatenate([RULES[:10], followers]), amplitude * rng.uniform(0.0, 0.3, (11, 3))


def _torch_bank(
    drive: Float64,
    trained: torch.Tensor,
    state: NDArray[np.float32],
    *,
    noise: float = 0.0,
    words: NDArray[np.uint32] | None = None,
) -> torch.Tensor:
    columns = Columns.of(1, SUBSTEPS)
    return bank_envelopes(
        trained,
        columns,
        fixed=columns.spread(FIXED),
        drive=drive[None].astype(np.float32),
        noise=columns.spread(np.full((2, 3), noise)),
        state=state,
        words=np.arange(1, columns.width + 1, dtype=np.uint32) if words is None else words,
        hop=HOP,
        frames=len(drive) // (3 * HOP),
    )


def _state(start: Float64) -> NDArray[np.float32]:
    return Columns.of(1, SUBSTEPS).spread(start)


def _difference(trained: Float64, band: int, j: int, drive: Float64, start: Float64, weight: Float64) -> float:
    """Central difference of the weighted sum of the reference's outputs."""
    sums = []
    step = 1e-5 * trained[j, band]
    for sign in (1.0, -1.0):
        moved = trained[:, band].copy()
        moved[j] += sign * step
        means, _ = reference.column(
            drive,
            [*moved[:10], *RULES[10:, band]],
            moved[10:].tolist(),
            range_v=RANGE_V,
            substeps=int(SUBSTEPS[band]),
            hop=HOP,
            start=start[:, band].tolist(),
        )
        sums.append(float((means * weight[:, :, band]).sum()))
    return (sums[0] - sums[1]) / (2.0 * step)


@pytest.mark.parametrize("amplitude", [0.05, 0.8])
def test_bank_gradient_equals_finite_differences(amplitude: float) -> None:
    drive, start, state = _bank_case(amplitude)
    weight = np.random.default_rng(1).uniform(0.2, 1.0, (STEPS // HOP, 3, 3))
    trained = torch.tensor(start, dtype=torch.float32, requires_grad=True)
    outputs = _torch_bank(drive, trained, _state(state))
    (outputs * torch.tensor(weight, dtype=torch.float32)).sum().backward()
    assert trained.grad is not None
    exact = np.array([[_difference(start, k, j, drive, state, weight) for k in range(3)] for j in range(16)])
    # The scale of a coefficient is that of its largest gradient over the bands: one may cross zero.
    scale = np.abs(exact).max(axis=1, keepdims=True)
    np.testing.assert_allclose(trained.grad.numpy() / scale, exact / scale, atol=0.015)


def test_bank_gradient_of_one_frame_sees_nothing_of_later_frames() -> None:
    drive, start, state = _bank_case(0.1)
    gradients = []
    for end in (3 * 300, 3 * STEPS):
        trained = torch.tensor(start, dtype=torch.float32, requires_grad=True)
        _torch_bank(drive[:end], trained, _state(state))[:3].sum().backward()
        assert trained.grad is not None
        gradients.append(trained.grad)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=0, atol=0)


def test_adjoint_runs_forward_again_through_the_same_noise() -> None:
    """The gradient with noise is that of the noisy run: it differs from the noiseless one, and repeats to the bit."""
    drive, start, state = _bank_case(0.1)
    gradients = []
    for noise in (0.02, 0.02, 0.0):
        trained = torch.tensor(start, dtype=torch.float32, requires_grad=True)
        outputs = _torch_bank(drive, trained, _state(state), noise=noise)
        outputs.sum().backward()
        assert trained.grad is not None
        gradients.append(trained.grad)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=0, atol=0)
    assert (gradients[0] - gradients[2]).abs().max() > 0.01 * gradients[2].abs().max()


def test_bank_forward_leaves_the_state_where_a_second_call_goes_on() -> None:
    drive, start, state = _bank_case(0.1)
    trained = torch.tensor(start, dtype=torch.float32)
    whole = _torch_bank(drive, trained, _state(state), noise=1e-3)
    moving = _state(state)
    words = np.arange(1, moving.shape[1] + 1, dtype=np.uint32)
    parts = [_torch_bank(part, trained, moving, noise=1e-3, words=words) for part in np.split(drive, [3 * 200])]
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
