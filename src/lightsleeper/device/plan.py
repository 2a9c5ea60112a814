"""Find a way to train in the memory of a device, or say by how much it misses and what to drop."""

import dataclasses
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from lightsleeper.device.fuse import fused
from lightsleeper.device.graph import Network, Trainable
from lightsleeper.device.program import Program, inference_program, needed_values, training_program
from lightsleeper.device.rule import Rule
from lightsleeper.device.state import FIELD_BYTES, Field, state_fields
from lightsleeper.errors import InputError

__all__ = ["Plan", "device_plans", "plan_device"]

STACK_BYTES = 512
"""Kept free for the stack in a budget; measured ones are below (docs/device.md)."""
CODE_BYTES = 16 * 1024
"""Kept free for code in a flash budget; measured ones are below (docs/device.md)."""
EXHAUSTIVE = 12
"""Activations up to which all choices of what to keep are tried."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Plan:
    """How a network is trained in how much memory.

    Attributes:
        network, rule: what is trained, and how.
        trained: places (layer, parameter name) of what is trained.
        accumulate: whether the gradient is kept whole. Without, every layer is updated as soon as its gradient is
            known; Settle, which needs the length of the whole gradient first, then makes the backward pass twice.
        training, inference: operations and buffers, which share the arena.
    """

    network: Network
    rule: Rule
    trained: frozenset[tuple[int, str]]
    accumulate: bool
    training: Program
    inference: Program

    @property
    def parameters(self) -> int:
        """Trained weights."""
        return sum(int(self.network.layers[i].parameters[name].size) for i, name in self.trained)

    @property
    def frozen(self) -> int:
        """Weights that stay constant."""
        return self.network.parameter_count - self.parameters

    @property
    def packed(self) -> bool:
        """Whether activations before the first trained layer are kept in 16 bits."""
        return any(layer.packed for layer in self.network.layers)

    @property
    def arena_bytes(self) -> int:
        """Working memory."""
        return FIELD_BYTES * max(self.training.arena, self.inference.arena, 1)

    def fields(self, name: str) -> tuple[Field, ...]:
        """Members of the state."""
        return state_fields(self.rule, name=name, parameters=self.parameters, accumulate=self.accumulate)

    @property
    def state_bytes(self) -> int:
        """Size of the state."""
        return sum(field.nbytes for field in self.fields("n"))

    @property
    def ram_bytes(self) -> int:
        """State, arena and what is kept free for the stack."""
        return self.state_bytes + self.arena_bytes + STACK_BYTES

    @property
    def flash_bytes(self) -> int:
        """Constants, and what is kept free for code."""
        return FIELD_BYTES * self.network.parameter_count + CODE_BYTES

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the forward passes of a training step, with what is computed again."""
        once = sum(layer.macs for layer in self.network.layers) + self.training.recomputed_macs(self.network)
        return once if self.accumulate or self.rule.averaging != "settle" else 2 * once

    def memory_map(self) -> list[str]:
        """Readable lines: the state field by field, and the arena buffer by buffer."""
        lines = [f"state: {self.state_bytes} bytes"]
        counters = sum(f.nbytes for f in self.fields("n") if not f.array)
        lines.append(f"  {counters:8d} B  counters")
        lines += [f"  {f.nbytes:8d} B  {f.name}: {f.meaning}" for f in self.fields("n") if f.array]
        lines.append(f"arena: {self.arena_bytes} bytes, shared by what is listed with the calls between which it lives")
        for title, program in (("training", self.training), ("inference", self.inference)):
            lines.append(f"  {title}, {FIELD_BYTES * program.arena} bytes:")
            lines += [
                f"  {FIELD_BYTES * b.offset:8d} .. {FIELD_BYTES * (b.offset + b.floats):8d}  "
                f"calls {b.first} to {b.last}: {b.name}"
                for b in sorted(program.buffers, key=lambda b: (b.first, b.offset))
            ]
        if self.packed:
            lines.append("activations before the first trained layer are kept in 16 bits (bfloat16)")
        again = self.training.recomputed_macs(self.network)
        if again:
            names = ", ".join(self.network.layers[op.layer].name for op in self.training.operations if op.again)
            lines.append(f"computed again to save memory: {names} ({again} multiply-accumulates)")
        lines.append(f"flash: {FIELD_BYTES * self.network.parameter_count} bytes of constants, and the code")
        return lines


def plan_device(
    network: Network,
    rule: Rule,
    *,
    trainable: Trainable = "all",
    ram_bytes: int | None = None,
    flash_bytes: int | None = None,
) -> Plan:
    """The plan that computes least among those that fit.

    Activations are rounded to 16 bits only where nothing else fits.

    Args:
        network: what runs on the device.
        rule: how it is trained.
        trainable: see `Network.trained`.
        ram_bytes: budget for state, arena and 512 bytes of stack; None for no limit.
        flash_bytes: budget for constants and 16 KiB of code; None for no limit.

    Raises:
        InputError: no plan fits. The message says by how much the smallest one misses, and what would fit.
    """
    made = list(device_plans(network, rule, trainable))
    if ram_bytes is not None:
        smallest = min(plan.ram_bytes for plan in made)
        if smallest > ram_bytes:
            made += device_plans(network, rule, trainable, packed=True)
            smallest = min(plan.ram_bytes for plan in made)
        made = [plan for plan in made if plan.ram_bytes <= ram_bytes]
        if not made:
            raise InputError(
                f"training does not fit {ram_bytes} bytes of RAM: the smallest plan takes {smallest}, "
                f"{smallest - ram_bytes} too many. {_advice(network, rule, trainable, ram_bytes)}"
            )
    best = min(made, key=lambda plan: (plan.macs, plan.ram_bytes))
    if flash_bytes is not None and best.flash_bytes > flash_bytes:
        raise InputError(
            f"the network does not fit {flash_bytes} bytes of flash: its weights and code take {best.flash_bytes}, "
            f"{best.flash_bytes - flash_bytes} too many. Take fewer channels or layers"
        )
    return best


def device_plans(network: Network, rule: Rule, trainable: Trainable = "all", *, packed: bool = False) -> Iterator[Plan]:
    """Every plan that is considered; with `packed`, those with activations in 16 bits, if the network allows any."""
    trained = network.trained(trainable)
    if packed:
        smaller = fused(network, trained)
        if smaller is None:
            return
        network, trained = smaller
    inference = inference_program(network)
    needed = needed_values(network, trained)
    for keep in _choices(network, needed):
        training = training_program(network, trained, keep=keep)
        for accumulate in (True,) if rule.batch > 1 else (False, True) if rule.averaging == "settle" else (False,):
            yield Plan(
                network=network,
                rule=rule,
                trained=trained,
                accumulate=accumulate,
                training=training,
                inference=inference,
            )


def _choices(network: Network, needed: list[int]) -> Iterator[tuple[int, ...]]:
    """What to keep: all subsets, or of many layers those that leave out the largest activations first."""
    if len(needed) <= EXHAUSTIVE:
        for count in range(len(needed), -1, -1):
            yield from itertools.combinations(needed, count)
        return
    by_size = sorted(needed, key=lambda i: network.layers[i].inputs)
    for count in range(len(needed), -1, -1):
        yield tuple(by_size[:count])


def _advice(network: Network, rule: Rule, trainable: Trainable, ram_bytes: int) -> str:
    """What to drop, with the RAM that is then taken: the first and the last offer that fit, or the least."""
    offers: list[tuple[str, Rule, Trainable]] = []
    if rule.batch > 1:
        offers.append(("batch=1", dataclasses.replace(rule, batch=1), trainable))
    if rule.momentum:
        offers.append(("no momentum", dataclasses.replace(rule, momentum=0.0), trainable))
    if rule.averaging in ("pwalks", "settle"):
        offers.append(("averaging by PSWA", dataclasses.replace(rule, averaging="pswa", anchor="memory"), trainable))
    if rule.averaging == "settle" and rule.anchor == "memory":
        offers.append(('anchor="flash"', dataclasses.replace(rule, anchor="flash"), trainable))
    names = [layer.name for layer in network.layers if layer.parameters]
    if trainable == "all":
        offers += [
            (f"training {', '.join(names[k:])} only", dataclasses.replace(rule, batch=1), names[k:])
            for k in range(1, len(names))
        ]
    takes = [(_least(network, r, t), text) for text, r, t in offers]
    fitting = [f"{text} takes {size}" for size, text in takes if size <= ram_bytes]
    if fitting:
        return f"What fits: {fitting[0]}" + (f", {fitting[-1]}" if len(fitting) > 1 else "")
    if takes:
        size, text = min(takes)
        return f"Least takes {text}, with {size}; take fewer channels or layers"
    return "Take fewer channels or layers"


def _least(network: Network, rule: Rule, trainable: Trainable) -> int:
    plans = itertools.chain.from_iterable(device_plans(network, rule, trainable, packed=p) for p in (False, True))
    return min(plan.ram_bytes for plan in plans)
