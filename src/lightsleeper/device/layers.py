"""Layers of a network as the C code knows them: shapes without the batch, parameters as arrays, activation fused."""

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Activation", "Array", "Block", "Conv", "Gru", "Layer", "Linear", "Loss", "Pool"]

Activation = Literal["none", "relu", "tanh", "sigmoid"]
Loss = Literal["cross_entropy", "mse", "binary_cross_entropy"]
Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False, kw_only=True)
class Layer:
    """One step of a chain: ``y = activation(f(x))``.

    Attributes:
        name: of the PyTorch module.
        input_shape, output_shape: without the batch; pictures are (channels, height, width), a 1-D one of height 1;
            sequences are (time, features).
        parameters: arrays by their PyTorch name, float32.
        activation: applied to the output. Its derivative is a function of the output alone, for each that is known.
        packed: whether the output is kept in 16 bits, as bfloat16.
    """

    name: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    parameters: dict[str, Array] = field(default_factory=dict)
    activation: Activation = "none"
    packed: bool = False

    @property
    def inputs(self) -> int:
        """Numbers that it reads."""
        return math.prod(self.input_shape)

    @property
    def outputs(self) -> int:
        """Numbers that it writes."""
        return math.prod(self.output_shape)

    @property
    def stored(self) -> int:
        """Floats of memory that the output takes."""
        return (self.outputs + 1) // 2 if self.packed else self.outputs

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the forward pass."""
        return 0

    @property
    def in_place(self) -> bool:
        """Whether the output may take the memory of the input."""
        return False

    @property
    def forward_scratch(self) -> int:
        """Floats of working memory in the forward pass."""
        return 0

    def backward_scratch(self, *, passes_on: bool) -> int:  # noqa: ARG002
        """Floats of working memory in the backward pass.

        Args:
            passes_on: whether it makes the gradient of the input, which it writes over the input.
        """
        return 0

    @property
    def kept(self) -> int:
        """Floats that the forward pass keeps for the backward pass, beside input and output."""
        return 0


@dataclass(frozen=True, eq=False, kw_only=True)
class Linear(Layer):
    """``y = W x + b`` with weight (outputs, inputs)."""

    @property
    def macs(self) -> int:
        """One a weight."""
        return self.inputs * self.outputs

    def backward_scratch(self, *, passes_on: bool) -> int:
        """The gradient of the input, as weights are read row by row."""
        return self.inputs if passes_on else 0


@dataclass(frozen=True, eq=False, kw_only=True)
class Conv(Layer):
    """Convolution with weight (channels out, channels in a group, height, width).

    Attributes:
        stride, padding: (height, width).
        groups: 1, or up to the number of input channels (depthwise).
    """

    stride: tuple[int, int]
    padding: tuple[int, int]
    groups: int

    @property
    def kernel(self) -> tuple[int, int]:
        """(height, width)."""
        height, width = self.parameters["weight"].shape[2:]
        return height, width

    @property
    def pointwise(self) -> bool:
        """Whether each place of the output depends on the same place of the input alone, and on all channels."""
        return self.kernel == (1, 1) and self.stride == (1, 1) and self.padding == (0, 0) and self.groups == 1

    @property
    def depthwise(self) -> bool:
        """Whether channel k of the output depends on channel k of the input alone."""
        return self.groups == self.input_shape[0] == self.output_shape[0]

    @property
    def in_plane(self) -> int:
        """Numbers in a channel of the input."""
        return self.input_shape[1] * self.input_shape[2]

    @property
    def out_plane(self) -> int:
        """Numbers in a channel of the output."""
        return self.output_shape[1] * self.output_shape[2]

    @property
    def macs(self) -> int:
        """One a weight and place, those on the padding counted too."""
        return int(self.parameters["weight"].size) * self.out_plane

    @property
    def in_place(self) -> bool:
        """Place by place, or channel by channel where planes do not grow."""
        return self.pointwise or (self.depthwise and self.out_plane <= self.in_plane)

    @property
    def forward_scratch(self) -> int:
        """The channels of one place, or one plane."""
        if self.pointwise:
            return self.input_shape[0]
        return self.out_plane if self.depthwise or self.packed else 0

    def backward_scratch(self, *, passes_on: bool) -> int:
        """The gradient of one input plane, and of one kernel."""
        return self.in_plane * passes_on + (0 if self.pointwise else self.kernel[0] * self.kernel[1])


@dataclass(frozen=True, eq=False, kw_only=True)
class Pool(Layer):
    """Mean or maximum over windows; a window never reaches over the edge."""

    mode: Literal["mean", "max"]
    window: tuple[int, int]
    stride: tuple[int, int]

    @property
    def macs(self) -> int:
        """One a number read."""
        return self.outputs * self.window[0] * self.window[1]

    @property
    def in_place(self) -> bool:
        """An output is never stored behind the inputs of its window, which come in the same order."""
        return True

    def backward_scratch(self, *, passes_on: bool) -> int:
        """The gradient of one input plane."""
        return self.input_shape[1] * self.input_shape[2] * passes_on


@dataclass(frozen=True, eq=False, kw_only=True)
class Gru(Layer):
    """Gated recurrent unit as `torch.nn.GRU` has it, from a state of zeros.

    Attributes:
        hidden: size of the state.
        sequence: True where every state is given on (time, hidden), False where the last one is (hidden,).
    """

    hidden: int
    sequence: bool

    @property
    def macs(self) -> int:
        """Three gates a time step, each of the input and of the state."""
        time, features = self.input_shape
        return 3 * time * self.hidden * (features + self.hidden)

    @property
    def kept(self) -> int:
        """Three gates, the state's part of the last and the state, a time step."""
        return 5 * self.input_shape[0] * self.hidden

    @property
    def forward_scratch(self) -> int:
        """One time step's, where nothing is kept."""
        return 5 * self.hidden

    def backward_scratch(self, *, passes_on: bool) -> int:
        """Gradients of the input, of the state twice, and of one row of weights."""
        return self.inputs * passes_on + 2 * self.hidden + max(self.input_shape[1], self.hidden)


@dataclass(frozen=True, eq=False, kw_only=True)
class Block(Layer):
    """A depthwise and a pointwise convolution, both with ReLU, and the mean over the whole picture, in one.

    Neither picture between them is ever in memory: the forward pass goes place by place and keeps one bit of each
    output, whether it is above zero; the backward pass goes channel by channel. It passes no gradient on, so it may
    only be the first layer that is trained.
    """

    depthwise: Conv
    pointwise: Conv

    @property
    def macs(self) -> int:
        """Those of both convolutions."""
        return self.depthwise.macs + self.pointwise.macs

    @property
    def forward_scratch(self) -> int:
        """The channels of one place."""
        return self.depthwise.output_shape[0]

    @property
    def kept(self) -> int:
        """One bit a number of the last picture."""
        return -(-self.pointwise.outputs // 32)

    def backward_scratch(self, *, passes_on: bool) -> int:
        """One plane, its gradient, and that of one kernel."""
        assert not passes_on
        return 2 * self.depthwise.out_plane + self.depthwise.kernel[0] * self.depthwise.kernel[1]
