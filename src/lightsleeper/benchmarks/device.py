"""Generated C on emulated microcontrollers: held to PyTorch, and counted."""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from lightsleeper.benchmarks.grid import Progress
from lightsleeper.device import (
    Network,
    Rule,
    Trainable,
    compile_host,
    emit,
    emit_int8,
    plan_device,
    quantize,
    read_network,
)
from lightsleeper.device.emulate import CYCLES_PER_INSTRUCTION, TARGETS, emulate, emulate_int8, targets_at_hand
from lightsleeper.device.networks import NETWORKS, TrialNetwork, keyword_net, seeded, trial_data
from lightsleeper.device.oracle import distance, train_torch

__all__ = ["DEVICE_RULES", "bench_device", "device_tables", "memory_maps"]

STEPS = 200
SEED = 1
UPDATE_BATCH = 4
KEYWORD = TrialNetwork(keyword_net, (1, 49, 10), "cross_entropy")
LAST_BLOCK = ("14", "16", "20")
"""Its layers of the keyword network, with the classifier behind them."""
KIB = 1024
DEVICE_RULES = {
    "sgd": Rule(averaging="none"),
    "momentum": Rule(averaging="none", momentum=0.9, learning_rate=0.01),
    "pswa": Rule(period=20),
    "pwalks": Rule(averaging="pwalks", period=16, last=3),
    "pswm": Rule(averaging="pswm", period=30),
    "settle": Rule(averaging="settle", learning_rate=0.01),
}
"""Methods that are compared with PyTorch, by name."""

Row = dict[str, Any]


def bench_device(*, quick: bool, progress: Progress) -> list[Row]:
    """Rows of three kinds: agreement with PyTorch, cost of a step, cost of the update for each trained weight.

    Args:
        quick: the small fully connected network alone.
        progress: told of every run.

    Raises:
        MissingToolError: a compiler, its library or QEMU is not installed.
    """
    networks = {"mlp": NETWORKS["mlp"]} if quick else NETWORKS
    progress.begin("weights against PyTorch", len(networks) * len(DEVICE_RULES))
    rows = []
    for name, trial in networks.items():
        for method in DEVICE_RULES:
            rows.append(_agreement(name, trial, method))
            progress.advance()
    updates = list(_updates())
    costs = list(_costs(quick=quick))
    progress.begin("cost of a step", len(updates) + len(costs) + (not quick))
    for method, rule in updates:
        rows.append(_update_cost(method, rule))
        progress.advance()
    for row in costs:
        rows.append(_cost(*row))
        progress.advance()
    if not quick:
        rows.append(_int8_cost())
        progress.advance()
    return rows


def _read(trial: TrialNetwork) -> tuple[nn.Module, Network]:
    model = seeded(trial.build, SEED)
    return model, read_network(model, torch.zeros(1, *trial.shape), loss=trial.loss)


def _agreement(name: str, trial: TrialNetwork, method: str) -> Row:
    """Weights after many steps on all cores, without contraction, against the host and PyTorch."""
    rule = DEVICE_RULES[method]
    model, network = _read(trial)
    plan = plan_device(network, rule)
    source = emit(plan, name="net")
    x, y = trial_data(trial, network, STEPS * rule.batch, seed=SEED)
    expected, average = train_torch(model, network, rule, x, y, trained=plan.trained)
    with tempfile.TemporaryDirectory() as folder:
        host = compile_host(source, Path(folder))
        for sample, target in zip(x, y, strict=True):
            host.train_step(sample, target)
    bits = host.memory.tobytes()
    equal = {}
    for core, target in targets_at_hand().items():
        # What the harness takes beside the state, the arena and the stack is small, but not nothing.
        if plan.ram_bytes + 3 * KIB > target.ram_bytes:
            continue
        with tempfile.TemporaryDirectory() as folder:
            run = emulate(source, target, x, y, folder=Path(folder), contract=False)
        equal[core] = b"".join(value.tobytes() for value in run.state.values()) == bits
    return {
        "kind": "agreement",
        "network": name,
        "method": method,
        "steps": STEPS,
        "parameters": plan.parameters,
        "moved": distance(source.weights, expected),
        "error": distance(host.field("weights"), expected),
        "error_of_average": distance(host.average(), average),
        "equal_to_host": equal,
    }


def _updates() -> Iterator[tuple[str, Rule]]:
    yield from (
        ("SGD", Rule(averaging="none", batch=UPDATE_BATCH)),
        ("SGD, momentum", Rule(averaging="none", batch=UPDATE_BATCH, momentum=0.9)),
        ("SGD + PSWA", Rule(batch=UPDATE_BATCH, period=4)),
        ("SGD, momentum + PSWA", Rule(batch=UPDATE_BATCH, period=4, momentum=0.9)),
        ("SGD + PSWM", Rule(averaging="pswm", batch=UPDATE_BATCH, period=4)),
        ("SGD + PWALKS, last 3", Rule(averaging="pwalks", batch=UPDATE_BATCH, period=4, last=3)),
        ("Settle", Rule(averaging="settle", batch=UPDATE_BATCH)),
    )


def _update_cost(method: str, rule: Rule) -> Row:
    """Instructions of the update alone: the last call of a batch less the one before, on the same sample.

    It includes clearing the gradient for the next batch.
    """
    trial = NETWORKS["mlp"]
    plan = plan_device(_read(trial)[1], rule)
    x, y = trial_data(trial, plan.network, 64, seed=SEED)
    x, y = np.repeat(x, rule.batch, 0), np.repeat(y, rule.batch, 0)
    with tempfile.TemporaryDirectory() as folder:
        run = emulate(emit(plan, name="net"), TARGETS["m4f"], x, y, folder=Path(folder))
    calls = run.instructions.reshape(-1, rule.batch)
    each = (calls[:, -1] - calls[:, -2]) / plan.parameters
    return {
        "kind": "update",
        "method": method,
        "core": "m4f",
        "optimise": "-O2",
        "parameters": plan.parameters,
        "instructions_per_parameter": {
            "mean": float(each.mean()),
            "least": float(each.min()),
            "median": float(np.median(each)),
            "most": float(each.max()),
        },
    }


_Cost = tuple[str, TrialNetwork, Rule, Trainable, int | None, str, bool]


def _costs(*, quick: bool) -> Iterator[_Cost]:
    """(what, network, rule, trained part, RAM budget in KiB, core, whether it only infers)."""
    mlp = NETWORKS["mlp"]
    for core in targets_at_hand():
        yield "MLP 16-32-4", mlp, Rule(period=10, batch=8), "all", None, core, False
    yield "MLP 16-32-4", mlp, Rule(averaging="settle", batch=8), "all", None, "m4f", False
    yield "MLP 16-32-4", mlp, Rule(averaging="none"), "last", None, "m4f", True
    if quick:
        return
    rule, settle = Rule(period=4), Rule(averaging="settle")
    yield "keyword DS-CNN", KEYWORD, Rule(averaging="none"), "last", None, "m4f", True
    for budget in (None, 384, 256):
        yield "keyword DS-CNN", KEYWORD, rule, "all", budget, "m4f", False
    yield "keyword DS-CNN, last block", KEYWORD, rule, LAST_BLOCK, None, "m4f", False
    yield "keyword DS-CNN, last block", KEYWORD, rule, LAST_BLOCK, 64, "m4f", False
    yield "keyword DS-CNN, last layer", KEYWORD, rule, "last", None, "m4f", False
    yield "keyword DS-CNN", KEYWORD, settle, "all", 384, "m4f", False
    in_flash = Rule(averaging="settle", anchor="flash")
    yield "keyword DS-CNN, anchor in flash", KEYWORD, in_flash, "all", 256, "m4f", False


def _cost(
    what: str, trial: TrialNetwork, rule: Rule, part: Trainable, budget: int | None, core: str, infer: bool
) -> Row:
    plan = plan_device(_read(trial)[1], rule, trainable=part, ram_bytes=None if budget is None else budget * KIB)
    x, y = trial_data(trial, plan.network, 8 * max(rule.batch, 4), seed=SEED)
    with tempfile.TemporaryDirectory() as folder:
        run = emulate(emit(plan, name="net"), TARGETS[core], x, y, folder=Path(folder), optimise="-O3", infer=infer)
    steps = run.instructions if infer else run.instructions.reshape(-1, rule.batch).sum(1)
    return {
        "kind": "cost",
        "what": what,
        "does": "infer" if infer else f"train, {rule.averaging}, batch {rule.batch}",
        "core": core,
        "optimise": "-O3",
        "parameters": plan.parameters,
        "budget_bytes": None if budget is None else budget * KIB,
        "state_bytes": plan.state_bytes,
        "static_bytes": run.static_bytes,
        "stack_bytes": run.stack_bytes,
        "stack_bound_bytes": run.stack_bound_bytes,
        "outside_of_bound": run.outside,
        "ram_bytes": plan.state_bytes + run.static_bytes + run.stack_bytes,
        "flash_bytes": run.code_bytes,
        "instructions": {"mean": float(steps.mean()), "most": int(steps.max())},
        "instructions_per_parameter": float(steps.mean()) / plan.parameters,
    } | _estimate(core, float(steps.mean()))


def _int8_cost() -> Row:
    """Inference of the keyword network in int8."""
    network = _read(KEYWORD)[1]
    x, _ = trial_data(KEYWORD, network, 32, seed=SEED)
    source = emit_int8(quantize(network, x), name="net")
    with tempfile.TemporaryDirectory() as folder:
        run = emulate_int8(source, TARGETS["m4f"], x[:4], folder=Path(folder), optimise="-O3")
    return {
        "kind": "cost",
        "what": "keyword DS-CNN",
        "does": "infer in int8",
        "core": "m4f",
        "optimise": "-O3",
        "parameters": network.parameter_count,
        "budget_bytes": None,
        "state_bytes": 0,
        "static_bytes": run.static_bytes,
        "stack_bytes": run.stack_bytes,
        "stack_bound_bytes": run.stack_bound_bytes,
        "outside_of_bound": [],
        "ram_bytes": run.static_bytes + run.stack_bytes,
        "flash_bytes": run.code_bytes,
        "instructions": {"mean": float(run.instructions.mean()), "most": int(run.instructions.max())},
        "instructions_per_parameter": float(run.instructions.mean()) / network.parameter_count,
    } | _estimate("m4f", float(run.instructions.mean()))


def _estimate(core: str, instructions: float) -> Row:
    """Cycles and energy: instructions times an assumed ratio times a board's measured energy of a cycle."""
    target = TARGETS[core]
    cycles = [instructions * ratio for ratio in CYCLES_PER_INSTRUCTION]
    energy = None if target.nj_per_cycle is None else [c * target.nj_per_cycle * 1e-9 for c in cycles]
    return {"estimated_cycles": cycles, "estimated_energy_j": energy, "energy_of": target.board or None}


def memory_maps() -> Iterator[tuple[str, list[str]]]:
    """The memory map of every plan whose cost is measured."""
    for what, trial, rule, part, budget, core, infer in _costs(quick=False):
        if core == "m4f" and not infer:
            limit = None if budget is None else budget * KIB
            plan = plan_device(_read(trial)[1], rule, trainable=part, ram_bytes=limit)
            title = f"{what}, {rule.averaging}, batch {rule.batch}" + (f", within {budget} KiB" if budget else "")
            yield title, plan.memory_map()


def device_tables(rows: Sequence[Row]) -> Iterator[tuple[str, Sequence[str], list[list[str]]]]:
    """Title, heading and lines of readable tables."""
    agreement = [row for row in rows if row["kind"] == "agreement"]
    yield (
        f"C after {STEPS} steps against PyTorch: largest relative error of a tensor; bits without contraction",
        ("network", "method", "weights", "error", "of average", "same bits as the host"),
        [
            [
                row["network"],
                row["method"],
                str(row["parameters"]),
                f"{row['error']:.1e}",
                f"{row['error_of_average']:.1e}",
                ", ".join(f"{core} {'yes' if same else 'NO'}" for core, same in row["equal_to_host"].items()),
            ]
            for row in agreement
        ],
    )
    yield (
        "instructions of the update for each trained weight, Cortex-M4F, gcc -O2, clearing the gradient included",
        ("method", "mean", "least", "median", "most"),
        [
            [
                row["method"],
                *(f"{row['instructions_per_parameter'][k]:.2f}" for k in ("mean", "least", "median", "most")),
            ]
            for row in rows
            if row["kind"] == "update"
        ],
    )
    yield (
        "one step, gcc -O3 with picolibc; energy is an estimate: instructions x 1 to 1.5 cycles x a board's nJ a cycle",
        ("what", "does", "core", "budget", "RAM B", "stack B", "flash B", "instructions", "a weight", "energy uJ"),
        [
            [
                row["what"],
                row["does"],
                row["core"],
                "" if row["budget_bytes"] is None else f"{row['budget_bytes'] // KIB} KiB",
                str(row["ram_bytes"]),
                f"{row['stack_bytes']} ({row['stack_bound_bytes']})",
                str(row["flash_bytes"]),
                f"{row['instructions']['mean']:.0f}",
                f"{row['instructions_per_parameter']:.0f}",
                "-"
                if row["estimated_energy_j"] is None
                else " to ".join(f"{1e6 * e:.3g}" for e in row["estimated_energy_j"]),
            ]
            for row in rows
            if row["kind"] == "cost"
        ],
    )
