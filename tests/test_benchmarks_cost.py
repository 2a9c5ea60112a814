"""Bytes of state with known answers, and the rows of the cost."""

import pytest
import torch

from lightsleeper.benchmarks import networks
from lightsleeper.benchmarks.cost import COST_SETTINGS, extra_bytes, measure_cost
from lightsleeper.benchmarks.rivals import Plan, family_of

WEIGHTS = 2410
PLAN = Plan(steps=1000, epoch_steps=100)


def bytes_after_steps(method: str) -> int:
    torch.manual_seed(0)
    network = networks.mlp(64, 32, 10)
    training = family_of(method).build(network, 1e-3, PLAN, [method])
    for _ in range(60):
        training.optimizer.zero_grad()
        network(torch.randn(4, 64)).square().mean().backward()
        training.optimizer.step()
        for follow in training.after_step:
            follow()
    return extra_bytes(training, network)


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("sgd", 4 * WEIGHTS),  # momentum
        ("schedule_free", 4 * WEIGHTS),  # z
        ("lookahead", 8 * WEIGHTS),  # momentum, slow weights
        ("ema", 8 * WEIGHTS + 8),  # momentum, average, its counter (int64)
        ("lawa", 24 * WEIGHTS),  # momentum, five copies
        ("adamw", 8 * WEIGHTS + 4 * 4),  # two moments, a step counter (float32) for each of four tensors
        ("pswa", 8 * WEIGHTS),  # momentum, running mean
    ],
)
def test_bytes_of_state_are_counted_to_the_byte(method: str, expected: int):
    assert bytes_after_steps(method) == expected


def test_dog_keeps_its_start_and_its_average():
    assert 0 <= bytes_after_steps("dog") - 8 * WEIGHTS <= 64


def test_cost_rows():
    rows = list(measure_cost(["sgd", "ema"], rounds=3))
    assert [row["setting"] for row in rows] == [setting for setting in COST_SETTINGS for _ in range(3)]
    for row in rows:
        assert row["step_s"] > 0
        assert row["bytes_per_weight"] == row["extra_bytes"] / row["weights"]
    plain, sgd, ema = rows[:3]
    assert plain["extra_bytes"] == 0
    assert plain["ratio"] == 1.0
    assert sgd["bytes_per_weight"] == 4.0
    assert ema["extra_bytes"] == 8 * ema["weights"] + 8
