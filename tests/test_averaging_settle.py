"""Settle as a torch optimizer: held to its reference, its faults, checkpoints and awkward parameters."""

import copy
import io
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lightsleeper.averaging import PSWA, Settle
from lightsleeper.averaging.settle_reference import settle
from lightsleeper.errors import InputError, LightsleeperError

POINTS = 400


def _data(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Points in the plane, labelled by the quadrant pair they lie in, with noise near the border."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(POINTS, 2, generator=generator)
    return x, (x[:, 0] * x[:, 1] + 0.1 * torch.randn(POINTS, generator=generator) > 0).float()


def _network(seed: int = 0, dtype: torch.dtype = torch.float32) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 1)).to(dtype)


def _loss(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return nn.functional.binary_cross_entropy_with_logits(model(x).squeeze(1), y.to(x.dtype))


Batch = Callable[[int], tuple[torch.Tensor, torch.Tensor]]


def _batches(seed: int = 0, *, corrupt: range = range(0), flipped_from: int | None = None) -> Batch:
    x, y = _data(seed)

    def batch(step: int) -> tuple[torch.Tensor, torch.Tensor]:
        rows = torch.randint(POINTS, (4,), generator=torch.Generator().manual_seed(1000 * seed + step))
        inputs, labels = x[rows], y[rows]
        if step in corrupt:
            return 20 * inputs, 1 - labels
        return inputs, 1 - labels if flipped_from is not None and step >= flipped_from else labels

    return batch


def _train(model: nn.Module, optimizer: Settle, steps: range, batch: Batch) -> None:
    for step in steps:
        optimizer.zero_grad()
        loss = _loss(model, *batch(step))
        loss.backward()
        optimizer.step(loss=loss)


def _accuracy(model: nn.Module, optimizer: Settle, *, flipped: bool = False) -> float:
    x, y = _data()
    with optimizer.averaged(), torch.no_grad():
        return float(((model(x).squeeze(1) > 0) == ((1 - y if flipped else y) > 0.5)).float().mean())


@pytest.mark.parametrize("lr", [1e-4, 0.01, 1.0, 100.0])
@pytest.mark.parametrize("fault", ["none", "glitch", "change"])
def test_weights_are_those_of_the_reference(lr: float, fault: str) -> None:
    batch = {
        "none": _batches(),
        "glitch": _batches(corrupt=range(150, 190)),
        "change": _batches(flipped_from=150),
    }[fault]
    model = _network(dtype=torch.float64)
    sizes = [p.numel() for p in model.parameters()]
    flat = torch.cat([p.detach().reshape(-1) for p in model.parameters()])

    def gradient(w: torch.Tensor, step: int) -> tuple[float, torch.Tensor]:
        probe = _network(dtype=torch.float64)
        with torch.no_grad():
            for p, part in zip(probe.parameters(), w.split(sizes), strict=True):
                p.copy_(part.view_as(p))
        x, y = batch(step)
        loss = _loss(probe, x.double(), y)
        loss.backward()
        return loss.item(), torch.cat([p.grad.reshape(-1) for p in probe.parameters() if p.grad is not None])

    steps = 300
    expected = settle(flat, gradient, steps=steps, lr=lr)
    optimizer = Settle(model.parameters(), lr=lr)

    def in_double(step: int) -> tuple[torch.Tensor, torch.Tensor]:
        x, y = batch(step)
        return x.double(), y

    done = 0
    for stop in (40, 200, steps):
        _train(model, optimizer, range(done, stop), in_double)
        done = stop
        with optimizer.averaged():
            average = torch.cat([p.detach().reshape(-1) for p in model.parameters()])
        torch.testing.assert_close(average, expected[stop - 1], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("lr", [1e-5, 1e-2, 1.0, 100.0, 1e6])
def test_any_starting_rate_learns(lr: float) -> None:
    model = _network()
    optimizer = Settle(model.parameters(), lr=lr)
    _train(model, optimizer, range(2500), _batches())
    assert _accuracy(model, optimizer) > 0.88


def test_forty_corrupt_batches_cost_little_and_are_rolled_back() -> None:
    clean, hit = _network(), _network()
    without, with_fault = Settle(clean.parameters()), Settle(hit.parameters())
    _train(clean, without, range(2500), _batches())
    _train(hit, with_fault, range(2500), _batches(corrupt=range(800, 840)))
    assert with_fault.control is not None
    assert with_fault.control.roll_backs == 1
    assert with_fault.control.restarts == 0
    assert _accuracy(hit, with_fault) > _accuracy(clean, without) - 0.02


def test_a_lasting_change_is_followed() -> None:
    model = _network()
    optimizer = Settle(model.parameters())
    _train(model, optimizer, range(1500), _batches(flipped_from=1500))
    assert _accuracy(model, optimizer) > 0.88
    _train(model, optimizer, range(1500, 4000), _batches(flipped_from=1500))
    assert optimizer.control is not None
    assert optimizer.control.restarts == 1
    assert _accuracy(model, optimizer, flipped=True) > 0.88


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_losses_and_gradients_that_are_not_finite_move_nothing_and_are_counted(bad: float) -> None:
    model = _network()
    optimizer = Settle(model.parameters())
    _train(model, optimizer, range(40), _batches())
    before = copy.deepcopy(model.state_dict())
    _loss(model, *_batches()(40)).backward()
    optimizer.step(loss=bad)
    next(model.parameters()).grad = torch.full((16, 2), bad)
    optimizer.step(loss=1.0)
    optimizer.step()
    assert optimizer.control is not None
    assert optimizer.control.skipped_steps == 3
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_two_extra_copies_to_the_byte_and_one_with_the_anchor_in_a_file(tmp_path: Path) -> None:
    for anchor_file, copies in ((None, 2), (tmp_path / "anchor.pt", 1)):
        model = _network()
        next(model.parameters()).requires_grad_(False)
        optimizer = Settle(model.parameters(), anchor_file=anchor_file)
        _train(model, optimizer, range(3), _batches())
        trainable = sum(p.numel() * 4 for p in model.parameters() if p.requires_grad)
        assert optimizer.nbytes == copies * trainable


def test_an_anchor_in_a_file_gives_the_same_weights(tmp_path: Path) -> None:
    batch = _batches(corrupt=range(300, 340))
    models = [_network(), _network()]
    optimizers = [Settle(models[0].parameters()), Settle(models[1].parameters(), anchor_file=tmp_path / "anchor.pt")]
    for model, optimizer in zip(models, optimizers, strict=True):
        _train(model, optimizer, range(600), batch)
    assert optimizers[1].control is not None
    assert optimizers[1].control.roll_backs == 1
    assert all(torch.equal(a, b) for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True))
    assert [path.name for path in tmp_path.iterdir()] == ["anchor.pt"]


def test_a_lost_anchor_file_is_named(tmp_path: Path) -> None:
    model = _network()
    optimizer = Settle(model.parameters(), anchor_file=tmp_path / "anchor.pt")
    _train(model, optimizer, range(2), _batches())
    (tmp_path / "anchor.pt").unlink()
    with pytest.raises(LightsleeperError, match=r"anchor\.pt"):
        _train(model, optimizer, range(2, 40), _batches())


@pytest.mark.parametrize("in_file", [False, True])
@settings(max_examples=8, deadline=None)
@given(stop=st.integers(1, 230))
def test_training_goes_on_to_the_same_bits_from_any_step(
    stop: int, in_file: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("anchors")
    batch = _batches(corrupt=range(100, 140))

    def make(model: nn.Module, name: str) -> Settle:
        return Settle(model.parameters(), lr=0.05, anchor_file=folder / name if in_file else None)

    whole = _network()
    optimizer = make(whole, "whole")
    _train(whole, optimizer, range(240), batch)

    first = _network()
    optimizer = make(first, "parts")
    _train(first, optimizer, range(stop), batch)
    saved = io.BytesIO()
    torch.save({"model": first.state_dict(), "optimizer": optimizer.state_dict()}, saved)
    saved.seek(0)
    loaded = torch.load(saved, weights_only=True)
    second = _network(seed=9)
    second.load_state_dict(loaded["model"])
    optimizer = make(second, "parts")
    optimizer.load_state_dict(loaded["optimizer"])
    _train(second, optimizer, range(stop, 240), batch)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), second.parameters(), strict=True))


def test_a_checkpoint_does_not_share_memory() -> None:
    model, other = _network(), _network()
    optimizer = Settle(model.parameters())
    _train(model, optimizer, range(20), _batches())
    second = Settle(other.parameters())
    second.load_state_dict(optimizer.state_dict())
    before = copy.deepcopy(optimizer.state_dict()["state"])
    _train(other, second, range(20, 60), _batches())
    after = optimizer.state_dict()["state"]
    assert all(torch.equal(before[i][name], after[i][name]) for i in before for name in before[i])


def test_a_checkpoint_inside_averaged_keeps_the_runs_own_weights() -> None:
    model, resumed = _network(), _network(seed=9)
    optimizer = Settle(model.parameters())
    _train(model, optimizer, range(50), _batches())
    with optimizer.averaged():
        saved = copy.deepcopy({"model": model.state_dict(), "optimizer": optimizer.state_dict()})
    resumed.load_state_dict(saved["model"])
    second = Settle(resumed.parameters())
    second.load_state_dict(saved["optimizer"])
    for net, own in ((model, optimizer), (resumed, second)):
        _train(net, own, range(50, 90), _batches())
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), resumed.parameters(), strict=True))


def test_averaged_restores_the_weights_also_after_an_error_and_nests() -> None:
    model = _network()
    optimizer = Settle(model.parameters())
    _train(model, optimizer, range(50), _batches())
    own = [p.detach().clone() for p in model.parameters()]

    def look_and_break() -> None:
        assert not torch.equal(own[0], next(model.parameters()))
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"), optimizer.averaged(), optimizer.averaged():
        look_and_break()
    assert all(torch.equal(a, b) for a, b in zip(own, model.parameters(), strict=True))


def test_before_the_first_step_the_average_is_the_weights() -> None:
    model = _network()
    optimizer = Settle(model.parameters())
    own = [p.detach().clone() for p in model.parameters()]
    with optimizer.averaged():
        assert all(torch.equal(a, b) for a, b in zip(own, model.parameters(), strict=True))


def test_a_closure_equals_a_loss() -> None:
    models = [_network(), _network()]
    with_loss, with_closure = (Settle(model.parameters()) for model in models)
    _train(models[0], with_loss, range(60), _batches())
    for step in range(60):

        def closure(step: int = step) -> Any:
            with_closure.zero_grad()
            loss = _loss(models[1], *_batches()(step))
            loss.backward()
            return loss

        assert with_closure.step(closure) is not None
    assert all(torch.equal(a, b) for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True))


def test_without_a_loss_it_learns_and_never_rolls_back() -> None:
    model = _network()
    optimizer = Settle(model.parameters())
    for step in range(2500):
        optimizer.zero_grad()
        _loss(model, *_batches()(step)).backward()
        optimizer.step()
    assert optimizer.control is not None
    assert optimizer.control.roll_backs == 0
    assert _accuracy(model, optimizer) > 0.88


def test_losses_that_come_only_sometimes_are_no_reason_to_roll_back() -> None:
    model = _network()
    optimizer = Settle(model.parameters())
    for step in range(600):
        optimizer.zero_grad()
        loss = _loss(model, *_batches()(step))
        loss.backward()
        optimizer.step(loss=loss if step > 300 else None)
    assert optimizer.control is not None
    assert optimizer.control.roll_backs == 0
    assert 0.0 < optimizer.control.best < 1.0


def test_schedulers_are_built_on_it_and_their_rate_counts() -> None:
    model = _network()
    optimizer = Settle(model.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: float(step < 5))
    for step in range(8):
        _train(model, optimizer, range(step, step + 1), _batches())
        schedule.step()
        if step == 5:
            fast = [optimizer.state[p]["fast"].clone() for p in model.parameters()]
    assert all(torch.equal(z, optimizer.state[p]["fast"]) for z, p in zip(fast, model.parameters(), strict=True))


def test_groups_keep_the_ratio_of_their_rates() -> None:
    model = _network()
    start = [p.detach().clone() for p in model.parameters()]
    optimizer = Settle([{"params": model[0].parameters()}, {"params": model[2].parameters(), "lr": 2e-5}], lr=1e-5)
    _loss(model, *_batches()(0)).backward()
    optimizer.step()
    moved = [(a - optimizer.state[p]["fast"]) / p.grad for a, p in zip(start, model.parameters(), strict=True)]
    assert float(moved[0].nanmedian()) == pytest.approx(1e-5, rel=0.1)
    assert float(moved[2].nanmedian()) == pytest.approx(2e-5, rel=0.1)


def test_gradients_that_are_missing_or_sparse() -> None:
    torch.manual_seed(0)
    sparse, dense = nn.Embedding(5, 3, sparse=True), nn.Embedding(5, 3)
    dense.load_state_dict(sparse.state_dict())
    unused = nn.Parameter(torch.ones(2))
    optimizers = [Settle([*sparse.parameters(), unused]), Settle([*dense.parameters(), unused])]
    for _ in range(3):
        for table, optimizer in zip((sparse, dense), optimizers, strict=True):
            optimizer.zero_grad()
            table(torch.tensor([1, 3])).square().sum().backward()
            optimizer.step()
    torch.testing.assert_close(sparse.weight, dense.weight)
    assert torch.equal(unused, torch.ones(2))


def test_frozen_weights_are_not_copied_and_join_when_thawed() -> None:
    model = _network()
    first = next(model.parameters()).requires_grad_(False)
    optimizer = Settle(model.parameters())
    _train(model, optimizer, range(10), _batches())
    assert "fast" not in optimizer.state[first]
    before = first.detach().clone()
    first.requires_grad_(True)
    _train(model, optimizer, range(10, 40), _batches())
    assert "fast" in optimizer.state[first]
    assert not torch.equal(before, first)


def test_tied_weights_move_once() -> None:
    model = _network()
    tied = next(model.parameters())
    with pytest.warns(UserWarning, match="duplicate"):
        optimizer = Settle([*model.parameters(), tied])
    single = _network()
    other = Settle(single.parameters())
    for net, own in ((model, optimizer), (single, other)):
        _train(net, own, range(20), _batches())
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), single.parameters(), strict=True))


def test_gradient_scaler_skips_a_step_that_overflows() -> None:
    model = _network()
    optimizer = Settle(model.parameters())
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**4)
    for step in range(4):
        optimizer.zero_grad()
        loss = _loss(model, *_batches()(step))
        scaler.scale(loss).backward()
        if step == 2:
            next(model.parameters()).grad = torch.full((16, 2), math.inf)
        scaler.step(optimizer)
        scaler.update()
    assert optimizer.control is not None
    assert optimizer.control.age == 3


def test_it_can_be_copied_and_pickled() -> None:
    model = _network()
    optimizer = Settle(model.parameters())
    _train(model, optimizer, range(20), _batches())
    both = copy.deepcopy((model, optimizer))
    again = pickle.loads(pickle.dumps((model, optimizer)))
    for net, own in (both, again, (model, optimizer)):
        _train(net, own, range(20, 60), _batches())
    for net, _ in (both, again):
        assert all(torch.equal(a, b) for a, b in zip(model.parameters(), net.parameters(), strict=True))


def test_what_is_refused() -> None:
    model = _network()
    with pytest.raises(InputError, match="no parameters"):
        Settle([])
    with pytest.raises(InputError, match="trainable"):
        Settle([nn.Parameter(torch.zeros(2), requires_grad=False)])
    for lr in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(InputError, match="lr is"):
            Settle(model.parameters(), lr=lr)
    with pytest.raises(InputError, match="bfloat16"):
        Settle(nn.Linear(2, 2).to(torch.bfloat16).parameters())
    optimizer = Settle(model.parameters())
    with optimizer.averaged():
        with pytest.raises(InputError, match="averaged"):
            optimizer.step()
        with pytest.raises(InputError, match="averaged"):
            optimizer.load_state_dict({})
    with pytest.raises(InputError, match="not saved by Settle"):
        optimizer.load_state_dict(PSWA(torch.optim.SGD(model.parameters(), lr=0.1), period=2).state_dict())
    saved = optimizer.state_dict()
    with pytest.raises(InputError, match="version 0"):
        optimizer.load_state_dict(saved | {"settle": saved["settle"] | {"version": 0}})
    with pytest.raises(InputError, match="shaped"):
        Settle(nn.Linear(2, 2).parameters()).load_state_dict(saved)
    with pytest.raises(InputError, match="with anchor_file"):
        optimizer.load_state_dict(saved | {"settle": saved["settle"] | {"anchor": "a file"}})


def test_weights_ruined_from_outside_are_not_shown() -> None:
    model = _network()
    optimizer = Settle(model.parameters())
    _train(model, optimizer, range(3), _batches())
    with torch.no_grad():
        next(model.parameters()).fill_(math.nan)
    with pytest.raises(LightsleeperError, match="NaN"), optimizer.averaged():
        pass
