"""Generated C on emulated cores: the bits of the host, exact counts, stack and memory; and missing tools."""

from pathlib import Path

import numpy as np
import pytest
import torch

from device_trial import compiled, data_for, trial
from lightsleeper.device import Rule, emit, plan_device, read_network
from lightsleeper.device import tools as device_tools
from lightsleeper.device.emulate import TARGETS, emulate
from lightsleeper.device.networks import TrialNetwork, keyword_net, seeded, trial_data
from lightsleeper.device.oracle import distance, train_torch
from lightsleeper.device.stack_bound import stack_bound
from lightsleeper.errors import InputError, LightsleeperError, MissingToolError

KIB = 1024


@pytest.mark.parametrize(
    ("name", "core", "rule"),
    [
        ("mlp", "m4f", Rule(period=10, batch=4, momentum=0.9)),
        ("mlp", "m7", Rule(averaging="settle", batch=2)),
        ("mlp", "m0plus", Rule(averaging="pwalks", period=6, last=2)),
        ("mlp", "m0plus", Rule(averaging="settle")),
        ("gru", "m4f", Rule(averaging="settle")),
        ("depthwise", "m7", Rule(averaging="pswm", period=8)),
        ("conv1d", "m4f", Rule(averaging="none")),
        ("tanh_sigmoid_mse", "m4f", Rule(period=5)),
        ("mlp", "rv32", Rule(averaging="settle", batch=2)),
        ("depthwise", "rv32", Rule(period=6)),
        ("gru", "rv32", Rule(averaging="pwalks", period=6, last=2)),
    ],
)
def test_cores_give_the_bits_of_the_host(name: str, core: str, rule: Rule, tmp_path: Path) -> None:
    plan = plan_device(trial(name)[1], rule)
    x, y = data_for(name, 48 * rule.batch)
    x[5].flat[0] = np.nan
    with compiled(plan) as host:
        for sample, target in zip(x, y, strict=True):
            host.train_step(sample, target)
        run = emulate(emit(plan, name="net"), TARGETS[core], x, y, folder=tmp_path, contract=False)
        assert run.state["skipped"][0] == 1
        assert b"".join(value.tobytes() for value in run.state.values()) == host.memory.tobytes()


def test_small_network_keeps_its_budgets(tmp_path: Path) -> None:
    """A batch of eight of the 16-32-4 network with fused averaging, against a careful version by hand."""
    rule = Rule(period=6, batch=8)
    plan = plan_device(trial("mlp")[1], rule)
    x, y = data_for("mlp", 8 * 12)
    run = emulate(emit(plan, name="net"), TARGETS["m4f"], x, y, folder=tmp_path, optimise="-O3")
    assert run.instructions.reshape(-1, 8).sum(1).max() <= 52_000
    assert plan.state_bytes + run.static_bytes + run.stack_bytes <= 9_000
    assert run.stack_bytes <= 512
    assert run.stack_bound_bytes <= 512
    assert run.outside == []


@pytest.mark.parametrize(("rule", "most"), [(Rule(period=4, batch=4), 10.0), (Rule(averaging="settle", batch=4), 16.0)])
def test_update_takes_few_instructions_a_weight(rule: Rule, most: float, tmp_path: Path) -> None:
    """PSWA in every step, Settle in the mean over its rounds of 16."""
    plan = plan_device(trial("mlp")[1], rule)
    x, y = data_for("mlp", 64)
    run = emulate(emit(plan, name="net"), TARGETS["m4f"], np.repeat(x, 4, 0), np.repeat(y, 4, 0), folder=tmp_path)
    calls = run.instructions.reshape(-1, 4)
    np.testing.assert_array_equal(calls[:, 1], calls[:, 2])
    each = (calls[:, 3] - calls[:, 2]) / plan.parameters
    assert (each.max() if rule.averaging == "pswa" else each.mean()) <= most


def test_keyword_network_trains_within_a_quarter_of_a_mebibyte(tmp_path: Path) -> None:
    """The linker grants no more, the harness's sample and painted stack included."""
    model = seeded(keyword_net, 0)
    network = read_network(model, torch.zeros(1, 1, 49, 10), loss="cross_entropy")
    rule = Rule(period=2, learning_rate=0.05)
    plan = plan_device(network, rule, ram_bytes=252 * KIB)
    x, y = trial_data(TrialNetwork(keyword_net, (1, 49, 10), "cross_entropy"), network, 4, seed=0)
    run = emulate(emit(plan, name="net"), TARGETS["m4f"], x, y, folder=tmp_path, optimise="-O3", ram_bytes=256 * KIB)
    weights, _ = train_torch(model, network, rule, x, y, trained=plan.trained)
    assert distance(run.weights, weights) < 1e-5
    assert distance(emit(plan, name="net").weights, weights) > 1e-3
    assert plan.state_bytes + run.static_bytes + run.stack_bytes <= 241 * KIB
    assert run.stack_bytes <= 512


def test_counts_are_the_same_every_time_and_inference_is_less(tmp_path: Path) -> None:
    plan = plan_device(trial("conv2d")[1], Rule())
    x, y = data_for("conv2d", 4)
    counts = []
    for index, infer in enumerate((False, False, True)):
        folder = tmp_path / str(index)
        folder.mkdir()
        run = emulate(emit(plan, name="net"), TARGETS["m4f"], x, y, folder=folder, infer=infer)
        counts.append(run.instructions)
    np.testing.assert_array_equal(counts[0], counts[1])
    assert (counts[2] < counts[0] / 2).all()
    assert (counts[2] > 2 * sum(layer.macs for layer in plan.network.layers)).all()


def test_a_program_too_large_for_its_memory_is_refused(tmp_path: Path) -> None:
    plan = plan_device(trial("mlp")[1], Rule())
    x, y = data_for("mlp", 2)
    for program in ("arm-none-eabi-gcc", "qemu-system-arm"):
        device_tools.require(program)
    with pytest.raises(LightsleeperError, match="arm-none-eabi-gcc failed"):
        emulate(emit(plan, name="net"), TARGETS["m4f"], x, y, folder=tmp_path, ram_bytes=6 * KIB)


def test_samples_of_another_size_are_refused(tmp_path: Path) -> None:
    plan = plan_device(trial("mlp")[1], Rule())
    with pytest.raises(InputError, match="samples of 7 numbers and targets of 1 do not fit"):
        emulate(
            emit(plan, name="net"),
            TARGETS["m4f"],
            np.zeros((2, 7), np.float32),
            np.zeros(2, np.int32),
            folder=tmp_path,
        )


@pytest.mark.parametrize(
    ("missing", "package"),
    [
        ("qemu-system-arm", "apt-get install qemu-system-arm"),
        ("arm-none-eabi-gcc", "apt-get install gcc-arm-none-eabi and picolibc-arm-none-eabi"),
    ],
)
def test_a_missing_tool_is_named_with_its_package(
    missing: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_tools.shutil, "which", lambda name: None if name == missing else f"/usr/bin/{name}")
    plan = plan_device(trial("mlp")[1], Rule())
    x, y = data_for("mlp", 1)
    with pytest.raises(MissingToolError, match=package):
        emulate(emit(plan, name="net"), TARGETS["m4f"], x, y, folder=tmp_path)


def _graph(*lines: str) -> str:
    return "\n".join(['graph: { title: "net.c"', *lines, "}"])


def _node(name: str, size: str) -> str:
    return f'node: {{ title: "{name}" label: "{name}\\nnet.c:1:1\\n{size}" }}'


def _edge(source: str, target: str) -> str:
    return f'edge: {{ sourcename: "{source}" targetname: "{target}" label: "net.c:2:2" }}'


def test_stack_bound_is_the_deepest_path(tmp_path: Path) -> None:
    path = tmp_path / "net.ci"
    nodes = [_node("a", "16 bytes (static)"), _node("b", "8 bytes (static)"), _node("c", "40 bytes (static)")]
    outside = ['node: { title: "memcpy" label: "__builtin_memcpy\\n<built-in>" shape : ellipse }']
    edges = [_edge("a", "b"), _edge("a", "c"), _edge("b", "c"), _edge("c", "memcpy")]
    path.write_text(_graph(*nodes, *outside, *edges))
    assert stack_bound(path, "a") == (64, ["memcpy"])
    path.write_text(_graph(*nodes, *edges[:3], _edge("c", "a")))
    with pytest.raises(LightsleeperError, match="a calls itself"):
        stack_bound(path, "a")
    path.write_text(_graph(_node("a", "16 bytes (dynamic)")))
    with pytest.raises(LightsleeperError, match="no fixed size"):
        stack_bound(path, "a")
