"""Training of the network: loss of bags, batches, lower loss, same bits for a seed."""

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from example_frontend import make_frontend
from lightsleeper.learning.wake_stage import (
    ANCHOR,
    BEST_FRAMES,
    LOGIT_SCALE,
    MARGIN,
    Batches,
    NetworkSettings,
    bag_loss,
    fit_network,
    ranking_loss,
)
from lightsleeper.learning.windows import Windows

FRONTEND = make_frontend((500.0, 3000.0))
SETTINGS = NetworkSettings(steps=60, batch=12)
COUNT, FRAMES = 48, 80


def _windows(seed: int = 0) -> Windows:
    """Bursts in the low band are wake events, bursts in the high band foreign sounds."""
    rng = np.random.default_rng(seed)
    wake = np.arange(COUNT) % 3 == 0
    envelopes_v = 1e-3 * rng.uniform(0.8, 1.2, (COUNT, FRAMES, 3, 2))
    for index, band in enumerate(np.where(wake, 0, 1)):
        envelopes_v[index, 30:60, :2, band] += 20e-3
    frames = np.arange(FRAMES)
    judged: NDArray[np.bool_] = np.broadcast_to((frames >= 25) & (frames < 70), (COUNT, FRAMES))
    zeros = np.zeros(COUNT, np.int64)
    return Windows(envelopes_v.astype(np.float32), judged, wake, zeros, zeros, zeros)


WINDOWS = _windows()


def _constant(*best: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores (n, 20) whose best frames have these values, and all frames judged."""
    scores = torch.full((len(best), 20), -1.0)
    for row, value in zip(scores, best, strict=True):
        row[5 : 5 + BEST_FRAMES] = value
    return scores, torch.ones(len(best), 20, dtype=torch.bool)


def _softplus(x: float) -> float:
    return math.log1p(math.exp(x))


def test_losses_of_known_scores() -> None:
    windows = (*_constant(0.5, -0.2), torch.tensor([1.0, 0.0]))
    ranking = _softplus(LOGIT_SCALE * (-0.2 - 0.5 + MARGIN))
    logistic = (_softplus(-LOGIT_SCALE * 0.5) + _softplus(-LOGIT_SCALE * 0.2)) / 2
    assert bag_loss(*windows).item() == pytest.approx(logistic, rel=1e-5)
    assert ranking_loss(*windows).item() == pytest.approx(ranking + ANCHOR * logistic, rel=1e-5)


def test_wake_events_are_ranked_against_the_hardest_fifth() -> None:
    """Ten other windows: the two highest pull, the rest is left to the logistic loss."""
    scores, judged = _constant(0.1, -0.3, *np.linspace(-0.9, 0.0, 10))
    scores.requires_grad_(True)
    wake = torch.tensor([1.0, 1.0] + [0.0] * 10)
    ranking_loss(scores, judged, wake).backward()
    assert scores.grad is not None
    pull = scores.grad[:, 5].numpy()
    best = scores.detach()[:, 5].numpy()
    logistic = ANCHOR * LOGIT_SCALE * (1 / (1 + np.exp(-LOGIT_SCALE * best)) - wake.numpy()) / 12 / BEST_FRAMES
    np.testing.assert_allclose(pull[2:10], logistic[2:10], rtol=1e-4)
    assert (pull[10:] > 5 * logistic[10:]).all()
    assert (pull[:2] < 0).all()


@pytest.mark.parametrize("loss", [bag_loss, ranking_loss])
def test_losses_hear_judged_frames_alone(loss: Callable[..., torch.Tensor]) -> None:
    generator = torch.Generator().manual_seed(0)
    scores = 2 * torch.rand(3, 30, generator=generator) - 1
    judged = torch.zeros(3, 30, dtype=torch.bool)
    judged[:, 10:20] = True
    wake = torch.tensor([1.0, 0.0, 0.0])
    louder = scores.masked_fill(~judged, 1.0)
    assert loss(louder, judged, wake).item() == loss(scores, judged, wake).item()
    assert loss(scores, ~judged, wake).item() != loss(scores, judged, wake).item()


def test_a_third_of_a_batch_are_wake_events_with_random_gains() -> None:
    batches = Batches(WINDOWS, SETTINGS, seed=1)
    batch = batches.next()
    assert batch.gains.shape == (12, 2)
    assert batch.judged.shape == (12, FRAMES)
    assert batch.wake.tolist() == WINDOWS.wake[batch.chosen].tolist() == [1.0] * 4 + [0.0] * 8
    logs = np.log(Batches(WINDOWS, NetworkSettings(gain_spread=0.7, band_spread=0.3), seed=2).gains(4000, 2))
    assert logs.std() == pytest.approx(math.hypot(0.7, 0.3), rel=0.05)
    assert (logs[:, 0] - logs[:, 1]).std() == pytest.approx(0.3 * math.sqrt(2.0), rel=0.05)
    assert abs(logs.mean()) < 0.05


def test_batches_are_seeded() -> None:
    one, same, other = (Batches(WINDOWS, SETTINGS, seed=seed).next().chosen for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def _accuracy(network: torch.nn.Module, windows: Windows) -> float:
    with torch.no_grad():
        scores = network(torch.from_numpy(windows.envelopes_v))
    best = scores.masked_fill(~torch.from_numpy(windows.judged.copy()), -1.0).amax(1)
    return float(np.mean((best > 0).numpy() == windows.wake))


def test_fit_lowers_the_loss_and_separates_unseen_windows() -> None:
    reports: list[int] = []
    network, curve = fit_network(WINDOWS, FRONTEND, seed=0, settings=SETTINGS, report=reports.append)
    assert sum(reports) == SETTINGS.steps
    assert curve.step[-1] == SETTINGS.steps
    assert len(curve.step) == len(curve.loss) == len(curve.averaged_loss) == len(curve.sgd_loss)
    assert np.mean(curve.loss[-5:]) < 0.5 * np.mean(curve.loss[:5])
    assert np.mean(curve.averaged_loss[-5:]) < 0.5 * np.mean(curve.averaged_loss[:5])
    assert curve.sgd_loss[-1] < curve.sgd_loss[0]
    assert _accuracy(network, _windows(seed=9)) > 0.95


def test_a_fit_that_is_not_compared_gives_the_same_network_and_no_curve() -> None:
    short = NetworkSettings(steps=20, batch=6)
    compared, _ = fit_network(WINDOWS, FRONTEND, seed=0, settings=short)
    alone, curve = fit_network(WINDOWS, FRONTEND, seed=0, settings=short, compare=False)
    assert curve.step.size == curve.sgd_loss.size == 0
    for name, value in compared.state_dict().items():
        assert torch.equal(value, alone.state_dict()[name]), name


def test_fit_is_deterministic_for_a_seed_and_leaves_the_global_generator() -> None:
    short = NetworkSettings(steps=12, batch=6)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    (one, curve), (same, same_curve), (other, _) = (
        fit_network(WINDOWS, FRONTEND, seed=seed, settings=short) for seed in (3, 3, 4)
    )
    assert torch.equal(torch.get_rng_state(), before)
    for name, value in one.state_dict().items():
        assert torch.equal(value, same.state_dict()[name]), name
    np.testing.assert_array_equal(curve.loss, same_curve.loss)
    assert not torch.equal(one.hidden_weight, other.hidden_weight)


def test_fitted_weights_are_what_the_circuit_can_program() -> None:
    network = dataclasses.replace(FRONTEND.network, max_weight=0.3)
    narrow = dataclasses.replace(FRONTEND, network=network)
    fitted = fit_network(WINDOWS, narrow, seed=0, settings=NetworkSettings(steps=200, batch=12))[0]
    assert (fitted.hidden_weight.abs() / fitted.input_scale).max() > 0.29, "the limit did not bind"
    installed = fitted.install(narrow)
    most = installed.network.max_weight * (1 + 1e-5)
    assert np.abs(installed.network.hidden_weight).max() <= most
    assert np.abs(installed.network.output_weight).max() <= most
    assert installed.integrator.rise_s <= 0.3 * (1 + 1e-5)
