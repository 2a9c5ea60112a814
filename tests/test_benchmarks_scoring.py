"""Scores with known answers."""

import math

import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from lightsleeper.benchmarks.scoring import chance, evaluate, loss_of, score_standard_error


class Fixed(nn.Module):
    """Gives prepared outputs, whatever the batch."""

    def __init__(self, outputs: torch.Tensor) -> None:
        super().__init__()
        self.outputs = outputs
        self.at = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        part = self.outputs[self.at : self.at + len(x)]
        self.at += len(x)
        return part


def test_accuracy_and_balanced_accuracy():
    outputs = nn.functional.one_hot(torch.tensor([0, 0, 0, 0, 1, 0]), 2).float()
    y = torch.tensor([0, 0, 0, 1, 1, 1])
    x = torch.zeros(6, 1)
    assert evaluate("accuracy", Fixed(outputs), x, y, classes=2) == pytest.approx(4 / 6)
    assert evaluate("balanced accuracy", Fixed(outputs), x, y, classes=2) == pytest.approx((1 + 1 / 3) / 2)


def test_long_test_sets_are_cut_and_joined():
    y = torch.arange(1203) % 3
    assert evaluate("accuracy", Fixed(nn.functional.one_hot(y, 3).float()), torch.zeros(1203, 1), y, classes=3) == 1.0


def test_auc_is_that_of_scikit_learn_with_ties():
    generator = torch.Generator().manual_seed(1)
    errors = torch.randint(6, (80,), generator=generator).float()
    y = torch.randint(2, (80,), generator=generator)
    x = torch.zeros(80, 3)
    outputs = errors.sqrt()[:, None].expand(80, 3)
    measured = evaluate("AUC", Fixed(outputs), x, y, classes=2)
    assert measured == pytest.approx(roc_auc_score(y.numpy(), errors.numpy()), abs=1e-6)


@pytest.mark.parametrize(("score", "worst"), [("accuracy", 0.25), ("balanced accuracy", 0.25), ("AUC", 0.5)])
def test_outputs_that_are_not_finite_score_chance(score, worst):
    outputs = torch.full((8, 4), math.nan)
    y = torch.tensor([0, 1] * 4)
    assert evaluate(score, Fixed(outputs), torch.zeros(8, 4), y, classes=4) == worst == chance(score, 4)


def test_losses():
    x, y = torch.tensor([[1.0, 3.0]]), torch.tensor([1])
    assert float(loss_of("AUC", torch.zeros(1, 2), x, y)) == pytest.approx(5.0)
    assert float(loss_of("accuracy", torch.zeros(1, 2), x, y)) == pytest.approx(math.log(2))


def test_standard_errors():
    y = torch.tensor([0] * 90 + [1] * 10)
    assert score_standard_error("accuracy", 0.8, y) == pytest.approx(0.04)
    # Recalls of 0.8 in both classes: variances 0.16/90 and 0.16/10, of their mean a quarter of the sum.
    assert score_standard_error("balanced accuracy", 0.8, y) == pytest.approx(math.sqrt((0.16 / 90 + 0.16 / 10) / 4))
    # Hanley and McNeil 1982, table II: 50 against 50 at 0.8 has a standard error of about 0.045.
    assert score_standard_error("AUC", 0.8, torch.tensor([0, 1] * 50)) == pytest.approx(0.0445, abs=5e-4)
    assert score_standard_error("accuracy", 1.0, y) == 0.0
