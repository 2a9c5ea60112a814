"""A byte budget in, a plan out: what it chooses, and that the running optimizer takes what it says."""

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lightsleeper.averaging import PSWA, PSWM, PWALKS, MemoryPlan, plan_memory
from lightsleeper.averaging.periodic_optimizer import PeriodicOptimizer
from lightsleeper.errors import InputError


def _model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3))


WEIGHTS = 6 * 8 + 8 + 8 * 8 + 8 + 8 * 3 + 3
SMALLEST = 8 * 3 + 4 + 3 + 4
"""The last layer: 24 and 3 weights in int8, each with the four bytes of a scale."""


def _train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        x = torch.randn(4, 6, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        (model(x) - x[:, :3]).square().mean().backward()
        optimizer.step()


def _sgd(model: nn.Module) -> torch.optim.SGD:
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


def _storages(plan: MemoryPlan) -> list[str | None]:
    return [None if p.storage is None else p.storage.storage for p in plan.tensors]


METHODS: dict[str, tuple[int, Callable[..., PeriodicOptimizer]]] = {
    "pswa": (1, PSWA),
    "pswm": (1, lambda base, **options: PSWM(base, against="earlier_mean", **options)),
    "pwalks-samples": (3, lambda base, **options: PWALKS(base, last=3, **options)),
    "pwalks-periods": (3, lambda base, **options: PWALKS(base, last=2, of="periods", **options)),
}


# --- the budget is kept, to the byte ---


@given(st.integers(SMALLEST, 5 * WEIGHTS), st.sampled_from(sorted(METHODS)))
@settings(max_examples=12, deadline=None)
def test_running_bytes_are_the_plan_s_and_never_above_the_budget(budget: int, method: str) -> None:
    copies, make = METHODS[method]
    model = _model()
    plan = plan_memory(model, budget_bytes=copies * budget, copies=copies)
    optimizer = make(_sgd(model), period=4, plan=plan)
    for step in range(9):
        _train(model, optimizer, range(step, step + 1))
        assert optimizer.nbytes <= plan.nbytes
    assert optimizer.nbytes == plan.nbytes <= plan.budget_bytes == copies * budget


@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.integers(0, 700), st.integers(1, 3))
@settings(max_examples=100, deadline=None)
def test_plans_of_any_tensors_fit_or_are_refused_by_the_bytes_that_are_missing(
    sizes: list[int], budget: int, copies: int
) -> None:
    tensors = [torch.zeros(size, requires_grad=True) for size in sizes]
    try:
        plan = plan_memory(tensors, budget_bytes=budget, copies=copies)
    except InputError as error:
        missing = int(str(error).split(" takes ")[1].split()[0].replace(",", ""))
        assert plan_memory(tensors, budget_bytes=budget + missing, copies=copies).nbytes == budget + missing
        with pytest.raises(InputError, match="takes 1 bytes more"):
            plan_memory(tensors, budget_bytes=budget + missing - 1, copies=copies)
        return
    assert plan.nbytes <= budget
    kept = [storage is not None for storage in _storages(plan)]
    assert kept == sorted(kept)
    if plan.nbytes < copies * 4 * sum(sizes):
        # what is left over betters no tensor: the next way of a stored one costs at most 3 bytes a weight more
        stored = [p for p in plan.tensors if p.storage is not None and p.storage.storage != "float32"]
        assert all(budget - plan.nbytes < copies * 4 * p.tensor.numel() - p.nbytes for p in stored)


# --- what it chooses ---


def test_all_tensors_step_down_together_then_the_first_layers_go() -> None:
    model = _model()

    def storages(bytes_per_weight: float) -> list[str | None]:
        return _storages(plan_memory(model, budget_bytes=int(bytes_per_weight * WEIGHTS)))

    assert storages(4) == ["float32"] * 6
    assert storages(3) == ["float16"] * 6
    at_two_and_a_half = storages(2.5)
    assert None not in at_two_and_a_half
    assert at_two_and_a_half[0] == "int8"
    assert at_two_and_a_half[4] == "float16"
    assert None not in storages(1.2)
    below = storages(0.9)
    assert below[:2] == [None, None]
    assert None not in below[2:]


def test_a_window_of_bytes_without_feedback_is_sampled_sixteen_times_at_most() -> None:
    model = _model()
    plan = plan_memory(model, budget_bytes=int(1.2 * WEIGHTS))
    assert plan.most_samples == 16
    for period, write_back_every in ((100, 1), (7, 1), (50, 4), (33, 16), (5, 40)):
        optimizer = PSWA(_sgd(model), period=period, write_back_every=write_back_every, plan=plan)
        sampled = sum(optimizer.gate.samples(step) for step in range(optimizer.window_steps))
        assert 1 <= sampled <= max(16, write_back_every)
        assert sampled >= min(8, period // 2)
    assert plan_memory(model, budget_bytes=2 * WEIGHTS + 24).most_samples is None


def test_rounding_over_that_many_samples_stays_near_a_last_place() -> None:
    """The root mean square error of a byte without feedback, against the tensor's largest weight."""
    weight = nn.Parameter(torch.randn(4000, generator=torch.Generator().manual_seed(0)))
    plan = plan_memory([weight], budget_bytes=4004)
    optimizer = PSWA(torch.optim.SGD([weight], lr=0.0), period=16, sample_share=1.0, plan=plan)
    assert optimizer.gate.expected_samples_per_window == 16
    truth = weight.detach().clone()
    for _ in range(16):
        weight.grad = torch.zeros_like(weight)
        optimizer.step()
    last_place = truth.abs().max() / 120
    error = (weight.detach() - truth).square().mean().sqrt() / last_place
    assert 0.3 < error < 1.3


def test_large_weights_are_kept_in_bfloat16() -> None:
    tensors = [torch.full((10,), 5000.0, requires_grad=True), torch.ones(10, requires_grad=True)]
    assert _storages(plan_memory(tensors, budget_bytes=60)) == ["bfloat16", "float16"]


def test_frozen_ones_are_not_planned_and_tied_ones_once() -> None:
    model = _model()
    model[0].requires_grad_(False)
    model[4].weight = nn.Parameter(torch.zeros(3, 8))
    named = [*model.named_parameters(), *model.named_parameters()]
    plan = plan_memory(named, budget_bytes=10_000)
    assert [p.name for p in plan.tensors] == ["2.weight", "2.bias", "4.weight", "4.bias"]


def test_equal_names_of_two_models_stay_apart() -> None:
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    plan = plan_memory([*first.named_parameters(), *second.named_parameters()], budget_bytes=10_000)
    assert plan.nbytes == 2 * 4 * 20


def test_prints_as_a_table() -> None:
    plan = plan_memory(_model(), budget_bytes=120)
    lines = str(plan).splitlines()
    assert lines[0].split() == ["tensor", "shape", "weights", "storage", "bytes"]
    assert lines[1].split() == ["0.weight", "8", "x", "6", "48", "left", "out", "0"]
    assert len(lines) == 8
    assert len({len(line) for line in lines[:-1]}) == 1
    assert lines[-1] == f"1 copy: {plan.nbytes} of 120 bytes; sampled at most 16 times in a window"


# --- used ---


def test_tensors_left_out_keep_their_own_weights() -> None:
    model, plain = _model(), _model()
    plan = plan_memory(model, budget_bytes=SMALLEST)
    optimizer = PSWA(_sgd(model), period=4, sample_share=1.0, plan=plan)
    base = _sgd(plain)
    _train(model, optimizer, range(4))
    _train(plain, base, range(4))
    assert optimizer.write_backs == 1
    for index in (0, 2):
        assert torch.equal(model[index].weight, plain[index].weight)
    assert not torch.equal(model[4].weight, plain[4].weight)
    _train(model, optimizer, range(4, 6))
    own = model[0].weight.detach().clone()
    with optimizer.averaged():
        assert torch.equal(model[0].weight, own)


@pytest.mark.parametrize("method", METHODS)
def test_a_plan_of_float32_for_all_changes_nothing(method: str) -> None:
    copies, make = METHODS[method]
    model, plain = _model(), _model()
    plan = plan_memory(model, budget_bytes=copies * 4 * WEIGHTS, copies=copies)
    optimizer = make(_sgd(model), period=4, plan=plan)
    _train(model, optimizer, range(10))
    _train(plain, make(_sgd(plain), period=4), range(10))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), plain.parameters(), strict=True))


def test_groups_may_have_another_order_than_the_plan() -> None:
    model = _model()
    plan = plan_memory(model, budget_bytes=SMALLEST)
    groups = [
        {"params": [model[4].bias, model[4].weight]},
        {"params": [*model[2].parameters(), *model[0].parameters()]},
    ]
    optimizer = PSWA(torch.optim.SGD(groups, lr=0.1), period=2, plan=plan)
    _train(model, optimizer, range(2))
    assert optimizer.nbytes == SMALLEST


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("bytes_per_weight", [0.8, 2.5])
def test_resumes_to_the_bit(method: str, bytes_per_weight: float) -> None:
    copies, make = METHODS[method]

    def build() -> tuple[nn.Module, PeriodicOptimizer]:
        model = _model()
        budget = int(bytes_per_weight * copies * WEIGHTS)
        return model, make(_sgd(model), period=4, plan=plan_memory(model, budget_bytes=budget, copies=copies))

    model, optimizer = build()
    _train(model, optimizer, range(7))
    file = io.BytesIO()
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    resumed, other = build()
    resumed.load_state_dict(state["model"])
    other.load_state_dict(state["optimizer"])
    copied, another = copy.deepcopy((model, optimizer))
    pickled, third = pickle.loads(pickle.dumps((model, optimizer)))
    _train(model, optimizer, range(7, 18))
    for again, its_optimizer in ((resumed, other), (copied, another), (pickled, third)):
        _train(again, its_optimizer, range(7, 18))
        assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


def test_a_checkpoint_of_another_plan_is_refused() -> None:
    model = _model()
    saved = PSWA(_sgd(model), period=4, plan=plan_memory(model, budget_bytes=3 * WEIGHTS)).state_dict()
    with pytest.raises(InputError, match="saved with storage='plan of float16 "):
        PSWA(_sgd(model), period=4).load_state_dict(saved)


def test_compact_rings_average_as_full_ones() -> None:
    full, compact = _model(), _model()
    _train(full, PWALKS(_sgd(full), period=6, last=3), range(6))
    _train(compact, PWALKS(_sgd(compact), period=6, last=3, storage="int8"), range(6))
    for a, b in zip(full.parameters(), compact.parameters(), strict=True):
        assert not torch.equal(a, b)
        torch.testing.assert_close(a, b, rtol=0.0, atol=float(a.detach().abs().max()) / 120 / 100)


# --- refused ---


def test_refuses_in_one_line() -> None:
    model = _model()
    with pytest.raises(InputError, match=r"^budget_bytes is 30: .* the last layer \(4\) alone .* takes 5 bytes more$"):
        plan_memory(model, budget_bytes=30)
    bad: list[dict[str, Any]] = [{"budget_bytes": 1.5}, {"budget_bytes": -1}, {"budget_bytes": True}]
    for options in bad:
        with pytest.raises(InputError, match=r"^budget_bytes is "):
            plan_memory(model, **options)
    with pytest.raises(InputError, match=r"^copies is 0"):
        plan_memory(model, budget_bytes=100, copies=0)
    with pytest.raises(InputError, match="no trainable tensor"):
        plan_memory([torch.zeros(3)], budget_bytes=100)


def test_optimizers_refuse_plans_that_are_not_theirs() -> None:
    model = _model()
    plan = plan_memory(model, budget_bytes=4 * WEIGHTS)
    with pytest.raises(InputError, match=r"for 1 copies, PWALKS keeps 5 here: plan_memory\(\.\.\., copies=5\)"):
        PWALKS(_sgd(model), period=4, plan=plan)
    with pytest.raises(InputError, match=r"shaped \[8, 6\] is not in the memory plan"):
        PSWA(_sgd(_model()), period=4, plan=plan)
    with pytest.raises(InputError, match="both given"):
        PSWA(_sgd(model), period=4, plan=plan, storage="int8")
    with pytest.raises(InputError, match="does not count"):
        PSWA(_sgd(model), period=4, plan=plan, state="average")
    optimizer = PSWA(_sgd(model), period=2, plan=plan)
    optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(2))]})
    with pytest.raises(InputError, match=r"shaped \[2\] is not in the memory plan"):
        _train(model, optimizer, range(3))
    model[4].requires_grad_(False)
    last_alone = PSWA(_sgd(model), period=1, plan=plan)
    model[4].requires_grad_(True)
    model[0].requires_grad_(False)
    model[2].requires_grad_(False)
    _train(model, last_alone, range(1))
    assert last_alone.nbytes == 4 * 27
