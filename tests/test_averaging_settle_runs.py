"""Settle in whole runs: with BatchNorm, ten times as long, and its counters after years."""

import math

import pytest
import torch
from torch import nn

from lightsleeper.averaging import Settle, reestimate_batch_norm
from lightsleeper.averaging.settle_rule import Control, Verdict

POINTS = 400


def _data() -> tuple[torch.Tensor, torch.Tensor]:
    """Points in the plane, labelled by the quadrant pair they lie in, with noise near the border."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(POINTS, 2, generator=generator)
    return x, (x[:, 0] * x[:, 1] + 0.1 * torch.randn(POINTS, generator=generator) > 0).float()


def _train(model: nn.Module, optimizer: Settle, steps: range, *, batch: int) -> None:
    x, y = _data()
    for step in steps:
        rows = torch.randint(POINTS, (batch,), generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(model(x[rows]).squeeze(1), y[rows])
        loss.backward()
        optimizer.step(loss=loss)


def _accuracy(model: nn.Module) -> float:
    x, y = _data()
    model.eval()
    with torch.no_grad():
        right = float(((model(x).squeeze(1) > 0) == (y > 0.5)).float().mean())
    model.train()
    return right


def test_with_batch_norm_the_evaluated_average_has_statistics_of_its_own() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 1))
    optimizer = Settle(model.parameters(), lr=1.0)
    _train(model, optimizer, range(1500), batch=16)
    norm = model[1]
    assert isinstance(norm, nn.BatchNorm1d)
    assert norm.running_mean is not None
    with optimizer.averaged():
        x = _data()[0]
        reestimate_batch_norm(model, [x])
        hidden = model[0](x).detach()
        torch.testing.assert_close(norm.running_mean, hidden.mean(dim=0), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(norm.running_var, hidden.var(dim=0), rtol=1e-4, atol=1e-5)
        assert _accuracy(model) > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("lr", [0.01, 100.0])
def test_a_run_of_ten_times_the_length_loses_nothing(lr: float) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 1))
    optimizer = Settle(model.parameters(), lr=lr)
    _train(model, optimizer, range(1000), batch=4)
    with optimizer.averaged():
        at_first = _accuracy(model)
    for part in range(1, 10):
        _train(model, optimizer, range(1000 * part, 1000 * (part + 1)), batch=4)
        with optimizer.averaged():
            assert _accuracy(model) > at_first - 0.02
    assert optimizer.control is not None
    assert optimizer.control.restarts == 0


def test_counters_stay_finite_and_right_after_three_centuries() -> None:
    """10^12 steps, 100 a second; k = t^3 / (1^3 + ... + t^3) is then 4/t."""
    age = 10**12
    control = Control(size=1.0, age=age, weight_sum=250.0 * (age / 1000) ** 4, path=10.0, energy=1e12, best=0.1)
    for _ in range(64):
        assert 0.0 < control.step_size(0.01, 1.0) <= 1e-5
        assert control.averaging_share() == pytest.approx(4.0 / age, rel=1e-3)
        control.measure_drift(0.0, 1e-5, 1.0)
        assert control.judge(0.1) is Verdict.GO_ON
    control.accept(1e-6, 0.01)
    assert all(math.isfinite(value) for value in control.state_dict().values())


def _windows(control: Control, *, lr: float, away: float, count: int) -> list[float]:
    """Rates at the ends of the windows in which gradients of length 1 point from the average past z by `away` steps."""
    rates = []
    for _ in range(count):
        for _ in range(16):
            step = control.step_size(lr, 1.0)
            control.measure_drift(away * step, step, 1.0)
            control.averaging_share()
            verdict = control.judge(1.0)
        assert verdict is Verdict.ACCEPT
        control.accept(1e-3, lr)
        rates.append(lr * control.scale)
    return rates


def test_a_rate_far_too_low_is_left_behind_within_a_few_windows() -> None:
    control = Control(size=10.0)
    assert _windows(control, lr=1e-6, away=1.0, count=4) == pytest.approx([8e-6, 64e-6, 512e-6, 4096e-6])
    assert (control.age, control.path, control.energy, control.weight_sum) == (0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize(("lr", "away"), [(1e-6, -0.2), (100.0, 1.0)])
def test_the_search_ends_once_z_wanders_or_distance_holds_the_step(lr: float, away: float) -> None:
    control = Control(size=10.0)
    _windows(control, lr=lr, away=away, count=1)
    assert (control.age, control.path) == (16, 1e-3)
    rates = _windows(control, lr=1e-6, away=1.0, count=1)
    assert control.age == 32, "the average goes on, though z runs ahead later"
    assert rates[0] <= 8.0 * max(lr, 1e-6)


def _period(control: Control, *, loss: float, drift: float) -> None:
    """A window of gradients of length 1 at this drift, and the period that it ends."""
    for _ in range(16):
        step = control.step_size(1.0, 1.0)
        control.measure_drift(-drift * step, step, 1.0)
        control.averaging_share()
        verdict = control.judge(loss)
    assert verdict is Verdict.ACCEPT
    control.accept(0.1, 1.0)


def test_a_walk_that_still_gains_goes_further() -> None:
    """Three best periods in a row at a drift of 0.5; the rate grows as the distance does."""
    control = Control(size=1.0, scale=1e-3)
    _period(control, loss=1.0, drift=0.5)
    assert (control.stretch, control.scale) == (1.0, 1e-3), "the first period has nothing to be better than"
    for loss in (0.9, 0.8, 0.7):
        _period(control, loss=loss, drift=0.5)
    assert control.stretch == pytest.approx(1.2**3)
    assert control.scale == pytest.approx(1e-3 * 1.2**3)
    assert control.path == pytest.approx(0.1 + 0.1 + 0.1 / 1.2 + 0.1 / 1.44), "D is as it were without c"


def test_one_period_of_walking_among_drifting_ones_is_not_enough() -> None:
    control = Control(size=1.0, scale=1e-3)
    _period(control, loss=1.0, drift=0.3)
    for loss, drift in ((0.9, 0.3), (0.8, 0.45)):
        _period(control, loss=loss, drift=drift)
    assert control.stretch == 1.0
    for loss in (0.7, 0.6, 0.5):
        _period(control, loss=loss, drift=0.5)
    assert control.stretch > 1.0


@pytest.mark.parametrize(("loss", "drift"), [(0.9, 0.41), (0.9, -1.0), (1.01, 0.5), (math.nan, 0.5)])
def test_it_goes_no_further_while_drifting_or_without_gain(loss: float, drift: float) -> None:
    control = Control(size=1.0, scale=1e-3)
    _period(control, loss=1.0, drift=0.5)
    control.stretch = 2.0
    _period(control, loss=loss, drift=drift)
    assert control.stretch == 2.0


def test_a_loss_beyond_its_noise_takes_it_back_and_never_under_one() -> None:
    control = Control(size=1.0, scale=1e-3)
    _period(control, loss=1.0, drift=0.5)
    control.stretch = 1.5
    _period(control, loss=1.6, drift=0.5)
    assert control.stretch == pytest.approx(1.05)
    _period(control, loss=1.8, drift=0.5)
    assert control.stretch == 1.0


def test_a_new_average_and_a_roll_back_take_it_back() -> None:
    control = Control(size=1.0, scale=1e-3)
    _period(control, loss=1.0, drift=0.5)
    for after, stretch in ((1.0, 2.0), (100.0, 1.0)):  # corrupt batches are over; the data have changed
        control.stretch = 4.0
        for loss in (100.0, after, after, after):
            for _ in range(16):
                verdict = control.judge(loss)
        assert verdict is Verdict.PROBED
        assert control.stretch == stretch
