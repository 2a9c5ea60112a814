"""Scores of a network on a test set, all in [0, 1] with 1 best, and their standard errors."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

__all__ = ["Score", "chance", "evaluate", "loss_of", "score_standard_error"]

Score = Literal["accuracy", "balanced accuracy", "AUC"]
"""AUC is of the error of reconstruction, for test examples labelled 1 (faulty) against 0."""

_CHUNK = 500


def loss_of(score: Score, outputs: Tensor, inputs: Tensor, labels: Tensor) -> Tensor:
    """Training loss of a batch, a scalar: cross entropy, or for AUC the mean squared error of reconstruction."""
    if score == "AUC":
        return nn.functional.mse_loss(outputs, inputs)
    return nn.functional.cross_entropy(outputs, labels)


def chance(score: Score, classes: int) -> float:
    """Score of a network that knows nothing."""
    return 0.5 if score == "AUC" else 1.0 / classes


@torch.no_grad()
def evaluate(score: Score, network: nn.Module, x: Tensor, y: Tensor, *, classes: int) -> float:
    """Score of a network on test examples x (N, ...), y (N,); chance where its outputs are not finite."""
    outputs = torch.cat([network(part) for part in torch.split(x, _CHUNK)])
    if not bool(torch.isfinite(outputs).all()):
        return chance(score, classes)
    if score == "AUC":
        return _auc((outputs - x).square().flatten(1).mean(dim=1), y)
    right = outputs.argmax(dim=1) == y
    if score == "accuracy":
        return float(right.double().mean())
    per_class = [right[y == label].double().mean() for label in range(classes) if bool((y == label).any())]
    return float(torch.stack(per_class).mean())


def _auc(values: Tensor, faulty: Tensor) -> float:
    """Area under the ROC curve: the share of pairs in which the faulty example has the greater value (ties half)."""
    ranks = torch.empty_like(values, dtype=torch.float64)
    unique, place, counts = torch.unique(values, sorted=True, return_inverse=True, return_counts=True)
    last = counts.cumsum(0).double()
    ranks = (last - (counts.double() - 1) / 2)[place]
    positive = int((faulty == 1).sum())
    negative = len(unique[place]) - positive
    return float((ranks[faulty == 1].sum() - positive * (positive + 1) / 2) / (positive * negative))


def score_standard_error(score: Score, value: float, labels: Tensor) -> float:
    """Standard error of a score from the size of the test set alone.

    Binomial for accuracy; for balanced accuracy binomial within each class at the mean recall; Hanley and McNeil's
    (Radiology 143, 1982) for AUC.
    """
    counts = torch.bincount(labels).double()
    counts = counts[counts > 0]
    spread = max(value * (1 - value), 0.0)
    if score == "accuracy":
        return math.sqrt(spread / float(counts.sum()))
    if score == "balanced accuracy":
        return math.sqrt(spread * float((1 / counts).sum())) / len(counts)
    negative, positive = (float(count) for count in counts)
    same, twice = value / (2 - value), 2 * value**2 / (1 + value)
    return math.sqrt(
        (spread + (positive - 1) * (same - value**2) + (negative - 1) * (twice - value**2)) / (positive * negative)
    )
