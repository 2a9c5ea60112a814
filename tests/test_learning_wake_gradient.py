"""The compiled wake network against the torch operations that state it readably."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightsleeper.learning.wake_gradient import WindowScores
from lightsleeper.learning.wake_model import WakeNetwork, initial_frontend
from lightsleeper.learning.windows import Windows

FRAMES = 60


def make_windows(count: int, bands: int, seed: int) -> Windows:
    rng = np.random.default_rng(seed)
    ends = rng.integers(15, FRAMES + 1, count)
    frames = np.arange(FRAMES)
    return Windows(
        envelopes_v=np.exp(rng.normal(-6.0, 3.0, (count, FRAMES, 3, bands))).astype(np.float32),
        judged=(frames >= 10) & (frames < ends[:, None]),
        wake=rng.random(count) < 0.5,
        fold=np.zeros(count, np.int64),
        scene=np.zeros(count, np.int64),
        start=np.zeros(count, np.int64),
    )


def both(
    windows: Windows, network: WakeNetwork, index: np.ndarray, gains: np.ndarray
) -> list[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """Judged scores and gradients of a weighted sum of them, readable version first."""
    judged = torch.from_numpy(windows.judged[index])
    upstream = torch.randn(judged.shape, generator=torch.Generator().manual_seed(0))
    results = []
    envelopes = torch.from_numpy(windows.envelopes_v[index] * gains[:, None, None])
    for scores in (network(envelopes), WindowScores(windows, network)(index, gains)):
        network.zero_grad()
        (scores * upstream)[judged].sum().backward()
        gradients = {name: p.grad.numpy().copy() for name, p in network.named_parameters() if p.grad is not None}
        results.append((scores.detach().numpy()[windows.judged[index]], gradients))
    return results


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), bands=st.integers(1, 9), neurons=st.integers(1, 9))
def test_scores_and_gradients_equal_the_readable_network(seed: int, bands: int, neurons: int) -> None:
    windows = make_windows(7, bands, seed)
    network = WakeNetwork(initial_frontend(bands=bands, neurons=neurons), windows.envelopes_v, seed=seed)
    rng = np.random.default_rng(seed)
    index = rng.integers(0, 7, 5)
    gains = np.exp(rng.normal(0.0, 1.0, (5, bands))).astype(np.float32)

    (scores, gradients), (fast_scores, fast_gradients) = both(windows, network, index, gains)

    np.testing.assert_allclose(fast_scores, scores, atol=3e-6)
    assert set(fast_gradients) == set(gradients) == {name for name, _ in network.named_parameters()}
    for name, gradient in gradients.items():
        np.testing.assert_allclose(fast_gradients[name], gradient, atol=1e-4 * np.abs(gradient).max() + 1e-6)


def test_saturated_neurons_and_huge_envelopes_stay_finite() -> None:
    windows = make_windows(3, 2, 0)
    windows.envelopes_v[0] = 1e6
    windows.envelopes_v[1] = 0.0
    network = WakeNetwork(initial_frontend(bands=2, neurons=3), make_windows(3, 2, 1).envelopes_v, seed=0)
    with torch.no_grad():
        network.hidden_weight.mul_(1e4)

    (scores, _), (fast_scores, gradients) = both(windows, network, np.arange(3), np.ones((3, 2), np.float32))

    assert np.isfinite(fast_scores).all()
    np.testing.assert_allclose(fast_scores, scores, atol=1e-4)
    assert all(np.isfinite(gradient).all() for gradient in gradients.values())


def test_frames_behind_the_last_judged_one_do_not_count() -> None:
    windows = make_windows(4, 3, 2)
    network = WakeNetwork(initial_frontend(bands=3), windows.envelopes_v, seed=0)
    index, gains = np.arange(4), np.ones((4, 3), np.float32)
    before = WindowScores(windows, network)(index, gains)
    for row, judged in zip(windows.envelopes_v, windows.judged, strict=True):
        row[np.flatnonzero(judged)[-1] + 1 :] = np.nan
    after = WindowScores(windows, network)(index, gains)

    assert torch.equal(before, after)
    assert torch.isfinite(after).all()


@pytest.mark.parametrize("rows", [1, 3])
def test_a_batch_gives_the_same_bits_as_its_windows_alone(rows: int) -> None:
    windows = make_windows(6, 4, 3)
    network = WakeNetwork(initial_frontend(bands=4), windows.envelopes_v, seed=0)
    gains = np.linspace(0.5, 2.0, 24, dtype=np.float32).reshape(6, 4)
    scores = WindowScores(windows, network)
    parts = [scores(np.arange(i, i + rows), gains[i : i + rows]) for i in range(0, 6, rows)]

    assert torch.equal(torch.cat(parts), scores(np.arange(6), gains))
