"""Small networks of the benchmark tasks: tinyML shapes, without BatchNorm, so that any average can be evaluated."""

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

__all__ = ["autoencoder", "convolutional", "ds_cnn", "gru", "mlp"]


def mlp(*sizes: int) -> nn.Sequential:
    """Dense layers with ReLU between: (B, sizes[0]) -> (B, sizes[-1]) logits; longer inputs are flattened."""
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def autoencoder(*sizes: int) -> nn.Sequential:
    """Dense autoencoder: sizes down to the code, and mirrored up again; (B, sizes[0]) -> (B, sizes[0])."""
    return mlp(*sizes, *reversed(sizes[:-1]))


def ds_cnn(
    *,
    classes: int,
    first: tuple[int, int] = (3, 3),
    channels: Sequence[int] = (16, 32, 32),
) -> nn.Sequential:
    """Convolution, depthwise-separable blocks, mean over the map, dense: (B, 1, H, W) -> (B, classes) logits.

    The shape of MLPerf Tiny's keyword network (DS-CNN; Zhang et al., arXiv:1711.07128) with fewer channels and without
    BatchNorm: `channels` are those after the first convolution, which has stride 2, and after each block.
    Convolutions are drawn after He et al. (arXiv:1502.01852): torch's own smaller draw keeps such a stack at chance for
    thousands of steps.
    """
    layers: list[nn.Module] = [
        nn.Conv2d(1, channels[0], first, stride=2, padding=(first[0] // 2, first[1] // 2)),
        nn.ReLU(),
    ]
    for inputs, outputs in pairwise(channels):
        layers += [
            nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs),
            nn.ReLU(),
            nn.Conv2d(inputs, outputs, 1),
            nn.ReLU(),
        ]
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels[-1], classes))


def convolutional(*, classes: int, side: int = 16) -> nn.Sequential:
    """Two convolutions of stride 2 with ReLU, then dense: (B, 3, side, side) -> (B, classes) logits."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * (side // 4) ** 2, classes),
    )


class _GruClassifier(nn.Module):
    def __init__(self, inputs: int, hidden: int, classes: int) -> None:
        super().__init__()
        self.gru = nn.GRU(inputs, hidden, batch_first=True)
        self.out = nn.Linear(hidden, classes)

    def forward(self, frames: Tensor) -> Tensor:
        states, _ = self.gru(frames)
        return cast(Tensor, self.out(torch.mean(states, dim=1)))


def gru(*, inputs: int, hidden: int, classes: int) -> nn.Module:
    """One GRU layer, mean of its states, dense: (B, frames, inputs) -> (B, classes) logits."""
    return _GruClassifier(inputs, hidden, classes)
