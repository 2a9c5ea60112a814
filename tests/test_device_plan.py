"""Memory plans: lives, places, budgets, and what is said where nothing fits."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from device_trial import trial
from lightsleeper.device import Network, Plan, Rule, plan_device, read_network
from lightsleeper.device.graph import Trainable
from lightsleeper.device.layers import Conv
from lightsleeper.device.networks import NETWORKS, keyword_net, seeded
from lightsleeper.device.plan import STACK_BYTES, device_plans
from lightsleeper.device.program import Buffer, Program, place
from lightsleeper.errors import InputError

KIB = 1024


@pytest.fixture(scope="module")
def keyword() -> Network:
    return read_network(seeded(keyword_net, 0), torch.zeros(1, 1, 49, 10), loss="cross_entropy")


def _overlaps(a: Buffer, b: Buffer) -> bool:
    in_time = a.first <= b.last and b.first <= a.last
    in_space = a.offset < b.offset + b.floats and b.offset < a.offset + a.floats
    return in_time and in_space


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 50), st.integers(0, 10), st.integers(0, 10)), min_size=1, max_size=12),
)
def test_what_lives_at_once_never_overlaps_and_the_arena_has_a_floor(spans: list[tuple[int, int, int]]) -> None:
    program = Program(buffers=[Buffer(f"{i}", n, min(a, b), max(a, b)) for i, (n, a, b) in enumerate(spans)])
    place(program)
    assert not any(_overlaps(a, b) for a, b in itertools.combinations(program.buffers, 2))
    live = max(sum(b.floats for b in program.buffers if b.first <= t <= b.last) for t in range(11))
    assert live <= program.arena <= sum(b.floats for b in program.buffers)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("trainable", ["all", "last", "biases"])
def test_every_operation_finds_its_buffers_alive(name: str, trainable: Trainable) -> None:
    for plan in device_plans(trial(name)[1], Rule(), trainable):
        for program in (plan.training, plan.inference):
            assert not any(_overlaps(a, b) for a, b in itertools.combinations(program.buffers, 2))
            for time, op in enumerate(program.operations):
                for used in (op.x, op.y, op.scratch, op.kept):
                    assert used is None or used.first <= time <= used.last
                layer = plan.network.layers[op.layer]
                assert op.y is not None
                assert op.y.floats >= layer.outputs
                assert op.x is None or op.kind == "loss" or op.x.floats >= layer.inputs


def test_less_memory_costs_more_work(keyword: Network) -> None:
    budgets = [None, 400, 350, 300, 260, 245]
    plans = [plan_device(keyword, Rule(), ram_bytes=None if k is None else k * KIB) for k in budgets]
    for budget, plan in zip(budgets, plans, strict=True):
        assert budget is None or plan.ram_bytes <= budget * KIB
    macs = [plan.macs for plan in plans]
    assert macs == sorted(macs)
    assert macs[0] == sum(layer.macs for layer in keyword.layers)


def test_keyword_network_trains_whole_in_a_quarter_of_a_mebibyte(keyword: Network) -> None:
    plan = plan_device(keyword, Rule(), ram_bytes=256 * KIB)
    assert plan.parameters == 22_604
    assert not plan.accumulate
    copies = 2 * 4 * 22_604
    assert plan.ram_bytes - copies < 66 * KIB


def test_inference_takes_one_activation_and_a_line(keyword: Network) -> None:
    largest = max(layer.outputs for layer in keyword.layers)
    plan = plan_device(keyword, Rule())
    line = max(layer.forward_scratch for layer in keyword.layers if isinstance(layer, Conv))
    assert plan.inference.arena == largest + line


def test_settle_keeps_the_gradient_where_there_is_room_and_goes_twice_where_not(keyword: Network) -> None:
    rule = Rule(averaging="settle")
    assert plan_device(keyword, rule).accumulate
    tight = plan_device(keyword, rule, ram_bytes=384 * KIB)
    assert not tight.accumulate
    once = sum(layer.macs for layer in keyword.layers) + tight.training.recomputed_macs(keyword)
    assert tight.macs == 2 * once


def test_a_budget_too_small_is_told_with_the_miss_and_the_mend(keyword: Network) -> None:
    smallest = min(plan.ram_bytes for plan in device_plans(keyword, Rule()))
    assert plan_device(keyword, Rule(), ram_bytes=smallest).ram_bytes == smallest
    with pytest.raises(InputError, match=rf"takes {smallest}, 1 too many. What fits: training .* only takes \d+"):
        plan_device(keyword, Rule(), ram_bytes=smallest - 1)
    with pytest.raises(InputError, match="no momentum takes"):
        plan_device(keyword, Rule(momentum=0.9), ram_bytes=smallest)
    with pytest.raises(InputError, match="batch=1 takes"):
        plan_device(keyword, Rule(batch=8), ram_bytes=smallest)
    with pytest.raises(InputError, match="averaging by PSWA takes"):
        plan_device(keyword, Rule(averaging="settle"), ram_bytes=smallest)
    with pytest.raises(InputError, match="averaging by PSWA takes"):
        plan_device(keyword, Rule(averaging="settle", anchor="flash"), ram_bytes=smallest)
    with pytest.raises(InputError, match="Least takes training 20 only"):
        plan_device(keyword, Rule(), ram_bytes=10 * KIB)
    with pytest.raises(InputError, match=r"flash: .* take \d+, \d+ too many"):
        plan_device(keyword, Rule(), flash_bytes=64 * KIB)


def test_an_anchor_in_flash_is_offered_where_it_helps(keyword: Network) -> None:
    rule = Rule(averaging="settle")
    assert plan_device(keyword, Rule(averaging="settle", anchor="flash"), ram_bytes=256 * KIB).parameters == 22_604
    with pytest.raises(InputError, match="What fits: averaging by PSWA takes"):
        plan_device(keyword, rule, ram_bytes=256 * KIB)
    small = trial("mlp")[1]
    floor = min(plan.ram_bytes for plan in device_plans(small, Rule(averaging="settle", anchor="flash"), "last"))
    with pytest.raises(InputError, match='anchor="flash" takes'):
        plan_device(small, rule, trainable="last", ram_bytes=floor)


@pytest.mark.parametrize("rule", [Rule(), Rule(averaging="settle"), Rule(averaging="pwalks", last=4, batch=2)])
def test_memory_map_adds_up(rule: Rule) -> None:
    plan: Plan = plan_device(trial("conv1d")[1], rule)
    lines = plan.memory_map()
    assert lines[0] == f"state: {plan.state_bytes} bytes"
    parts = [int(line.split(" B ")[0]) for line in lines if " B  " in line]
    assert sum(parts) == plan.state_bytes
    assert any(f"arena: {plan.arena_bytes} bytes" in line for line in lines)
    assert plan.ram_bytes == plan.state_bytes + plan.arena_bytes + STACK_BYTES
