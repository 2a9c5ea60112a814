"""The frozen front in 16 bits and the trained block in one piece: rounding apart, the training of PyTorch."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from device_trial import compiled, data_for, trial
from lightsleeper.device import Network, Plan, Rule, emit, plan_device, read_network
from lightsleeper.device.emulate import TARGETS, emulate
from lightsleeper.device.fuse import fused
from lightsleeper.device.layers import Block
from lightsleeper.device.networks import keyword_net, seeded
from lightsleeper.device.oracle import distance, train_torch
from lightsleeper.device.plan import device_plans
from lightsleeper.errors import InputError

NAME = "front_and_block"
BLOCK = ["5", "7", "11"]
KIB = 1024


def _plan(rule: Rule, trainable: list[str] | None = None) -> Plan:
    return next(device_plans(trial(NAME)[1], rule, trainable or BLOCK, packed=True))


class _Rounded(nn.Module):
    """A layer whose output is rounded to bfloat16."""

    def forward(self, x: Tensor) -> Tensor:
        return x.bfloat16().float()


def _rounding(model: nn.Module) -> tuple[nn.Module, Network]:
    """The trial network with the front's activations rounded where the C keeps them, layers still by their names."""
    rounded = copy.deepcopy(model)
    for name in ("1", "2", "4"):
        setattr(rounded, name, nn.Sequential(rounded.get_submodule(name), _Rounded()))
    return rounded, trial(NAME)[1]


@pytest.mark.parametrize(
    "rule", [Rule(period=20), Rule(averaging="settle"), Rule(averaging="pswm", batch=4, period=10, momentum=0.5)]
)
def test_training_is_that_of_pytorch_with_rounded_activations(rule: Rule) -> None:
    plan = _plan(rule)
    assert plan.packed
    assert any(isinstance(layer, Block) for layer in plan.network.layers)
    model, network = _rounding(trial(NAME)[0])
    x, y = data_for(NAME, 100 * rule.batch)
    weights, average = train_torch(model, network, rule, x, y, trained=network.trained(BLOCK))
    assert distance(emit(plan, name="net").weights, weights) > 0.1
    with compiled(plan) as device:
        for sample, target in zip(x, y, strict=True):
            device.train_step(sample, target)
        # A tie that falls the other way moves one activation by 2^-8 of itself.
        assert distance(device.field("weights"), weights) < 1e-3
        assert distance(device.average(), average) < 1e-3


def test_inference_is_that_of_pytorch_with_rounded_activations() -> None:
    model, _ = _rounding(trial(NAME)[0])
    x, _ = data_for(NAME, 50)
    with compiled(_plan(Rule())) as device, torch.no_grad():
        got = np.stack([device.infer(sample) for sample in x])
        np.testing.assert_allclose(got, model(torch.from_numpy(x)).numpy(), atol=2e-3)
        exact = trial(NAME)[0](torch.from_numpy(x)).numpy()
        assert 1e-5 < np.abs(got - exact).max() < 0.02


@pytest.mark.parametrize("part", [["5"], ["7"], ["5", "11"]])
def test_parts_of_a_block_are_trained(part: list[str]) -> None:
    if part == ["7"]:
        assert fused(trial(NAME)[1], trial(NAME)[1].trained(part)) is None
        return
    rule = Rule(period=20, learning_rate=0.1)
    model, network = _rounding(trial(NAME)[0])
    x, y = data_for(NAME, 60)
    weights, _ = train_torch(model, network, rule, x, y, trained=network.trained(part))
    with compiled(_plan(rule, part)) as device:
        for sample, target in zip(x, y, strict=True):
            device.train_step(sample, target)
        assert distance(device.field("weights"), weights) < 1e-3


def test_cores_give_the_bits_of_the_host(tmp_path: Path) -> None:
    plan = _plan(Rule(averaging="settle"))
    x, y = data_for(NAME, 40)
    with compiled(plan) as host:
        for sample, target in zip(x, y, strict=True):
            host.train_step(sample, target)
        run = emulate(emit(plan, name="net"), TARGETS["m4f"], x, y, folder=tmp_path, contract=False)
        assert b"".join(value.tobytes() for value in run.state.values()) == host.memory.tobytes()


def test_it_is_taken_only_where_nothing_else_fits() -> None:
    network = read_network(seeded(keyword_net, 0), torch.zeros(1, 1, 49, 10), loss="cross_entropy")
    last = ["14", "16", "20"]
    assert not plan_device(network, Rule(), trainable=last, ram_bytes=110 * KIB).packed
    tight = plan_device(network, Rule(), trainable=last, ram_bytes=64 * KIB)
    assert tight.packed
    assert "16 bits" in "\n".join(tight.memory_map())
    assert tight.parameters == 640 + 4160 + 780
    with pytest.raises(InputError, match=r"takes \d+, \d+ too many"):
        plan_device(network, Rule(), trainable=last, ram_bytes=60 * KIB)


def test_keyword_network_trains_its_last_block_in_64_kib(tmp_path: Path) -> None:
    network = read_network(seeded(keyword_net, 0), torch.zeros(1, 1, 49, 10), loss="cross_entropy")
    plan = plan_device(network, Rule(period=2), trainable=["14", "16", "20"], ram_bytes=64 * KIB)
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((4, 490)).astype(np.float32), np.arange(4, dtype=np.int32)
    run = emulate(emit(plan, name="net"), TARGETS["m4f"], x, y, folder=tmp_path, optimise="-O3")
    assert plan.state_bytes + run.static_bytes + run.stack_bytes <= 64 * KIB


@pytest.mark.parametrize(
    "layers",
    [
        [nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2)],
        [nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 1), nn.Flatten(), nn.Linear(32, 2)],
    ],
)
def test_other_networks_are_left_alone(layers: list[nn.Module]) -> None:
    shape = (8,) if isinstance(layers[0], nn.Linear) else (1, 2, 4)
    network = read_network(nn.Sequential(*layers), torch.zeros(1, *shape), loss="cross_entropy")
    for trainable in ("all", "last"):
        assert fused(network, network.trained(trainable)) is None  # type: ignore[arg-type]
