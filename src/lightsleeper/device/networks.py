"""Small networks that the generated C is tried on: one for each kind of layer, and two of known size."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lightsleeper.device.graph import Network
from lightsleeper.device.layers import Loss

__all__ = ["NETWORKS", "TrialNetwork", "keyword_net", "seeded", "trial_data"]


@dataclass(frozen=True, slots=True)
class TrialNetwork:
    """A network to try.

    Attributes:
        build: makes the module.
        shape: of a sample.
        loss: see `lightsleeper.device.Network`.
    """

    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    loss: Loss


class _Recurrent(nn.Module):
    """A GRU whose last state is classified."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(8, 16, batch_first=True)
        self.head = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.gru(x)
        out: Tensor = self.head(states[:, -1])
        return out


class _Stacked(nn.Module):
    """A GRU over the states of another."""

    def __init__(self) -> None:
        super().__init__()
        self.lower = nn.GRU(4, 6, batch_first=True)
        self.upper = nn.GRU(6, 5, batch_first=True)
        self.head = nn.Linear(30, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(torch.flatten(torch.tanh(self.upper(self.lower(x)[0])[0]), 1))
        return out


def keyword_net(*, channels: int = 64, blocks: int = 4, classes: int = 12) -> nn.Sequential:
    """Depthwise-separable network of the keyword task of MLPerf Tiny (github.com/mlcommons/tiny), BatchNorm folded.

    Input (1, 49, 10). With the defaults 22,604 parameters.
    """
    layers: list[nn.Module] = [nn.Conv2d(1, channels, (10, 4), stride=2, padding=(5, 1)), nn.ReLU()]
    for _ in range(blocks):
        layers += [
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 1),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers, nn.AvgPool2d((25, 5)), nn.Flatten(), nn.Linear(channels, classes))


NETWORKS: dict[str, TrialNetwork] = {
    "mlp": TrialNetwork(lambda: nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4)), (16,), "cross_entropy"),
    "tanh_sigmoid_mse": TrialNetwork(
        lambda: nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 5, bias=False), nn.Sigmoid()), (6,), "mse"
    ),
    "conv1d": TrialNetwork(
        lambda: nn.Sequential(
            nn.Conv1d(3, 6, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.MaxPool1d(2),
            nn.Conv1d(6, 8, 3, padding=1),
            nn.Tanh(),
            nn.AvgPool1d(4, 2),
            nn.Flatten(),
            nn.Linear(24, 3),
        ),
        (3, 32),
        "cross_entropy",
    ),
    "conv2d": TrialNetwork(
        lambda: nn.Sequential(
            nn.Conv2d(1, 6, (3, 4), stride=(2, 1), padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 5, 3),
            nn.Sigmoid(),
            nn.Flatten(),
            nn.Linear(10, 1),
        ),
        (1, 14, 9),
        "binary_cross_entropy",
    ),
    "depthwise": TrialNetwork(
        lambda: nn.Sequential(
            nn.Conv2d(2, 7, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(7, 7, 3, stride=2, padding=1, groups=7),
            nn.ReLU(),
            nn.Conv2d(7, 10, 1),
            nn.ReLU(),
            nn.Conv2d(10, 4, 3, padding=1, groups=2),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4, 3),
        ),
        (2, 8, 6),
        "cross_entropy",
    ),
    "front_and_block": TrialNetwork(
        lambda: nn.Sequential(
            nn.Conv2d(1, 6, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d((2, 1)),
            nn.Conv2d(6, 9, 1),
            nn.ReLU(),
            nn.Conv2d(9, 9, 3, stride=(1, 2), padding=1, groups=9),
            nn.ReLU(),
            nn.Conv2d(9, 10, 1),
            nn.ReLU(),
            nn.AvgPool2d((6, 4)),
            nn.Flatten(),
            nn.Linear(10, 3),
        ),
        (1, 12, 8),
        "cross_entropy",
    ),
    "gru": TrialNetwork(_Recurrent, (10, 8), "cross_entropy"),
    "two_grus": TrialNetwork(_Stacked, (6, 4), "mse"),
}
"""By name."""


def seeded(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    """A module in evaluation mode whose weights depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build().eval()


def trial_data(
    trial: TrialNetwork, network: Network, samples: int, *, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.generic]]:
    """Random samples (n, ...) with targets that depend on them: labels (n,), or values in [0, 1] (n, outputs)."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((samples, *trial.shape)).astype(np.float32)
    flat = x.reshape(samples, -1)
    if trial.loss == "mse":
        weights = rng.standard_normal((flat.shape[1], network.outputs)) / np.sqrt(flat.shape[1])
        return x, (0.5 + 0.5 * np.tanh(flat @ weights)).astype(np.float32)
    half = flat.shape[1] // 2
    energy = np.sum(flat[:, :half] ** 2, 1) / np.sum(flat**2, 1)
    edges = np.quantile(energy, np.linspace(0.0, 1.0, max(2, network.outputs) + 1)[1:-1])
    return x, np.searchsorted(edges, energy).astype(np.int32)
