"""Read a PyTorch network as a chain of layers that the C code knows."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from torch.nn import functional

from lightsleeper.device.layers import Activation, Array, Conv, Gru, Layer, Linear, Loss, Pool
from lightsleeper.errors import InputError

__all__ = ["Network", "Trainable", "read_network"]

Trainable = Literal["all", "last", "biases"] | Sequence[str]
"""What is trained: everything, the last layer with weights, all biases, or the layers of these names."""

_KNOWN = (
    "Linear, Conv1d, Conv2d, GRU, ReLU, Tanh, Sigmoid, average and max pooling, Flatten, and BatchNorm behind a linear "
    "layer or convolution"
)
_LOSSES = ("cross_entropy", "mse", "binary_cross_entropy")
_ACTIVATION_MODULES: dict[type[nn.Module], Activation] = {nn.ReLU: "relu", nn.Tanh: "tanh", nn.Sigmoid: "sigmoid"}
_ACTIVATION_FUNCTIONS: dict[Any, Activation] = {
    torch.relu: "relu",
    functional.relu: "relu",
    torch.tanh: "tanh",
    functional.tanh: "tanh",
    torch.sigmoid: "sigmoid",
    functional.sigmoid: "sigmoid",
    "relu": "relu",
    "tanh": "tanh",
    "sigmoid": "sigmoid",
}
_MENDS: dict[type[nn.Module], str] = {
    nn.Dropout: "put nn.Identity in its place; weight averaging regularises as well",
    nn.LSTM: "use nn.GRU",
    nn.RNN: "use nn.GRU",
    nn.GELU: "use nn.ReLU",
    nn.SiLU: "use nn.ReLU",
    nn.Hardswish: "use nn.ReLU",
    nn.ReLU6: "use nn.ReLU",
    nn.LayerNorm: "use nn.BatchNorm1d, which is folded into the layer before it",
    nn.GroupNorm: "use nn.BatchNorm2d, which is folded into the layer before it",
    nn.Softmax: "leave it out; the loss cross_entropy has it",
    nn.LogSoftmax: "leave it out; the loss cross_entropy has it",
    nn.Conv3d: "use nn.Conv2d",
    nn.Embedding: "use nn.Linear on one-hot inputs",
}


@dataclass(frozen=True, eq=False, kw_only=True)
class Network:
    """A chain of layers and its loss.

    Attributes:
        layers: from the input to the output; at least one of them has weights.
        loss: ``"cross_entropy"`` (softmax; the target is a class), ``"binary_cross_entropy"`` (one logit; the target is
            0 or 1) or ``"mse"`` (mean over the outputs of squared errors).
    """

    layers: tuple[Layer, ...]
    loss: Loss

    @property
    def inputs(self) -> int:
        """Numbers in a sample."""
        return self.layers[0].inputs

    @property
    def outputs(self) -> int:
        """Numbers in the output."""
        return self.layers[-1].outputs

    @property
    def parameter_count(self) -> int:
        """Numbers in all parameters."""
        return sum(int(p.size) for layer in self.layers for p in layer.parameters.values())

    def trained(self, trainable: Trainable) -> frozenset[tuple[int, str]]:
        """Places (layer, parameter name) of what `trainable` names; raises `InputError` where it names nothing."""
        weighted = [i for i, layer in enumerate(self.layers) if layer.parameters]
        if trainable == "all":
            chosen = weighted
        elif trainable == "last":
            chosen = weighted[-1:]
        elif trainable == "biases":
            biases = frozenset((i, n) for i in weighted for n in self.layers[i].parameters if n.startswith("bias"))
            if not biases:
                raise InputError('trainable is "biases" but no layer has one: give "last" or names of layers')
            return biases
        else:
            chosen = self._named([trainable] if isinstance(trainable, str) else trainable, weighted)
        return frozenset((i, name) for i in chosen for name in self.layers[i].parameters)

    def _named(self, names: Sequence[str], weighted: Sequence[int]) -> list[int]:
        places = {self.layers[i].name: i for i in weighted}
        for name in names:
            if name not in places:
                raise InputError(f"no layer with weights is named {name!r}: choose from {', '.join(places)}")
        if not names:
            raise InputError('trainable names no layer: give "all", "last", "biases" or names of layers')
        return [places[name] for name in names]


def read_network(model: nn.Module, example: Tensor, *, loss: Loss) -> Network:
    """Read a module as a chain of layers.

    BatchNorm is folded with its running statistics: on the device the folded weights are trained.

    Args:
        model: called with a batch; layers follow one another without branches.
        example: a batch of one sample, float32, for its shape.
        loss: see `Network`.

    Raises:
        InputError: a layer, an option of it, or the loss is not known, or the network branches.
    """
    if loss not in _LOSSES:
        raise InputError(f"loss is {loss!r}: give {', '.join(_LOSSES)}")
    if example.ndim < 2 or example.shape[0] != 1 or example.dtype != torch.float32:
        raise InputError(
            f"the example is shaped {tuple(example.shape)} of {example.dtype}: give one sample as a batch, (1, ...), "
            "float32"
        )
    try:
        traced = fx.symbolic_trace(model)
        traced.graph.eliminate_dead_code()
    except Exception as error:
        raise InputError(
            f"the network cannot be traced ({' '.join(str(error).split())[:120]}): its forward may hold no branches on "
            "values"
        ) from error
    was_training = traced.training
    traced.eval()
    try:
        with torch.no_grad():
            ShapeProp(traced).propagate(example)
    except Exception as error:
        shown = " ".join(str(error.__cause__ or error).split())[:160]
        raise InputError(f"the network does not take an example shaped {tuple(example.shape)}: {shown}") from error
    finally:
        traced.train(was_training)
    reader = _Reader(traced)
    for node in traced.graph.nodes:
        reader.read(node)
    return _checked(reader.layers, loss)


def _checked(layers: list[Layer], loss: Loss) -> Network:
    if not any(layer.parameters for layer in layers):
        raise InputError("the network has no layer with weights: there is nothing to train")
    network = Network(layers=tuple(layers), loss=loss)
    if loss == "binary_cross_entropy" and network.outputs != 1:
        raise InputError(f"binary_cross_entropy needs one output, the network has {network.outputs}: use cross_entropy")
    if loss == "cross_entropy" and network.outputs < 2:
        raise InputError("cross_entropy needs two outputs or more: use binary_cross_entropy")
    if loss != "mse" and layers[-1].activation != "none":
        raise InputError(f"{loss} takes logits: leave out the {layers[-1].activation} at the end of the network")
    for layer in layers:
        for name, values in layer.parameters.items():
            if not np.isfinite(values).all():
                raise InputError(f"layer {layer.name}: its {name} holds NaN or infinity")
    return network


class _Reader:
    """Walks the nodes of a traced module."""

    def __init__(self, traced: fx.GraphModule) -> None:
        self._modules = dict(traced.named_modules())
        self.layers: list[Layer] = []
        self._shape: tuple[int, ...] = ()

    def read(self, node: fx.Node) -> None:
        """Take one node."""
        if node.op == "output":
            if not isinstance(node.args[0], fx.Node):
                raise InputError("the network has more than one output: give one that returns a single tensor")
            return
        if len(node.users) != 1 and node.op != "placeholder":
            raise InputError(f"the network branches at {node.name}: only chains of layers are known")
        if node.op == "placeholder":
            if self._shape:
                raise InputError("the network has more than one input: give one that takes a single tensor")
            self._shape = _shape(node)
        elif node.op == "call_module":
            self._module(str(node.target), self._modules[str(node.target)], node)
        elif node.op in ("call_function", "call_method"):
            self._function(node)
        else:
            raise InputError(f"{node.name}: a bare parameter is not known; known are {_KNOWN}")

    def _module(self, name: str, module: nn.Module, node: fx.Node) -> None:
        if type(module) in _ACTIVATION_MODULES:
            self._activate(_ACTIVATION_MODULES[type(module)], name)
        elif isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            self._fold(name, module)
        elif isinstance(module, nn.GRU):
            self._gru(name, module, node)
        elif not isinstance(module, (nn.Flatten, nn.Identity)):
            read = next((r for kind, r in _READERS.items() if isinstance(module, kind)), None)
            if read is None:
                mend = _MENDS.get(type(module), f"known are {_KNOWN}")
                raise InputError(f"layer {name}: {type(module).__name__} is not known; {mend}")
            self._add(read(name, module, self._shape, _shape(node)))
        elif isinstance(module, nn.Flatten) and (module.start_dim, module.end_dim) != (1, -1):
            raise InputError(f"layer {name}: flattens from {module.start_dim} to {module.end_dim}; use nn.Flatten()")
        if not isinstance(module, nn.GRU):
            self._shape = _shape(node)

    def _add(self, layer: Layer) -> None:
        if any(layer.name == other.name for other in self.layers):
            raise InputError(f"layer {layer.name}: is used twice; shared weights are not known, give each use its own")
        self.layers.append(layer)

    def _function(self, node: fx.Node) -> None:
        if node.target in _ACTIVATION_FUNCTIONS:
            self._activate(_ACTIVATION_FUNCTIONS[node.target], node.name)
        elif node.target in (torch.flatten, "flatten"):
            if math.prod(_shape(node)) != _shape(node)[-1]:
                raise InputError(f"{node.name}: flatten everything but the batch, flatten(x, 1)")
        elif getattr(node.target, "__name__", "") == "getitem":
            self._take(node)
            return
        else:
            name = getattr(node.target, "__name__", str(node.target))
            raise InputError(f"{node.name}: the function {name} is not known; known are layers {_KNOWN}")
        self._shape = _shape(node)

    def _activate(self, kind: Activation, name: str) -> None:
        if not self.layers:
            raise InputError(f"{name}: an activation stands before the first layer; apply it to the samples instead")
        if self.layers[-1].activation != "none":
            raise InputError(f"{name}: two activations follow one another; leave one out")
        self.layers[-1] = dataclasses.replace(self.layers[-1], activation=kind)

    def _fold(self, name: str, norm: nn.BatchNorm1d | nn.BatchNorm2d) -> None:
        before = self.layers[-1] if self.layers else None
        if not isinstance(before, (Linear, Conv)) or before.activation != "none":
            raise InputError(f"layer {name}: BatchNorm is known directly behind a linear layer or convolution only")
        if norm.running_mean is None or norm.running_var is None:
            raise InputError(f"layer {name}: BatchNorm without running statistics cannot be folded; keep them")
        mean, variance = _array(norm.running_mean), _array(norm.running_var)
        gamma = np.ones_like(mean) if norm.weight is None else _array(norm.weight)
        beta = np.zeros_like(mean) if norm.bias is None else _array(norm.bias)
        gain = (gamma / np.sqrt(variance.astype(np.float64) + norm.eps)).astype(np.float32)
        weight = before.parameters["weight"]
        bias = before.parameters.get("bias", np.zeros_like(mean))
        folded = {
            "weight": weight * gain.reshape(-1, *[1] * (weight.ndim - 1)),
            "bias": (bias - mean) * gain + beta,
        }
        self.layers[-1] = dataclasses.replace(before, parameters=folded)

    def _gru(self, name: str, module: nn.GRU, node: fx.Node) -> None:
        if module.num_layers != 1 or module.bidirectional or not module.batch_first or not module.bias:
            raise InputError(f"layer {name}: use nn.GRU(..., batch_first=True), one layer, one direction, with biases")
        if len(node.args) != 1 or node.kwargs:
            raise InputError(f"layer {name}: a state is given to it; on the device a GRU starts from zeros")
        time, features = self._shape
        parameters = {key.removesuffix("_l0"): _array(value) for key, value in module.named_parameters()}
        self._add(
            Gru(
                name=name,
                input_shape=(time, features),
                output_shape=(time, module.hidden_size),
                parameters=parameters,
                hidden=module.hidden_size,
                sequence=True,
            )
        )

    def _take(self, node: fx.Node) -> None:
        """``gru(x)[0]``, ``gru(x)[0][:, -1]``, ``gru(x)[1]``, ``gru(x)[1][0]``."""
        before, index = node.args
        gru = self.layers[-1] if self.layers else None
        if not isinstance(gru, Gru) or gru.activation != "none":
            raise InputError(f"{node.name}: indexing is known directly behind a GRU only")
        last = (slice(None, None, None), -1)
        assert isinstance(before, fx.Node)
        of_gru = before.op == "call_module"
        if of_gru and index == 0:
            self._shape = gru.output_shape
            return
        of_states = not of_gru and before.args[1] == 1
        if not ((of_gru and index == 1) or (of_states and index in (0, -1)) or index in (last, (*last, last[0]))):
            raise InputError(f"{node.name}: take a GRU's whole output, or its last time step: out[:, -1]")
        self.layers[-1] = dataclasses.replace(gru, output_shape=(gru.hidden,), sequence=False)
        self._shape = (gru.hidden,)


def _shape(node: fx.Node) -> tuple[int, ...]:
    """Shape of a node's tensor without the batch; nothing for a tuple of tensors."""
    meta = node.meta.get("tensor_meta")
    shape = getattr(meta, "shape", None)
    return () if shape is None else tuple(shape[1:])


def _array(tensor: Tensor) -> Array:
    return np.ascontiguousarray(tensor.detach().cpu().to(torch.float32).numpy())


def _picture(shape: tuple[int, ...], name: str) -> tuple[int, int, int]:
    if len(shape) == 2:
        return shape[0], 1, shape[1]
    if len(shape) == 3:
        return shape[0], shape[1], shape[2]
    raise InputError(f"layer {name}: its input is shaped {shape}; give (channels, length) or (channels, height, width)")


def _pair(value: Any, dimensions: int, fill: int) -> tuple[int, int]:
    """(height, width) of an option that torch keeps as a number or a tuple."""
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,) * dimensions
    return (fill, int(values[0])) if len(values) == 1 else (int(values[0]), int(values[1]))


def _linear(name: str, module: nn.Linear, given: tuple[int, ...], made: tuple[int, ...]) -> Layer:
    if len(given) != 1:
        raise InputError(f"layer {name}: its input is shaped {given}; put nn.Flatten() before it")
    parameters = {key: _array(value) for key, value in module.named_parameters()}
    return Linear(name=name, input_shape=given, output_shape=made, parameters=parameters)


def _conv(name: str, module: nn.Conv1d | nn.Conv2d, given: tuple[int, ...], made: tuple[int, ...]) -> Layer:
    dimensions = 1 if isinstance(module, nn.Conv1d) else 2
    if _pair(module.dilation, dimensions, 1) != (1, 1):
        raise InputError(f"layer {name}: dilation is not known; use a stride or a larger kernel")
    if module.padding_mode != "zeros":
        raise InputError(f"layer {name}: padding by {module.padding_mode} is not known; pad with zeros")
    if isinstance(module.padding, str):
        raise InputError(f"layer {name}: padding {module.padding!r} is not known; give numbers")
    weight = _array(module.weight)
    if dimensions == 1:
        weight = weight[:, :, None, :]
    parameters = {"weight": weight} | ({} if module.bias is None else {"bias": _array(module.bias)})
    return Conv(
        name=name,
        input_shape=_picture(given, name),
        output_shape=_picture(made, name),
        parameters=parameters,
        stride=_pair(module.stride, dimensions, 1),
        padding=_pair(module.padding, dimensions, 0),
        groups=module.groups,
    )


def _pool(name: str, module: Any, given: tuple[int, ...], made: tuple[int, ...]) -> Layer:
    dimensions = len(given) - 1
    if getattr(module, "ceil_mode", False) or _pair(module.padding, dimensions, 0) != (0, 0):
        raise InputError(f"layer {name}: pooling over the edge is not known; leave out padding and ceil_mode")
    if _pair(getattr(module, "dilation", 1), dimensions, 1) != (1, 1) or getattr(module, "divisor_override", None):
        raise InputError(f"layer {name}: pooling with dilation or its own divisor is not known")
    return Pool(
        name=name,
        input_shape=_picture(given, name),
        output_shape=_picture(made, name),
        mode="max" if isinstance(module, (nn.MaxPool1d, nn.MaxPool2d)) else "mean",
        window=_pair(module.kernel_size, dimensions, 1),
        stride=_pair(module.stride, dimensions, 1),
    )


def _global_pool(name: str, module: Any, given: tuple[int, ...], made: tuple[int, ...]) -> Layer:
    channels, height, width = _picture(given, name)
    out = _picture(made, name)
    if height % out[1] or width % out[2]:
        raise InputError(f"layer {name}: {height}x{width} does not divide by {out[1]}x{out[2]}; use nn.AvgPool2d")
    window = (height // out[1], width // out[2])
    mode: Literal["mean", "max"] = "max" if "Max" in type(module).__name__ else "mean"
    return Pool(
        name=name, input_shape=(channels, height, width), output_shape=out, mode=mode, window=window, stride=window
    )


_Read = Callable[[str, Any, tuple[int, ...], tuple[int, ...]], Layer]
_READERS: dict[Any, _Read] = {
    nn.Linear: _linear,
    (nn.Conv1d, nn.Conv2d): _conv,
    (nn.AvgPool1d, nn.AvgPool2d, nn.MaxPool1d, nn.MaxPool2d): _pool,
    (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d): _global_pool,
}
