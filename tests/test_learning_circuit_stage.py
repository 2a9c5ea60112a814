"""Training through the circuit: a misplaced band moves to the signal, seeded and within limits."""

import copy
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from example_frontend import RATE_HZ, make_frontend
from lightsleeper.circuits import FrontEnd
from lightsleeper.learning.circuit_stage import CircuitSettings, fit_circuit
from lightsleeper.learning.wake_model import WakeNetwork
from lightsleeper.learning.wake_stage import NetworkSettings, fit_network
from lightsleeper.learning.windows import Windows, scene_envelopes
from lightsleeper.recordings import Scene

TONE_HZ = 1600.0
"""An octave above the lower band, 0.9 octaves below the upper one."""
FRONTEND = make_frontend((800.0, 3000.0))
COUNT, FRAMES = 24, 50
PER_FRAME = 128


def _problem() -> tuple[Windows, list[Scene]]:
    """A floor of white noise: in each third window a tone burst, in the others a stretch of louder noise."""
    rng = np.random.default_rng(0)
    pressure_pa = 0.01 * rng.standard_normal((COUNT, FRAMES * PER_FRAME))
    wake = np.arange(COUNT) % 3 == 0
    burst = slice(15 * PER_FRAME, 35 * PER_FRAME)
    tone = 0.01 * np.sin(2.0 * np.pi * TONE_HZ * np.arange(20 * PER_FRAME) / RATE_HZ)
    pressure_pa[wake, burst] += tone
    pressure_pa[~wake, burst] *= 1.5
    scenes = [Scene(pressure_pa.reshape(-1).astype(np.float32), RATE_HZ, ())]
    starts = FRAMES * np.arange(COUNT)
    frames = np.arange(FRAMES)
    judged: NDArray[np.bool_] = np.broadcast_to((frames >= 15) & (frames < 40), (COUNT, FRAMES))
    zeros = np.zeros(COUNT, np.int64)
    envelopes_v = scene_envelopes(FRONTEND, scenes, noise_seed=0)[0].reshape(COUNT, FRAMES, 3, 2)
    return Windows(envelopes_v, judged, wake, zeros, zeros, starts), scenes


WINDOWS, SCENES = _problem()


@pytest.fixture(scope="module")
def network() -> WakeNetwork:
    return fit_network(WINDOWS, FRONTEND, seed=1, settings=NetworkSettings(steps=60, batch=16))[0]


def _fit(
    network: WakeNetwork, *, seed: int = 1, settings: CircuitSettings | None = None
) -> tuple[FrontEnd, NDArray[np.float64], WakeNetwork]:
    trained = copy.deepcopy(network)
    return *fit_circuit(WINDOWS, SCENES, FRONTEND, trained, seed=seed, settings=settings), trained


def _distance_octaves(frontend: FrontEnd) -> float:
    """From the tone to the nearest band."""
    return float(np.abs(np.log2(np.array(frontend.bank.center_hz) / TONE_HZ)).min())


@pytest.mark.parametrize("seed", [1, 2])
def test_a_misplaced_band_moves_to_the_tone_and_the_loss_falls(network: WakeNetwork, seed: int) -> None:
    settings = CircuitSettings(steps=30, bank_rate=0.03, period=10)
    fitted, losses, _ = _fit(network, seed=seed, settings=settings)
    assert losses.shape == (30,)
    assert losses[-5:].mean() < 0.8 * losses[:5].mean()
    assert _distance_octaves(FRONTEND) > 0.9
    assert _distance_octaves(fitted) < 0.3


SHORT = CircuitSettings(steps=4, period=2)


def test_a_seed_decides_every_bit(network: WakeNetwork) -> None:
    (one, losses, trained), (same, same_losses, same_trained), (other, other_losses, _) = (
        _fit(network, seed=seed, settings=SHORT) for seed in (5, 5, 6)
    )
    assert one.bank == same.bank
    assert one.envelopes == same.envelopes
    np.testing.assert_array_equal(losses, same_losses)
    for value, same_value in zip(trained.parameters(), same_trained.parameters(), strict=True):
        np.testing.assert_array_equal(value.detach().numpy(), same_value.detach().numpy())
    assert one.bank != other.bank
    assert (losses != other_losses).all()


def test_bank_and_network_are_trained_and_the_rest_stays(network: WakeNetwork) -> None:
    counts: list[int] = []
    trained = copy.deepcopy(network)
    fitted, _ = fit_circuit(WINDOWS, SCENES, FRONTEND, trained, seed=1, settings=SHORT, report=counts.append)
    assert counts == [1] * SHORT.steps
    assert np.all(np.array(fitted.bank.center_hz) != FRONTEND.bank.center_hz)
    assert np.all(np.array(fitted.bank.q) != FRONTEND.bank.q)
    assert (fitted.envelopes.times_s() != FRONTEND.envelopes.times_s()).any(axis=1).all()
    for name in ("process", "microphone", "amplifier", "compressor", "comparator", "network", "integrator"):
        assert getattr(fitted, name) is getattr(FRONTEND, name)
    for (name, value), old in zip(trained.named_parameters(), network.parameters(), strict=True):
        assert (value != old).any(), name


def test_a_wild_learning_rate_stays_within_the_circuits_limits(network: WakeNetwork) -> None:
    fitted, losses, trained = _fit(
        network, settings=CircuitSettings(steps=8, bank_rate=2.0, network_rate=2.0, period=4)
    )
    assert np.isfinite(losses).all()
    assert min(fitted.bank.q) >= 0.6 * (1 - 1e-5)
    assert max(fitted.bank.q) <= 5.0 * (1 + 1e-5)
    assert min(fitted.bank.center_hz) >= 50.0 * (1 - 1e-5)
    assert max(fitted.bank.center_hz) <= RATE_HZ / 4 * (1 + 1e-5)
    installed = trained.install(fitted)
    assert np.abs(installed.network.hidden_weight).max() <= installed.network.max_weight * (1 + 1e-5)


def test_more_shards_average_the_gradient_of_more_windows(network: WakeNetwork) -> None:
    """First losses of many shards spread less than those of one: each is a mean over 16 windows."""
    spreads = [
        np.std([_fit(network, seed=seed, settings=CircuitSettings(steps=1, shards=shards))[1][0] for seed in range(20)])
        for shards in (1, 6)
    ]
    assert spreads[1] < 0.8 * spreads[0]


def test_longer_training_goes_on_from_shorter(network: WakeNetwork) -> None:
    """The first steps do not depend on how many follow."""
    runs = [_fit(network, settings=CircuitSettings(steps=steps, period=2))[1] for steps in (1, 2, 4)]
    for shorter, longer in pairwise(runs):
        np.testing.assert_array_equal(longer[: len(shorter)], shorter)
