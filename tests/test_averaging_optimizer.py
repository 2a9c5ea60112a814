"""The averaging optimizers as torch optimizers: schedulers, closures, scalers, checkpoints, awkward parameters."""

import copy
import io
import pickle
import shutil
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from lightsleeper.averaging import PSWA, PSWM, PWALKS, NonFiniteLossError
from lightsleeper.averaging.periodic_optimizer import PeriodicOptimizer
from lightsleeper.errors import InputError

Make = Callable[[torch.optim.Optimizer], PeriodicOptimizer]

METHODS: dict[str, Make] = {
    "pswa": lambda base: PSWA(base, period=6, sample_share=0.7),
    "pswa-int8": lambda base: PSWA(base, period=6, storage="int8"),
    "pswa-random": lambda base: PSWA(base, period=6, sample_probability=0.5, write_back_every=2, seed=4),
    "pswa-average": lambda base: PSWA(base, period=6, state="average"),
    "pswa-reset": lambda base: PSWA(base, period=6, state="reset"),
    "pwalks-samples": lambda base: PWALKS(base, period=6, last=4),
    "pwalks-periods": lambda base: PWALKS(base, period=6, last=2, of="periods"),
    "pswm-weights": lambda base: PSWM(base, period=6, blend=0.6),
    "pswm-mean": lambda base: PSWM(base, period=6, blend=0.6, against="earlier_mean"),
}
BASES: dict[str, Callable[[nn.Module], torch.optim.Optimizer]] = {
    "sgd": lambda model: torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9),
    "adamw": lambda model: torch.optim.AdamW(model.parameters(), lr=0.02),
}


def _model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))


def _batch(step: int) -> torch.Tensor:
    return torch.randn(8, 3, generator=torch.Generator().manual_seed(step))


def _loss(model: nn.Module, step: int) -> torch.Tensor:
    x = _batch(step)
    return (model(x).squeeze(1) - x[:, 0] * x[:, 1]).square().mean()


def _train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        optimizer.zero_grad()
        _loss(model, step).backward()
        optimizer.step()


def _equal(left: nn.Module, right: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(left.parameters(), right.parameters(), strict=True))


# --- checkpoints ---


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("base", BASES)
def test_resumes_to_the_bit_from_every_step_of_a_window(method: str, base: str) -> None:
    model = _model()
    optimizer = METHODS[method](BASES[base](model))
    saved = []
    for step in range(14):
        file = io.BytesIO()
        torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, file)
        saved.append(file)
        _train(model, optimizer, range(step, step + 1))
    _train(model, optimizer, range(14, 26))
    for step, file in enumerate(saved):
        file.seek(0)
        state = torch.load(file, weights_only=True)
        resumed = _model()
        resumed.load_state_dict(state["model"])
        other = METHODS[method](BASES[base](resumed))
        other.load_state_dict(state["optimizer"])
        _train(resumed, other, range(step, 26))
        assert _equal(resumed, model)
        with optimizer.averaged(), other.averaged():
            assert _equal(resumed, model)


def test_checkpoint_inside_averaged_holds_the_running_mean() -> None:
    model = _model()
    optimizer = METHODS["pswa"](BASES["sgd"](model))
    _train(model, optimizer, range(4))
    outside = copy.deepcopy(optimizer.state_dict()["averaging"])
    with optimizer.averaged():
        inside = optimizer.state_dict()["averaging"]
    means = [state["rule"]["mean"]["distribution"]["mean"]["groups"][0]["tensors"] for state in (outside, inside)]
    assert all(torch.equal(a, b) for a, b in zip(*means, strict=True))


def test_checkpoint_inside_averaged_is_complete_with_the_averaged_model() -> None:
    """As a training loop saves that shows the average to whatever judges the model and keeps the model it judged."""
    model = _model()
    optimizer = METHODS["pswa"](BASES["adamw"](model))
    _train(model, optimizer, range(10))
    file = io.BytesIO()
    with optimizer.averaged():
        torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    resumed = _model()
    resumed.load_state_dict(state["model"])
    other = METHODS["pswa"](BASES["adamw"](resumed))
    with optimizer.averaged():
        assert _equal(resumed, model)
    assert not _equal(resumed, model)
    other.load_state_dict(state["optimizer"])
    assert _equal(resumed, model)
    _train(model, optimizer, range(10, 20))
    _train(resumed, other, range(10, 20))
    assert _equal(resumed, model)


def test_loading_inside_averaged_is_refused() -> None:
    optimizer = METHODS["pswa"](BASES["sgd"](_model()))
    state = copy.deepcopy(optimizer.state_dict())
    with optimizer.averaged(), pytest.raises(InputError, match=r"load_state_dict\(\) inside averaged\(\)"):
        optimizer.load_state_dict(state)


def test_the_inner_optimizer_reads_the_checkpoint_too() -> None:
    model = _model()
    optimizer = METHODS["pswa"](BASES["sgd"](model))
    _train(model, optimizer, range(4))
    plain = BASES["sgd"](model)
    plain.load_state_dict(optimizer.state_dict())
    weight = model[0].weight
    assert torch.equal(plain.state[weight]["momentum_buffer"], optimizer.state[weight]["momentum_buffer"])


def test_refuses_foreign_checkpoints_and_stays_as_it_was() -> None:
    model = _model()
    optimizer = METHODS["pswa"](BASES["sgd"](model))
    _train(model, optimizer, range(5))
    before = copy.deepcopy(optimizer.state_dict())

    def saved_by(make: Make, other: nn.Module) -> dict[str, Any]:
        return make(torch.optim.SGD(other.parameters(), lr=0.05, momentum=0.9)).state_dict()

    foreign = {
        "holds no averaging state": BASES["sgd"](model).state_dict(),
        "saved by PSWM": saved_by(METHODS["pswm-mean"], model),
        "period=7": saved_by(lambda base: PSWA(base, period=7, sample_share=0.7), model),
        "version None": optimizer.state_dict() | {"averaging": {}},
        "of version 1, this release reads version 2": optimizer.state_dict() | {"averaging": {"version": 1}},
        r"shaped \[\[4, 2\]": saved_by(METHODS["pswa"], nn.Sequential(nn.Linear(2, 4), nn.Linear(4, 1))),
        r"shaped \[\[2, 3\]": saved_by(METHODS["pswa"], nn.Linear(3, 2)),
    }
    for message, state in foreign.items():
        with pytest.raises(InputError, match=message):
            optimizer.load_state_dict(state)
    after = optimizer.state_dict()
    assert str(after) == str(before)


def test_state_dict_hooks_run() -> None:
    optimizer = METHODS["pswa"](BASES["sgd"](_model()))
    seen = []
    optimizer.register_state_dict_pre_hook(lambda _: seen.append("save"))
    optimizer.register_state_dict_post_hook(lambda _, state: state | {"note": 1})
    optimizer.register_load_state_dict_pre_hook(lambda _, state: seen.append("load"))
    optimizer.register_load_state_dict_post_hook(lambda _: seen.append("loaded"))
    state = optimizer.state_dict()
    optimizer.load_state_dict(state)
    assert state["note"] == 1
    assert seen == ["save", "load", "loaded"]


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
@pytest.mark.parametrize("base", BASES)
def test_copies_train_on_alike_and_apart(duplicate: Callable[[Any], Any], base: str) -> None:
    model = _model()
    optimizer = METHODS["pswa"](BASES[base](model))
    _train(model, optimizer, range(4))
    other_model, other = duplicate((model, optimizer))
    _train(other_model, other, range(4, 15))
    assert not _equal(model, other_model)
    _train(model, optimizer, range(4, 15))
    assert _equal(model, other_model)


# --- schedulers, closures, scalers, hooks ---


@pytest.mark.parametrize("inner", [True, False])
def test_schedulers_act_on_either(inner: bool) -> None:
    model = _model()
    optimizer = METHODS["pswa"](BASES["sgd"](model))
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer.base if inner else optimizer, max_lr=0.1, total_steps=20)
    rates = []
    for step in range(20):
        _train(model, optimizer, range(step, step + 1))
        rates.append(optimizer.base.param_groups[0]["lr"])
        if step < 19:
            scheduler.step()
    assert max(rates) == pytest.approx(0.1)
    assert rates[-1] < 1e-4
    momenta = {group["momentum"] for group in optimizer.param_groups}
    assert momenta == {0.95}


@pytest.mark.filterwarnings("error")
def test_a_scheduler_survives_loading_and_does_not_warn_of_order() -> None:
    model = _model()
    optimizer = METHODS["pswa"](BASES["sgd"](model))
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)
    optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    _train(model, optimizer, range(1))
    scheduler.step()
    assert optimizer.base.param_groups[0]["lr"] == 0.025
    torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)


def _scheduler(kind: str, optimizer: torch.optim.Optimizer) -> Any:
    schedulers = torch.optim.lr_scheduler
    if kind == "plateau":
        return schedulers.ReduceLROnPlateau(optimizer, patience=1)
    if kind == "warm restarts":
        return schedulers.CosineAnnealingWarmRestarts(optimizer, T_0=3)
    if kind == "sequence":
        parts = [schedulers.LinearLR(optimizer, total_iters=3), schedulers.ExponentialLR(optimizer, gamma=0.5)]
        return schedulers.SequentialLR(optimizer, parts, milestones=[3])
    return torch.optim.swa_utils.SWALR(optimizer, swa_lr=0.01, anneal_epochs=4)


@pytest.mark.parametrize("kind", ["plateau", "warm restarts", "sequence", "swalr"])
def test_schedulers_give_the_rates_that_they_give_the_inner_optimizer(kind: str) -> None:
    model, plain_model = _model(), _model()
    optimizer, plain = METHODS["pswa"](BASES["sgd"](model)), BASES["sgd"](plain_model)
    assert isinstance(optimizer, torch.optim.Optimizer)
    rates = []
    for run, its_model in ((optimizer, model), (plain, plain_model)):
        scheduler = _scheduler(kind, run)
        rates.append([])
        for step in range(9):
            _train(its_model, run, range(step, step + 1))
            scheduler.step(*([1.0] if kind == "plateau" else []))
            rates[-1].append(run.param_groups[0]["lr"])
    assert rates[0] == rates[1]
    assert len(set(rates[0])) > 1


def test_a_closure_may_return_none_for_a_batch_that_it_leaves_out() -> None:
    model = _model()
    optimizer = METHODS["pswa"](BASES["sgd"](model))
    assert optimizer.step(lambda: None) is None  # type: ignore[arg-type,return-value]
    assert optimizer.steps == 1


def test_closure_equals_plain_step_and_lbfgs_works() -> None:
    plain_model, closure_model = _model(), _model()
    plain, closed = METHODS["pswa"](BASES["sgd"](plain_model)), METHODS["pswa"](BASES["sgd"](closure_model))
    for step in range(13):
        _train(plain_model, plain, range(step, step + 1))

        def closure(step: int = step) -> torch.Tensor:
            closed.zero_grad()
            loss = _loss(closure_model, step)
            loss.backward()
            return loss

        returned = closed.step(closure)  # type: ignore[arg-type]
        assert isinstance(returned, torch.Tensor)
    assert _equal(plain_model, closure_model)

    model = _model()
    optimizer = PSWA(torch.optim.LBFGS(model.parameters(), lr=0.2, line_search_fn="strong_wolfe"), period=2)

    def full_batch() -> torch.Tensor:
        optimizer.zero_grad()
        loss = _loss(model, 0)
        loss.backward()
        return loss

    before = _loss(model, 0).item()
    for _ in range(6):
        optimizer.step(full_batch)  # type: ignore[arg-type]
    assert optimizer.write_backs == 3
    assert _loss(model, 0).item() < before


def test_scaler_skips_are_no_samples() -> None:
    model = _model()
    optimizer = PSWA(BASES["sgd"](model), period=4, sample_share=1.0)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**4)
    for step in range(6):
        optimizer.zero_grad()
        loss = _loss(model, step)
        scaler.scale(loss).backward()
        if step in (1, 2):
            model[0].weight.grad.fill_(float("inf"))
        scaler.step(optimizer, loss=loss.detach())
        scaler.update()
    assert optimizer.steps == 4
    assert optimizer.write_backs == 1
    assert all(bool(torch.isfinite(p).all()) for p in model.parameters())


def test_unscaled_and_clipped_gradients_under_autocast() -> None:
    """The order that the torch manual gives for clipping under a scaler."""
    model, plain_model = _model(), _model()
    optimizer, plain = PSWA(BASES["sgd"](model), period=100), BASES["sgd"](plain_model)
    for run, its_model in ((optimizer, model), (plain, plain_model)):
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**8)
        for step in range(5):
            run.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = _loss(its_model, step)
            scaler.scale(loss).backward()
            scaler.unscale_(run)
            nn.utils.clip_grad_norm_(its_model.parameters(), 0.1)
            scaler.step(run)
            scaler.update()
    assert _equal(model, plain_model)
    assert optimizer.steps == 5


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["eager", "inductor"])
def test_a_compiled_model_shows_the_average(backend: str) -> None:
    if backend == "inductor" and shutil.which("gcc") is None:
        pytest.skip("needs gcc")
    model = _model()
    compiled = torch.compile(model, backend=backend)
    optimizer = PSWA(BASES["sgd"](model), period=4)
    _train(compiled, optimizer, range(8))
    _train(compiled, optimizer, range(8, 10))
    x = _batch(0)
    own = compiled(x)
    with optimizer.averaged():
        shown = compiled(x)
        torch.testing.assert_close(shown, model(x))
    assert not torch.equal(shown, own)
    assert torch.equal(compiled(x), own)


def test_step_hooks_run_once_a_step() -> None:
    model = _model()
    optimizer = METHODS["pwalks-samples"](BASES["sgd"](model))
    seen = []
    optimizer.register_step_pre_hook(lambda *_: seen.append("before"))
    optimizer.register_step_post_hook(lambda *_: seen.append("after"))
    optimizer.base.register_step_post_hook(lambda *_: seen.append("inner"))
    _train(model, optimizer, range(2))
    assert seen == ["before", "inner", "after"] * 2


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("as_closure", [True, False])
def test_a_bad_loss_never_reaches_weights_or_mean(bad: float, as_closure: bool) -> None:
    for nonfinite in ("raise", "skip"):
        model = _model()
        optimizer = PSWA(BASES["sgd"](model), period=4, sample_share=1.0, nonfinite=nonfinite)  # type: ignore[arg-type]
        _train(model, optimizer, range(2))
        before = copy.deepcopy(model)

        def closure(model: nn.Module = model) -> torch.Tensor:
            loss = _loss(model, 2) * bad
            loss.backward()
            return loss

        def bad_step(optimizer: PSWA = optimizer, closure: Callable[[], torch.Tensor] = closure) -> None:
            if as_closure:
                optimizer.step(closure)  # type: ignore[arg-type]
            else:
                optimizer.step(loss=closure())

        if nonfinite == "raise":
            with pytest.raises(NonFiniteLossError, match="at step 2: lower the learning rate") as caught:
                bad_step()
            assert str(pickle.loads(pickle.dumps(caught.value)).loss) == str(bad)
        else:
            bad_step()
            assert optimizer.skipped_steps == 1
        assert _equal(model, before)
        assert optimizer.steps == 2
        _train(model, optimizer, range(3, 9))
        with optimizer.averaged():
            assert all(bool(torch.isfinite(p).all()) for p in model.parameters())


# --- awkward parameters ---


def test_frozen_parameters_are_not_copied_and_tied_ones_once() -> None:
    embedding = nn.Linear(5, 5, bias=False)
    head = nn.Linear(5, 5)
    head.weight = embedding.weight
    frozen = nn.Linear(100, 100)
    frozen.requires_grad_(False)
    parameters = [*embedding.parameters(), *head.parameters(), *frozen.parameters()]
    with pytest.warns(UserWarning, match="duplicate"):
        base = torch.optim.SGD(parameters, lr=0.1)
    optimizer = PSWA(base, period=2)
    for _ in range(2):
        optimizer.zero_grad()
        head(embedding(torch.ones(1, 5))).square().sum().backward()
        optimizer.step()
    assert optimizer.nbytes == 4 * (25 + 5)


def test_one_extra_copy_to_the_byte() -> None:
    model = _model()
    optimizer = PSWA(BASES["sgd"](model), period=3)
    _train(model, optimizer, range(7))
    assert optimizer.nbytes == sum(p.numel() * p.element_size() for p in model.parameters())


def test_parameters_frozen_thawed_and_added_during_training() -> None:
    model = _model()
    model[0].requires_grad_(False)
    optimizer = PSWA(torch.optim.SGD(model[2].parameters(), lr=0.1), period=4)
    optimizer.add_param_group({"params": list(model[0].parameters()), "lr": 0.2})
    assert optimizer.base.param_groups[1]["lr"] == 0.2
    first = model[0].weight.detach().clone()
    _train(model, optimizer, range(4))
    assert torch.equal(model[0].weight, first)
    small = optimizer.nbytes
    model[0].requires_grad_(True)
    _train(model, optimizer, range(4, 7))
    assert not torch.equal(model[0].weight, first)
    assert optimizer.nbytes == small + 4 * (12 + 4)
    model[2].requires_grad_(False)
    frozen = model[2].weight.detach().clone()
    _train(model, optimizer, range(7, 8))
    assert torch.equal(model[2].weight, frozen)
    optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))


def test_missing_and_sparse_gradients() -> None:
    embedding = nn.Embedding(6, 3, sparse=True)
    unused = nn.Parameter(torch.ones(2))
    optimizer = PSWA(torch.optim.SGD([*embedding.parameters(), unused], lr=0.5), period=2, sample_share=1.0)
    start = embedding.weight.detach().clone()
    path = []
    for index in (1, 4):
        optimizer.zero_grad()
        embedding(torch.tensor([index])).sum().backward()
        assert embedding.weight.grad.is_sparse
        optimizer.step()
        path.append(embedding.weight.detach().clone())
    expected = start.clone()
    expected[1] -= 0.5
    expected[4] -= 0.25
    torch.testing.assert_close(embedding.weight.detach(), expected)
    assert torch.equal(unused, torch.ones(2))


def test_sparse_adam_trains_an_embedding() -> None:
    embedding = nn.Embedding(6, 3, sparse=True)
    start = embedding.weight.detach().clone()
    optimizer = PSWA(torch.optim.SparseAdam(embedding.parameters(), lr=0.1), period=3, state="average")
    for step in range(7):
        optimizer.zero_grad()
        embedding(torch.tensor([step % 2, 4])).square().sum().backward()
        optimizer.step()
    assert optimizer.write_backs == 2
    moved = (embedding.weight.detach() != start).any(dim=1)
    assert moved.tolist() == [True, True, False, False, True, False]
    optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))


def test_says_when_it_writes_back() -> None:
    """What a user sees of a period that is longer than the run."""
    model = _model()
    optimizer = PSWA(BASES["sgd"](model), period=40, write_back_every=3)
    _train(model, optimizer, range(5))
    assert optimizer.window_steps == 120
    lines = repr(optimizer).splitlines()
    assert lines[0] == "PSWA ("
    assert lines[1] == "    5 steps made, 0 write-backs, one after each 120 steps"
    assert "    lr: 0.05" in lines


def test_half_precision_weights_have_a_float32_mean() -> None:
    weight = nn.Parameter(torch.ones(1000, dtype=torch.bfloat16))
    optimizer = PSWA(torch.optim.SGD([weight], lr=1.0), period=1000, sample_share=1.0)
    samples = []
    for step in range(999):
        weight.grad = torch.full_like(weight, -(2.0**-7) if step % 4 == 0 else 0.0)
        optimizer.step()
        samples.append(weight[0].item())
    mean = optimizer.state_dict()["averaging"]["rule"]["mean"]["distribution"]["mean"]["groups"][0]["tensors"][0]
    assert mean.dtype == torch.float32
    assert mean[0].item() == pytest.approx(sum(samples) / 999, rel=1e-6)
    with optimizer.averaged():
        assert weight[0] == mean[0].bfloat16()
    assert weight[0].item() == samples[-1] == 2.0


def test_refuses_what_is_no_optimizer_or_has_nothing_to_train() -> None:
    with pytest.raises(InputError, match="list is no torch optimizer"):
        PSWA([nn.Parameter(torch.ones(1))], period=3)  # type: ignore[arg-type]
    frozen = nn.Linear(2, 2).requires_grad_(False)
    with pytest.raises(InputError, match="no trainable parameter"):
        PSWA(torch.optim.SGD(frozen.parameters(), lr=0.1), period=3)
    model = nn.Linear(2, 2)
    optimizer = PSWA(torch.optim.SGD(model.parameters(), lr=0.1), period=1)
    model.requires_grad_(False)
    with pytest.raises(InputError, match="every parameter of the optimizer is frozen"):
        optimizer.step()
