"""Settle among torch's own tools: two processes, compiled models, schedulers, mixed precision; vector and loop."""

import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed, nn
from torch.optim import lr_scheduler

from lightsleeper.averaging import Settle, settle_weights
from lightsleeper.errors import InputError
from two_ranks import on_two_ranks

POINTS = 400


def _data() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(POINTS, 2, generator=generator)
    return x, (x[:, 0] * x[:, 1] > 0).float()


def _network() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 1))


def _loss(model: nn.Module, rows: torch.Tensor, *, gain: float = 1.0) -> torch.Tensor:
    x, y = _data()
    inputs, labels = gain * x[rows], y[rows] if gain == 1.0 else 1 - y[rows]
    return nn.functional.binary_cross_entropy_with_logits(model(inputs).squeeze(1), labels)


def _rows(step: int) -> torch.Tensor:
    return torch.randint(POINTS, (8,), generator=torch.Generator().manual_seed(step))


def _train(model: nn.Module, optimizer: Settle, steps: range) -> None:
    for step in steps:
        optimizer.zero_grad()
        loss = _loss(model, _rows(step))
        loss.backward()
        optimizer.step(loss=loss)


def _equal(left: nn.Module, right: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(left.parameters(), right.parameters(), strict=True))


# --- two processes ---

GLITCH = range(200, 240)


def _train_on_rank(rank: int, shared: bool) -> dict[str, Any]:
    """Only rank 0 gets corrupt batches, so the ranks' own losses part by far."""
    model = nn.parallel.DistributedDataParallel(_network())
    optimizer = Settle(model.parameters(), process_group=distributed.group.WORLD if shared else None)
    for step in range(320):
        optimizer.zero_grad()
        loss = _loss(model, _rows(step)[4 * rank : 4 * rank + 4], gain=100.0 if step in GLITCH and rank == 0 else 1.0)
        loss.backward()
        optimizer.step(loss=loss)
    with optimizer.averaged():
        averaged = [p.detach().clone() for p in model.parameters()]
    assert optimizer.control is not None
    own = [p.detach().clone() for p in model.parameters()]
    return {"own": own, "averaged": averaged, "control": optimizer.control.state_dict()}


@pytest.mark.slow
def test_ranks_agree_though_their_losses_differ_and_equal_one_process_on_the_joint_batch() -> None:
    first, second = on_two_ranks(_train_on_rank, True)
    assert first["control"]["roll_backs"] >= 1
    # A window under way is known to each rank by itself; what was judged is common.
    for control in (first["control"], second["control"]):
        control["loss_sum"] = 0.0
    assert first["control"] == second["control"]
    for part in ("own", "averaged"):
        assert all(torch.equal(a, b) for a, b in zip(first[part], second[part], strict=True))

    model = _network()
    optimizer = Settle(model.parameters())
    for step in range(320):
        optimizer.zero_grad()
        rows = _rows(step)
        losses = [_loss(model, rows[:4], gain=100.0 if step in GLITCH else 1.0), _loss(model, rows[4:])]
        loss = torch.stack(losses).mean()
        loss.backward()
        optimizer.step(loss=loss)
    assert optimizer.control is not None
    assert optimizer.control.roll_backs == first["control"]["roll_backs"]
    for a, b in zip(first["own"], model.parameters(), strict=True):
        torch.testing.assert_close(a, b.detach(), rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_ranks_part_where_each_judges_by_its_own_loss() -> None:
    """Why `process_group` is there."""
    first, second = on_two_ranks(_train_on_rank, False)
    assert first["control"]["roll_backs"] > second["control"]["roll_backs"]
    assert not all(torch.equal(a, b) for a, b in zip(first["own"], second["own"], strict=True))


def test_a_loss_that_is_not_finite_on_one_rank_leaves_its_window_unjudged(tmp_path: Path) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1)
    try:
        model = _network()
        optimizer = Settle(model.parameters(), process_group=distributed.group.WORLD)
        _train(model, optimizer, range(160))
        assert optimizer.control is not None
        before, best = optimizer.control.age, optimizer.control.best
        for step in range(160, 176):
            optimizer.zero_grad()
            _loss(model, _rows(step)).backward()
            optimizer.step(loss=float("inf") if step == 170 else 100.0)
    finally:
        distributed.destroy_process_group()
    assert optimizer.control.age == before + 16
    assert optimizer.control.skipped_steps == optimizer.control.roll_backs == 0
    assert optimizer.control.best == best


# --- models, schedulers, scalers ---


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["eager", "inductor"])
def test_a_compiled_model_trains_alike_and_shows_the_average(backend: str) -> None:
    if backend == "inductor" and shutil.which("gcc") is None:
        pytest.skip("needs gcc")
    model, plain = _network(), _network()
    compiled = torch.compile(model, backend=backend)
    optimizer, other = Settle(model.parameters()), Settle(plain.parameters())
    for step in range(40):
        _train(compiled, optimizer, range(step, step + 1))
        _train(plain, other, range(step, step + 1))
    for a, b in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    x = _data()[0]
    own = compiled(x)
    with optimizer.averaged():
        shown = compiled(x)
        torch.testing.assert_close(shown, model(x))
    assert not torch.equal(shown, own)
    assert torch.equal(compiled(x), own)


@pytest.mark.parametrize(
    "make",
    [
        lambda own: lr_scheduler.OneCycleLR(own, 0.1, total_steps=30, cycle_momentum=False),
        lambda own: lr_scheduler.CosineAnnealingWarmRestarts(own, 5),
        lambda own: lr_scheduler.SequentialLR(
            own, [lr_scheduler.ConstantLR(own, 0.5, 3), lr_scheduler.ExponentialLR(own, 0.9)], [3]
        ),
        lambda own: torch.optim.swa_utils.SWALR(own, 0.05),
    ],
    ids=["one-cycle", "warm restarts", "sequence", "swa"],
)
def test_schedulers_that_check_the_type_give_it_the_rates_that_they_give_sgd(
    make: Callable[[torch.optim.Optimizer], lr_scheduler.LRScheduler], recwarn: pytest.WarningsRecorder
) -> None:
    model = _network()
    optimizer, sgd = Settle(model.parameters(), lr=0.1), torch.optim.SGD(_network().parameters(), lr=0.1)
    schedules = make(optimizer), make(sgd)
    for step in range(12):
        _train(model, optimizer, range(step, step + 1))
        sgd.step()
        for schedule in schedules:
            schedule.step()
        assert optimizer.param_groups[0]["lr"] == sgd.param_groups[0]["lr"]
    assert not [w for w in recwarn if "optimizer.step()" in str(w.message)]


def test_a_plateau_scheduler_lowers_the_rate() -> None:
    model = _network()
    optimizer = Settle(model.parameters(), lr=0.1)
    schedule = lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, factor=0.5)
    for step in range(3):
        _train(model, optimizer, range(step, step + 1))
        schedule.step(1.0)
    assert optimizer.param_groups[0]["lr"] == 0.025


def test_unscaled_and_clipped_gradients_under_autocast() -> None:
    """The order that the torch manual gives for clipping under a scaler; a power of two as scale changes no bit."""
    model, plain = _network(), _network()
    for net, scale in ((model, 2.0**8), (plain, 1.0)):
        optimizer = Settle(net.parameters(), lr=1.0)  # no search, which would count its steps anew
        scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        for step in range(20):
            optimizer.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = _loss(net, _rows(step))
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(net.parameters(), 0.1)
            scaler.step(optimizer, loss=loss.detach())
            scaler.update()
        assert optimizer.control is not None
        assert optimizer.control.age == 20
    assert _equal(model, plain)


# --- moving as one vector and tensor by tensor ---


def test_tensor_by_tensor_equals_the_vector(monkeypatch: pytest.MonkeyPatch) -> None:
    vector, tensors = _network(), _network()
    _train(vector, Settle(vector.parameters(), weight_decay=1e-3), range(300))
    monkeypatch.setattr(settle_weights, "FLAT_LIMIT", 0)
    _train(tensors, Settle(tensors.parameters(), weight_decay=1e-3), range(300))
    for a, b in zip(vector.parameters(), tensors.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_foreach_equals_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups of two rates take the loop; where the rates are equal in the end, nothing else may differ."""
    monkeypatch.setattr(settle_weights, "FLAT_LIMIT", 0)
    foreach, loop = _network(), _network()
    _train(foreach, Settle(foreach.parameters(), lr=0.05), range(100))
    nudged = 0.05 * (1 + 1e-15)
    assert nudged != 0.05
    groups = [{"params": loop[0].parameters()}, {"params": loop[2].parameters(), "lr": nudged}]
    _train(loop, Settle(groups, lr=0.05), range(100))
    for a, b in zip(foreach.parameters(), loop.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_a_checkpoint_of_one_way_goes_on_in_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    model, resumed = _network(), _network()
    optimizer = Settle(model.parameters())
    _train(model, optimizer, range(50))
    saved = io.BytesIO()
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, saved)
    assert len(saved.getbuffer()) < 12_000  # three times 65 weights: no vector is stored once for each of its parts
    saved.seek(0)
    loaded = torch.load(saved, weights_only=True)
    resumed.load_state_dict(loaded["model"])
    monkeypatch.setattr(settle_weights, "FLAT_LIMIT", 0)
    other = Settle(resumed.parameters())
    other.load_state_dict(loaded["optimizer"])
    _train(model, optimizer, range(50, 90))
    _train(resumed, other, range(50, 90))
    for a, b in zip(model.parameters(), resumed.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_a_gradient_that_is_missing_at_times_keeps_the_average_right() -> None:
    """The vector is then moved in parts; x is checked against its definition."""
    model = _network()
    optimizer = Settle(model.parameters())
    x = [p.detach().clone() for p in model.parameters()]
    for step in range(12):
        optimizer.zero_grad()
        _loss(model, _rows(step)).backward()
        if step % 3 == 1:
            model[0].weight.grad = None
        optimizer.step()
        control = optimizer.control
        assert control is not None
        share = (control.age / 1000.0) ** 3 / control.weight_sum
        x = [torch.lerp(a, optimizer.state[p]["fast"], share) for a, p in zip(x, model.parameters(), strict=True)]
    with optimizer.averaged():
        for a, p in zip(x, model.parameters(), strict=True):
            torch.testing.assert_close(a, p.detach(), rtol=1e-4, atol=1e-6)


def test_a_step_without_any_gradient_changes_nothing() -> None:
    model = _network()
    optimizer = Settle(model.parameters())
    _train(model, optimizer, range(20))
    assert optimizer.control is not None
    before, own = optimizer.control.state_dict(), [p.detach().clone() for p in model.parameters()]
    optimizer.zero_grad()
    optimizer.step(loss=1.0)
    assert optimizer.control.state_dict() == before
    assert all(torch.equal(a, p) for a, p in zip(own, model.parameters(), strict=True))


def test_with_everything_frozen_a_step_changes_nothing() -> None:
    model = _network()
    optimizer = Settle(model.parameters(), lr=1.0)  # no search, which would count its steps anew
    _train(model, optimizer, range(10))
    optimizer.zero_grad()
    own = [p.detach().clone() for p in model.requires_grad_(False).parameters()]
    optimizer.step(loss=1.0)
    assert all(torch.equal(a, p) for a, p in zip(own, model.parameters(), strict=True))
    model.requires_grad_(True)
    _train(model, optimizer, range(10, 20))
    assert optimizer.control is not None
    assert optimizer.control.age == 20


def test_freezing_again_keeps_no_memory_of_others() -> None:
    model = _network()
    optimizer = Settle(model.parameters())
    _train(model, optimizer, range(10))
    first = model[0].weight.requires_grad_(False)
    _train(model, optimizer, range(10, 20))
    assert optimizer.state[first]["fast"].untyped_storage().nbytes() == first.numel() * 4


# --- weight decay ---


def test_weight_decay_is_the_gradient_of_half_the_squared_weights() -> None:
    decayed, penalised = _network(), _network()
    _train(decayed, Settle(decayed.parameters(), weight_decay=0.02), range(200))
    optimizer = Settle(penalised.parameters())
    for step in range(200):
        optimizer.zero_grad()
        loss = _loss(penalised, _rows(step))
        penalty = 0.5 * 0.02 * sum(p.square().sum() for p in penalised.parameters())
        (loss + penalty).backward()
        optimizer.step(loss=loss)
    for a, b in zip(decayed.parameters(), penalised.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("limit", [0, 1 << 16])
def test_weight_decay_of_a_group_leaves_the_others_alone(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settle_weights, "FLAT_LIMIT", limit)
    decayed, plain = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    optimizer = Settle([{"params": [decayed], "weight_decay": 0.1}, {"params": [plain]}])
    for _ in range(30):
        decayed.grad, plain.grad = torch.zeros(3), torch.zeros(3)
        optimizer.step()
    with optimizer.averaged():
        assert float(decayed.detach().max()) < 1.0
        assert torch.equal(plain, torch.ones(3))


@pytest.mark.parametrize("decay", [-0.1, float("nan"), float("inf")])
def test_a_weight_decay_out_of_range_is_refused(decay: float) -> None:
    with pytest.raises(InputError, match="weight_decay is"):
        Settle(_network().parameters(), weight_decay=decay)
