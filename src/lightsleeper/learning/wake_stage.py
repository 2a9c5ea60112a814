"""Fit the wake stage through the circuit: the network on simulated envelopes, then bands and time constants as well."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

from lightsleeper.averaging import Settle
from lightsleeper.circuits import FrontEnd
from lightsleeper.errors import InputError
from lightsleeper.learning.training import Curve, Task, fit
from lightsleeper.learning.wake_gradient import WindowScores
from lightsleeper.learning.wake_model import WakeNetwork
from lightsleeper.learning.windows import Windows

__all__ = ["Batches", "NetworkSettings", "bag_loss", "fit_network", "network_task", "ranking_loss"]

BEST_FRAMES = 6
"""Frames (48 ms) whose mean score stands for a whole window."""
LOGIT_SCALE = 6.0
"""Logit of a fully driven output."""
HARD_SHARE = 0.2
"""Share of a batch's other windows, the highest scored, that wake events are ranked against."""
MARGIN = 0.3
"""By how much a wake event should stand above them, in units of the linear range."""
ANCHOR = 0.3
"""Weight of the logistic loss, which alone says where zero lies: networks that share a threshold need it."""
START_RATE = 0.01
"""That Settle starts from. From 1.0 it ends as well; every figure of the docs was measured from here."""
PROBE = 96
PROBE_SEED = 1
"""Windows of the fixed sample behind the training curve, and its seed."""


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """How the network is trained.

    Attributes:
        steps: optimizer steps.
        batch: windows in a batch; a third are wake events.
        sgd_rate: learning rate of the plain SGD (momentum 0.9) in the training curve; 0.03 fails, 0.003 is slower.
        gain_spread, band_spread: standard deviation of random log gains (1 neper = 8.7 dB), common and per band.
    """

    steps: int = 500
    batch: int = 48
    sgd_rate: float = 0.01
    gain_spread: float = 0.7
    band_spread: float = 0.35


def _best_mean(scores: Tensor, judged: Tensor) -> Tensor:
    """Mean score (n,) of every window's best frames (multiple-instance learning)."""
    return torch.topk(scores.masked_fill(~judged, -1.0), BEST_FRAMES, dim=1).values.mean(1)


def bag_loss(scores: Tensor, judged: Tensor, wake: Tensor) -> Tensor:
    """Logistic loss on each window's best frames, scalar.

    Args:
        scores: (n, frames) in units of the linear range, -1 to 1.
        judged: (n, frames) frames that count.
        wake: (n,) float target.
    """
    return binary_cross_entropy_with_logits(LOGIT_SCALE * _best_mean(scores, judged), wake)


def ranking_loss(scores: Tensor, judged: Tensor, wake: Tensor) -> Tensor:
    """Logistic loss of every wake event's lead over the hardest other windows, anchored by `bag_loss`, scalar.

    At a few false wakes an hour only the hardest others decide (partial area under the curve: H. Narasimhan and
    S. Agarwal, ICML 2013). Arguments as `bag_loss`; both kinds of windows must be there.
    """
    best = _best_mean(scores, judged)
    events, others = best[wake > 0.5], best[wake < 0.5]
    hardest = torch.topk(others, max(1, round(HARD_SHARE * len(others)))).values
    ranking = softplus(LOGIT_SCALE * (hardest - events[:, None] + MARGIN)).mean()
    return ranking + ANCHOR * binary_cross_entropy_with_logits(LOGIT_SCALE * best, wake)


class WindowBatch(NamedTuple):
    """A batch of windows: (n,) which are chosen, (n, bands) gains, (n, frames) judged, (n,) float wake."""

    chosen: NDArray[np.int64]
    gains: NDArray[np.float32]
    judged: Tensor
    wake: Tensor


class Batches:
    """Endless random batches, a third of them wake events, with random gains."""

    def __init__(self, windows: Windows, settings: NetworkSettings, *, seed: int) -> None:
        self._windows = windows
        self._settings = settings
        self._rng = np.random.default_rng(seed)
        self._wake, self._other = np.flatnonzero(windows.wake), np.flatnonzero(~windows.wake)
        if not (self._wake.size and self._other.size):
            raise InputError(
                f"training streams hold {self._wake.size} usable wake events and {self._other.size} other windows; "
                "both are needed: raise training.scenes or training.scene_s"
            )

    def draw(self) -> NDArray[np.int64]:
        """Indices of one batch."""
        third = self._settings.batch // 3
        wake = self._rng.choice(self._wake, third)
        return np.concatenate([wake, self._rng.choice(self._other, self._settings.batch - third)])

    def gains(self, count: int, bands: int) -> NDArray[np.float32]:
        """Random gains, shape (count, bands)."""
        common = self._rng.normal(0.0, self._settings.gain_spread, (count, 1))
        each = self._rng.normal(0.0, self._settings.band_spread, (count, bands))
        return np.exp(common + each).astype(np.float32)

    def next(self) -> WindowBatch:
        """One batch with its gains."""
        chosen = self.draw()
        gains = self.gains(len(chosen), self._windows.envelopes_v.shape[-1])
        wake = torch.from_numpy(self._windows.wake[chosen].astype(np.float32))
        return WindowBatch(chosen, gains, torch.from_numpy(self._windows.judged[chosen]), wake)


def fit_network(
    windows: Windows,
    frontend: FrontEnd,
    *,
    seed: int,
    settings: NetworkSettings | None = None,
    compare: bool = True,
    report: Callable[[int], None] | None = None,
) -> tuple[WakeNetwork, Curve]:
    """Train the network on envelopes of a fixed bank with Settle, which has no learning rate to tune.

    Args:
        windows: training examples.
        frontend: stage whose constants hold.
        seed: of the initial weights and of the batches.
        settings: see `NetworkSettings`.
        compare: record the training curve, with that of plain SGD beside it.
        report: called with 1 after every step.

    Returns:
        The network with averaged weights, and its training curve.
    """
    settings = settings or NetworkSettings()
    return fit(
        lambda: network_task(windows, frontend, seed=seed, settings=settings),
        lambda network: Settle(network.parameters(), lr=START_RATE),
        steps=settings.steps,
        sgd_rate=settings.sgd_rate if compare else None,
        report=report,
    )


def network_task(
    windows: Windows, frontend: FrontEnd, *, seed: int, settings: NetworkSettings
) -> tuple[WakeNetwork, Task[WindowBatch]]:
    """An untrained network and what it is trained on; arguments as `fit_network`."""
    network = WakeNetwork(frontend, windows.envelopes_v, seed=seed)
    scores = WindowScores(windows, network)
    probe = dataclasses.replace(settings, batch=PROBE)
    task = Task(
        next_batch=Batches(windows, settings, seed=seed).next,
        loss=lambda batch: ranking_loss(scores(batch.chosen, batch.gains), batch.judged, batch.wake),
        probe=Batches(windows, probe, seed=PROBE_SEED).next(),
        after_step=network.clamp,
    )
    return network, task
