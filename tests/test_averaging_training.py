"""What averaging does for training, on one process and on two."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lightsleeper.averaging import PSWA, PSWM, PWALKS
from lightsleeper.averaging.periodic_optimizer import PeriodicOptimizer
from two_ranks import on_two_ranks

EXAMPLES = 400


def _two_classes(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Points in the plane, labelled by the quadrant pair they lie in, with noise near the border."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(EXAMPLES, 2, generator=generator)
    y = x[:, 0] * x[:, 1] + 0.3 * torch.randn(EXAMPLES, generator=generator) > 0
    return x, y.float()


def _network(seed: int) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 1))


def _loss(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return nn.functional.binary_cross_entropy_with_logits(model(x).squeeze(1), y)


def _train(seed: int, make: Callable[[torch.optim.Optimizer], torch.optim.Optimizer], steps: int = 800) -> float:
    """Training loss over all examples at the end, of the average where there is one."""
    x, y = _two_classes(seed)
    model = _network(seed)
    optimizer = make(torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9))
    generator = torch.Generator().manual_seed(seed + 100)
    for _ in range(steps):
        rows = torch.randint(EXAMPLES, (4,), generator=generator)
        optimizer.zero_grad()
        _loss(model, x[rows], y[rows]).backward()
        optimizer.step()
    with torch.no_grad():
        if isinstance(optimizer, PeriodicOptimizer):
            with optimizer.averaged():
                return _loss(model, x, y).item()
        return _loss(model, x, y).item()


def test_averages_have_a_lower_loss_than_the_last_iterate_at_a_noisy_rate() -> None:
    def mean_loss(make: Callable[[torch.optim.Optimizer], torch.optim.Optimizer]) -> float:
        return sum(_train(seed, make) for seed in range(3)) / 3

    last_iterate = mean_loss(lambda base: base)
    assert mean_loss(lambda base: PSWA(base, period=100)) < 0.9 * last_iterate
    assert mean_loss(lambda base: PWALKS(base, period=50, last=4, of="periods")) < 0.9 * last_iterate
    assert mean_loss(lambda base: PSWM(base, period=100, against="earlier_mean")) < 0.9 * last_iterate


def test_the_example_of_the_documentation_runs_and_learns() -> None:
    text = (Path(__file__).parent.parent / "docs" / "averaging.md").read_text(encoding="utf-8")
    example = text.split("```python\n")[1].split("```")[0]
    names: dict[str, Any] = {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        exec(example, names)
    assert names["accuracy"] > 0.8


def test_training_is_deterministic() -> None:
    def run() -> float:
        return _train(0, lambda base: PSWA(base, period=20, sample_probability=0.5, seed=3), steps=120)

    assert run() == run()


def _train_on_rank(rank: int) -> dict[str, Any]:
    x, y = _two_classes(0)
    model = nn.parallel.DistributedDataParallel(_network(0))
    optimizer = PSWA(
        torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), period=10, sample_probability=0.6, seed=1
    )
    for step in range(27):
        rows = torch.arange(4) + 8 * step + 4 * rank
        optimizer.zero_grad()
        _loss(model, x[rows], y[rows]).backward()
        optimizer.step()
    with optimizer.averaged():
        averaged = [p.detach().clone() for p in model.parameters()]
    own = [p.detach().clone() for p in model.parameters()]
    return {"own": own, "averaged": averaged, "write_backs": optimizer.write_backs}


@pytest.mark.slow
def test_ranks_agree_and_equal_one_process_on_the_joint_batch() -> None:
    first, second = on_two_ranks(_train_on_rank)
    assert first["write_backs"] == second["write_backs"] == 2
    for part in ("own", "averaged"):
        assert all(torch.equal(a, b) for a, b in zip(first[part], second[part], strict=True))

    x, y = _two_classes(0)
    model = _network(0)
    optimizer = PSWA(
        torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), period=10, sample_probability=0.6, seed=1
    )
    for step in range(27):
        rows = torch.arange(8) + 8 * step
        optimizer.zero_grad()
        _loss(model, x[rows], y[rows]).backward()
        optimizer.step()
    for a, b in zip(first["own"], model.parameters(), strict=True):
        torch.testing.assert_close(a, b.detach(), rtol=1e-4, atol=1e-5)
