"""What the templates know of each layer: its place in memory and its literal sizes."""

from collections.abc import Callable
from typing import Any

import numpy as np

from lightsleeper.device.layers import Array, Block, Conv, Gru, Layer, Linear, Pool
from lightsleeper.device.plan import Plan
from lightsleeper.device.state import c_float

__all__ = ["Layout", "layer_context", "layer_title", "shape_context"]


class Layout:
    """Places of all parameters: trained ones in the state, the others among the constants."""

    def __init__(self, plan: Plan, name: str) -> None:
        self._name = name
        self._trained: dict[tuple[int, str], int] = {}
        self._frozen: dict[tuple[int, str], int] = {}
        trained: list[Array] = []
        frozen: list[Array] = []
        for index, layer in enumerate(plan.network.layers):
            for parameter, values in layer.parameters.items():
                is_trained = (index, parameter) in plan.trained
                places, arrays = (self._trained, trained) if is_trained else (self._frozen, frozen)
                places[index, parameter] = sum(a.size for a in arrays)
                arrays.append(values.reshape(-1))
        self.trained: Array = np.concatenate(trained)
        self.frozen: Array = np.concatenate([*frozen, np.zeros(0, np.float32)])

    def place(self, index: int, parameter: str) -> int | None:
        """Place among the trained weights, or None."""
        return self._trained.get((index, parameter))

    def pointer(self, index: int, parameter: str) -> str | None:
        """C expression that points to the parameter, or None where the layer has none."""
        if (index, parameter) in self._trained:
            return f"p + {self._trained[index, parameter]}"
        if (index, parameter) in self._frozen:
            return f"{self._name}_frozen + {self._frozen[index, parameter]}"
        return None


def layer_title(layer: Layer) -> str:
    """One line for comments."""
    shape = " -> ".join("x".join(map(str, s)) for s in (layer.input_shape, layer.output_shape))
    act = "" if layer.activation == "none" else f", {layer.activation}"
    return f"{type(layer).__name__} {layer.name}, {shape}{act}"


def layer_context(plan: Plan, index: int, first: int, layout: Layout) -> dict[str, Any]:
    """What the templates know of a layer."""
    layer = plan.network.layers[index]
    passes_on = index > first
    shown: dict[str, Any] = {
        "index": index,
        "title": layer_title(layer),
        "inputs": layer.inputs,
        "outputs": layer.outputs,
        "activation": layer.activation,
        "activation_before": plan.network.layers[index - 1].activation if index else "none",
        "forward_scratch": layer.forward_scratch,
        "backward_scratch": layer.backward_scratch(passes_on=passes_on),
        "trained": index >= first,
        "packed": layer.packed,
        "packed_before": index > 0 and plan.network.layers[index - 1].packed,
        "passes_on": passes_on,
    }
    for parameter in _PARAMETERS[type(layer)]:
        shown[parameter] = layout.pointer(index, parameter)
        shown[f"train_{parameter}"] = layout.place(index, parameter)
    # A block recomputes and passes through both its kernels.
    reads_block = (shown.get("depthwise_weight"), shown.get("pointwise_weight"), shown.get("depthwise_bias"))
    reads = (shown.get("weight"), shown.get("weight_hh"), shown.get("weight_ih") if passes_on else None)
    used = isinstance(layer, (Block, Gru)) or passes_on
    shown["reads_weights"] = used and any(r is not None and r.startswith("p ") for r in (*reads, *reads_block))
    trains = any(shown[f"train_{parameter}"] is not None for parameter in _PARAMETERS[type(layer)])
    shown["uses_state"] = shown["reads_weights"] or trains
    return shown | shape_context(layer)


def shape_context(layer: Layer) -> dict[str, Any]:
    """Its kind and literal sizes."""
    return _SHAPES[type(layer)](layer)


def _conv_shape(layer: Conv) -> dict[str, Any]:
    top, bottom = _reach(layer, 0)
    left, right = _reach(layer, 1)
    out, into = layer.output_shape[0], layer.input_shape[0]
    return _planes(layer) | {
        "kind": "pointwise" if layer.pointwise else "conv",
        "kernel": layer.kernel,
        "stride": layer.stride,
        "padding": layer.padding,
        "channels_out": out,
        "group_in": into // layer.groups,
        "group_out": out // layer.groups,
        "top": top,
        "bottom": bottom,
        "left": left,
        "right": right,
    }


def _reach(layer: Conv, axis: int) -> tuple[list[int], list[int]]:
    """For each place of the kernel along an axis: the outputs [first, end) for which it lies within the input."""
    size, made = layer.input_shape[1 + axis], layer.output_shape[1 + axis]
    stride, padding = layer.stride[axis], layer.padding[axis]
    first = [max(0, -(-(padding - k) // stride)) for k in range(layer.kernel[axis])]
    end = [min(made, (size - 1 + padding - k) // stride + 1) for k in range(layer.kernel[axis])]
    return [min(f, max(e, 0)) for f, e in zip(first, end, strict=True)], [max(e, 0) for e in end]


def _planes(layer: Conv | Pool) -> dict[str, Any]:
    return {
        "channels_in": layer.input_shape[0],
        "width_in": layer.input_shape[2],
        "in_plane": layer.input_shape[1] * layer.input_shape[2],
        "height_out": layer.output_shape[1],
        "width_out": layer.output_shape[2],
        "out_plane": layer.output_shape[1] * layer.output_shape[2],
    }


def _block_shape(layer: Block) -> dict[str, Any]:
    channels, made = layer.depthwise.output_shape[0], layer.pointwise.output_shape[0]
    return _conv_shape(layer.depthwise) | {
        "kind": "block",
        "channels_in": channels,
        "channels_out": made,
        "height_in": layer.input_shape[1],
        "share": c_float(1.0 / layer.depthwise.out_plane),
        "mask_bytes": 4 * layer.kept,
    }


def _pool_shape(layer: Pool) -> dict[str, Any]:
    share = c_float(1.0 / (layer.window[0] * layer.window[1]))
    return _planes(layer) | {
        "kind": "pool",
        "mode": layer.mode,
        "window": layer.window,
        "stride": layer.stride,
        "share": share,
    }


def _gru_shape(layer: Gru) -> dict[str, Any]:
    time, features = layer.input_shape
    return {"kind": "gru", "time": time, "features": features, "hidden": layer.hidden, "sequence": layer.sequence}


_PARAMETERS: dict[type[Layer], tuple[str, ...]] = {
    Block: ("depthwise_weight", "depthwise_bias", "pointwise_weight", "pointwise_bias"),
    Linear: ("weight", "bias"),
    Conv: ("weight", "bias"),
    Pool: (),
    Gru: ("weight_ih", "weight_hh", "bias_ih", "bias_hh"),
}
_SHAPES: dict[type[Layer], Callable[[Any], dict[str, Any]]] = {
    Block: _block_shape,
    Linear: lambda _: {"kind": "linear"},
    Conv: _conv_shape,
    Pool: _pool_shape,
    Gru: _gru_shape,
}
