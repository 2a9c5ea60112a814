"""Steps that cost no hooks where there are none: hooks and profilers still hear of every step."""

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from lightsleeper.averaging import PSWA, Settle

Make = Callable[[nn.Module], Optimizer]

OPTIMIZERS: dict[str, Make] = {
    "settle": lambda model: Settle(model.parameters()),
    "pswa": lambda model: PSWA(torch.optim.SGD(model.parameters(), lr=0.1), period=2),
}


@pytest.fixture(params=OPTIMIZERS)
def optimizer(request: pytest.FixtureRequest) -> Optimizer:
    model = nn.Linear(2, 1)
    model(torch.ones(1, 2)).sum().backward()
    return OPTIMIZERS[request.param](model)


def test_the_optimizers_own_hooks_run_once_with_what_step_was_given(optimizer: Optimizer) -> None:
    heard: list[object] = []
    hooks = [
        optimizer.register_step_pre_hook(lambda _, args, kwargs: heard.append(("pre", kwargs))),
        optimizer.register_step_post_hook(lambda _, args, kwargs: heard.append(("post", kwargs))),
    ]
    optimizer.step(loss=1.5)  # type: ignore[call-arg]
    assert heard == [("pre", {"loss": 1.5}), ("post", {"loss": 1.5})]
    for hook in hooks:
        hook.remove()
    optimizer.step()
    assert len(heard) == 2


def test_hooks_for_all_optimizers_run(optimizer: Optimizer) -> None:
    heard: list[str] = []
    hooks = [
        register_optimizer_step_pre_hook(lambda own, *_: heard.append("pre") if own is optimizer else None),
        register_optimizer_step_post_hook(lambda own, *_: heard.append("post") if own is optimizer else None),
    ]
    try:
        optimizer.step()
    finally:
        for hook in hooks:
            hook.remove()
    assert heard == ["pre", "post"]


def test_a_hook_may_change_what_step_is_given(optimizer: Optimizer) -> None:
    optimizer.register_step_pre_hook(lambda own, args, kwargs: (args, {"closure": lambda: 2.5}))
    assert optimizer.step() == 2.5


def test_a_profiler_sees_the_step_by_its_name(optimizer: Optimizer) -> None:
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        optimizer.step()
    name = type(optimizer).__name__
    assert f"Optimizer.step#{name}.step" in {event.key for event in profile.key_averages()}


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_torch_leaves_the_step_as_it_is(make: Make) -> None:
    """Wrapped once more, hooks would run twice."""
    kind = type(make(nn.Linear(2, 1)))
    step = kind.step
    make(nn.Linear(2, 1))
    assert kind.step is step
