"""Settle in C: on real data any starting rate ends near the best tuned one; what ends a period changes."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from device_trial import compiled, data_for, trial
from lightsleeper.benchmarks.datasets import digits
from lightsleeper.device import Rule, plan_device, read_network
from lightsleeper.device.networks import seeded
from lightsleeper.device.plan import device_plans

pytestmark = pytest.mark.slow

SAMPLES = 12_000


def _accuracy(rule: Rule, *, accumulate: bool, seed: int = 0) -> float:
    """Share of right answers of the average on test digits after `SAMPLES` samples."""
    data = digits()
    model = seeded(lambda: nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)), seed)
    network = read_network(model, torch.zeros(1, 64), loss="cross_entropy")
    plan = next(plan for plan in device_plans(network, rule) if plan.accumulate == accumulate)
    x: NDArray[np.float32] = data.x_train.numpy()
    y = data.y_train.numpy()
    rng = np.random.default_rng(seed)
    order = np.concatenate([rng.permutation(len(x)) for _ in range(SAMPLES // len(x) + 1)])[:SAMPLES]
    with compiled(plan) as device:
        for i in order:
            device.train_step(x[i], y[i])
        weights = device.average()
        right = [
            int(device.infer(sample, weights=weights).argmax()) == int(label)
            for sample, label in zip(data.x_test.numpy(), data.y_test.numpy(), strict=True)
        ]
    return float(np.mean(right))


@pytest.mark.parametrize(("batch", "accumulate"), [(4, True), (1, True), (1, False)])
def test_any_start_ends_near_the_best_tuned_rate(batch: int, accumulate: bool) -> None:
    grid = (0.03, 0.1, 0.3) if batch == 4 else (0.01, 0.03, 0.1)
    tuned = max(
        _accuracy(Rule(averaging="none", batch=batch, learning_rate=rate), accumulate=batch > 1) for rate in grid
    )
    assert tuned > 0.93
    for start in (1e-4, 0.01, 1.0, 100.0):
        reached = _accuracy(Rule(averaging="settle", batch=batch, learning_rate=start), accumulate=accumulate)
        assert reached > tuned - 0.02, start


@pytest.mark.parametrize(
    ("best", "walk_drift", "before", "after"),
    [
        (1e3, 1e6, 2.0, 2.4),  # a walk that still gains
        (1e3, -1e6, 2.0, 2.0),  # gains, but drifts
        (1e-4, 1e6, 2.0, 1.4),  # worse than the best beyond the noise
        (1e-4, 1e6, 1.2, 1.0),
    ],
)
def test_how_far_it_may_go_changes_at_the_end_of_a_period(
    best: float, walk_drift: float, before: float, after: float
) -> None:
    _, network = trial("mlp")
    rule = Rule(averaging="settle", learning_rate=0.1)
    x, y = data_for("mlp", 32)
    with compiled(plan_device(network, rule)) as device:
        for sample, label in zip(x[:16], y[:16], strict=True):
            device.train_step(sample, label)
        assert device.field("path")[0] > 0.0, "the first period has ended"
        chosen = {"best": best, "tolerance": 1e6, "stretch": before, "walk_drift": walk_drift, "walk_energy": 1e6}
        for name, value in chosen.items():
            device.field(name)[0] = value
        device.field("window_variance")[0] = 0.0
        for sample, label in zip(x[16:], y[16:], strict=True):
            device.train_step(sample, label)
        assert device.field("stretch")[0] == pytest.approx(after)
        assert device.field("roll_backs")[0] == 0
