"""A training step and an inference as lists of operations on buffers, with the life of every buffer.

The backward pass writes the gradient of a layer's input over that input, so gradients take no memory of their own. An
activation that the backward pass needs is either kept from the forward pass or computed again, from the nearest one
that is kept, just before it is needed; what lies between is dropped again at once. Which ones are kept is the choice
of :mod:`lightsleeper.device.plan`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from lightsleeper.device.graph import Network
from lightsleeper.device.layers import Conv, Gru, Layer, Pool

__all__ = [
    "Buffer",
    "Operation",
    "Program",
    "inference_program",
    "integer_scratch",
    "needed_values",
    "place",
    "training_program",
]


@dataclass(eq=False)
class Buffer:
    """Part of the arena.

    Attributes:
        name: for the memory map.
        floats: its size.
        first, last: operations between which it holds something.
        offset: its place in the arena, in floats.
    """

    name: str
    floats: int
    first: int
    last: int
    offset: int = 0


@dataclass(eq=False)
class Operation:
    """One call of a kernel.

    Attributes:
        kind: ``"forward"``; ``"loss"``, which turns the output into the gradient of what the last layer's activation
            was applied to; or ``"backward"``.
        layer: index of the layer.
        x: the layer's input, None for the sample; in the backward pass the input's gradient comes to lie there.
        y: its output; in the backward pass the gradient of what its activation was applied to.
        scratch, kept: working memory, and what a recurrent layer keeps for the backward pass.
        again: whether it computes again what had been dropped.
    """

    kind: Literal["forward", "loss", "backward"]
    layer: int
    x: Buffer | None
    y: Buffer | None
    scratch: Buffer | None = None
    kept: Buffer | None = None
    again: bool = False


@dataclass(eq=False)
class Program:
    """Operations in order, and their buffers."""

    operations: list[Operation] = field(default_factory=list)
    buffers: list[Buffer] = field(default_factory=list)

    @property
    def arena(self) -> int:
        """Floats up to the end of the last buffer."""
        return max((b.offset + b.floats for b in self.buffers), default=0)

    def recomputed_macs(self, network: Network) -> int:
        """Multiply-accumulates of what is computed again."""
        return sum(network.layers[op.layer].macs for op in self.operations if op.again)


def needed_values(network: Network, trained: Iterable[tuple[int, str]]) -> list[int]:
    """Layers whose input must be there in the backward pass, and is not the sample itself."""
    places = set(trained)
    first = min(i for i, _ in places)
    return [i for i in range(max(first, 1), len(network.layers)) if _needs_input(network, i, places, first)]


def _needs_input(network: Network, index: int, trained: set[tuple[int, str]], first: int) -> bool:
    layer = network.layers[index]
    if any((index, name) in trained for name in layer.parameters if "weight" in name):
        return True
    before = network.layers[index - 1].activation
    return index > first and (before != "none" or (isinstance(layer, Pool) and layer.mode == "max"))


class _Builder:
    """Adds operations and lengthens the lives of buffers."""

    def __init__(self, network: Network, *, packing: int = 1) -> None:
        self.network = network
        self.packing = packing
        self.program = Program()

    def buffer(self, name: str, floats: int) -> Buffer:
        now = len(self.program.operations)
        made = Buffer(name, floats, now, now)
        self.program.buffers.append(made)
        return made

    def words(self, numbers: int) -> int:
        return -(-numbers // self.packing)

    def scratch(self, name: str, floats: int) -> Buffer | None:
        return self.buffer(f"work of {name}", floats) if floats else None

    def add(self, operation: Operation) -> None:
        now = len(self.program.operations)
        for used in (operation.x, operation.y, operation.scratch, operation.kept):
            if used is not None:
                used.last = now
        self.program.operations.append(operation)

    def forward(
        self, index: int, x: Buffer | None, *, keep_input: bool, again: bool = False, keep_states: bool = False
    ) -> tuple[Buffer, Buffer | None]:
        """Add a layer's forward pass; return its output and what a recurrent layer keeps."""
        layer = self.network.layers[index]
        if x is not None and layer.in_place and not keep_input:
            y = x
            y.floats = max(y.floats, self.words(layer.stored))
        else:
            y = self.buffer(f"output of {layer.name}", self.words(layer.stored))
        kept = self.buffer(f"states of {layer.name}", layer.kept) if keep_states and layer.kept else None
        in_kept = kept is not None and isinstance(layer, Gru)
        work = layer.forward_scratch if self.packing == 1 else integer_scratch(layer)
        scratch = None if in_kept else self.scratch(layer.name, work)
        self.add(Operation("forward", index, x, y, scratch, kept, again))
        return y, kept


def integer_scratch(layer: Layer) -> int:
    """Words of working memory of a forward pass in int8: the channels of a place in bytes, or a plane of sums."""
    if not isinstance(layer, Conv):
        return 0
    return -(-layer.input_shape[0] // 4) if layer.pointwise else layer.out_plane


def inference_program(network: Network, *, packing: int = 1) -> Program:
    """Forward pass in as little memory as the layers allow.

    Args:
        network: what runs.
        packing: activations in four bytes. Over 1, the sample is stored in the arena too.
    """
    builder = _Builder(network, packing=packing)
    value = builder.buffer("sample", builder.words(network.inputs)) if packing > 1 else None
    for index in range(len(network.layers)):
        value, _ = builder.forward(index, value, keep_input=False)
    place(builder.program)
    return builder.program


def training_program(network: Network, trained: Iterable[tuple[int, str]], *, keep: Iterable[int]) -> Program:
    """Forward pass, loss and backward pass of one sample.

    Args:
        network: what is trained.
        trained: places of the trained parameters.
        keep: of :func:`needed_values`, the layers whose input is kept from the forward pass.
    """
    builder = _Builder(network)
    places = set(trained)
    needed = set(needed_values(network, places))
    kept_inputs = needed & set(keep)
    first = min(i for i, _ in places)
    live: dict[int, Buffer] = {}
    states: dict[int, Buffer | None] = {}
    value: Buffer | None = None
    for index in range(len(network.layers)):
        keep_input = index in kept_inputs
        if keep_input and value is not None:
            live[index] = value
        value, states[index] = builder.forward(index, value, keep_input=keep_input, keep_states=index >= first)
    assert value is not None
    gradient = value
    builder.add(Operation("loss", len(network.layers) - 1, None, gradient))
    for index in range(len(network.layers) - 1, first - 1, -1):
        layer = network.layers[index]
        if index in needed and index not in live:
            live[index] = _again(builder, index, live)
        x = live.pop(index, None)
        if index > first and x is None:
            x = builder.buffer(f"gradient before {layer.name}", layer.inputs)
        scratch = builder.scratch(layer.name, layer.backward_scratch(passes_on=index > first))
        builder.add(Operation("backward", index, x, gradient, scratch, states[index]))
        if index > first:
            assert x is not None
            gradient = x
    place(builder.program)
    return builder.program


def _again(builder: _Builder, index: int, live: dict[int, Buffer]) -> Buffer:
    """Compute a layer's input again from the nearest one that is live, or from the sample."""
    start = max((i for i in live if i < index), default=0)
    value = live.get(start)
    for j in range(start, index):
        value, _ = builder.forward(j, value, keep_input=j == start and value is not None, again=True)
    assert value is not None
    return value


def place(program: Program) -> None:
    """Give each buffer a place: largest first, at the lowest offset where no living buffer is met."""
    placed: list[Buffer] = []
    for buffer in sorted(program.buffers, key=lambda b: (-b.floats, b.first)):
        others = sorted(
            (o for o in placed if o.first <= buffer.last and buffer.first <= o.last), key=lambda o: o.offset
        )
        offset = 0
        for other in others:
            if other.offset - offset >= buffer.floats:
                break
            offset = max(offset, other.offset + other.floats)
        buffer.offset = offset
        placed.append(buffer)
