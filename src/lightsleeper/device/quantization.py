"""Int8 inference: scales from sample inputs, and the arithmetic in numpy that the C code repeats to the bit.

Weights are symmetric with a scale for each output channel, activations affine with one scale for each layer, sums in 32
bits, and rescaled by an integer and a shift (B. Jacob et al., CVPR 2018).
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from lightsleeper.device.graph import Network
from lightsleeper.device.layers import Array, Conv, Layer, Linear, Pool
from lightsleeper.errors import InputError

__all__ = ["QuantizedLayer", "QuantizedNetwork", "Scale", "infer_quantized", "quantize"]

LOWEST, HIGHEST = -128, 127
_Int8 = NDArray[np.int8]
_Int32 = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Scale:
    """``real = step * (stored - zero)``."""

    step: float
    zero: int

    def store(self, values: Array) -> _Int8:
        """Round to the nearest stored value, halves away from zero, as the device does."""
        scaled = values.astype(np.float32) * np.float32(1.0 / self.step)
        rounded = np.trunc(scaled + np.copysign(np.float32(0.5), scaled))
        stored: _Int8 = np.clip(rounded + self.zero, LOWEST, HIGHEST).astype(np.int8)
        return stored


@dataclass(frozen=True, eq=False, kw_only=True)
class QuantizedLayer:
    """A layer in integers.

    Attributes:
        layer: what it was made from.
        given, made: scales of input and output.
        weight: int8, shaped as the layer's; empty for a pool.
        bias: (channels out,) int32 in units of a product.
        multiplier, shift: (channels out,): a sum becomes ``(sum * multiplier + 2^(shift - 1)) >> shift``.
        lowest: least output; that of zero behind a ReLU.
    """

    layer: Layer
    given: Scale
    made: Scale
    weight: _Int8
    bias: _Int32
    multiplier: _Int32
    shift: _Int32
    lowest: int


@dataclass(frozen=True, eq=False, kw_only=True)
class QuantizedNetwork:
    """A chain of them; `network` is the one in float."""

    network: Network
    layers: tuple[QuantizedLayer, ...]

    @property
    def constant_bytes(self) -> int:
        """Flash for weights, biases and scales."""
        return sum(q.weight.nbytes + q.bias.nbytes + q.multiplier.nbytes + q.shift.size for q in self.layers)


def quantize(network: Network, samples: Array) -> QuantizedNetwork:
    """Choose scales so that all activations of the samples fit.

    Args:
        network: of linear layers, convolutions and pools, with ReLU or without activation.
        samples: (n, ...) inputs like those to expect; some hundred will do.

    Raises:
        InputError: a layer that is known in float only, or samples that are empty, of another shape or not finite.
    """
    for layer in network.layers:
        if not isinstance(layer, (Linear, Conv, Pool)) or layer.activation not in ("none", "relu"):
            raise InputError(
                f"layer {layer.name}: {type(layer).__name__} with {layer.activation} is not known in int8; "
                "use float, or linear layers, convolutions and pools with ReLU"
            )
    flat = np.asarray(samples, np.float32).reshape(max(1, len(samples)), -1)
    if not flat.size or flat.shape[1] != network.inputs or not np.isfinite(flat).all():
        raise InputError(
            f"samples for int8 are shaped {np.shape(samples)}: give (n, {network.inputs}) finite numbers, at least one"
        )
    values = flat
    scale = _scale(values)
    layers = []
    for layer in network.layers:
        values = _float_forward(layer, values)
        made = scale if isinstance(layer, Pool) else _scale(values)
        layers.append(_quantized(layer, scale, made))
        scale = made
    return QuantizedNetwork(network=network, layers=tuple(layers))


def infer_quantized(quantized: QuantizedNetwork, samples: Array) -> Array:
    """Outputs (n, outputs) of the integer arithmetic, scaled back to real numbers."""
    flat = np.asarray(samples, np.float32).reshape(len(samples), -1)
    values = quantized.layers[0].given.store(flat)
    for layer in quantized.layers:
        values = _forward(layer, values)
    last = quantized.layers[-1].made
    real: Array = np.float32(last.step) * (values.astype(np.int32) - last.zero).astype(np.float32)
    return real


def _scale(values: Array) -> Scale:
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    step = max((high - low) / (HIGHEST - LOWEST), 1e-12)
    return Scale(step=step, zero=round(LOWEST - low / step))


def _quantized(layer: Layer, given: Scale, made: Scale) -> QuantizedLayer:
    lowest = made.zero if layer.activation == "relu" else LOWEST
    if isinstance(layer, Pool):
        none = np.zeros(0, np.int32)
        return QuantizedLayer(
            layer=layer,
            given=given,
            made=made,
            weight=np.zeros(0, np.int8),
            bias=none,
            multiplier=none,
            shift=none,
            lowest=lowest,
        )
    weight = layer.parameters["weight"].astype(np.float64)
    rows = weight.reshape(len(weight), -1)
    steps = np.maximum(np.abs(rows).max(1), 1e-12) / HIGHEST
    stored = np.rint(rows / steps[:, None]).astype(np.int8)
    bias = layer.parameters.get("bias", np.zeros(len(rows), np.float32)).astype(np.float64)
    sums = np.rint(bias / (given.step * steps))
    if np.abs(sums).max() >= 2**30:
        raise InputError(f"layer {layer.name}: a bias is too large beside its weights for int8; use float")
    pairs = [_multiplier(given.step * step / made.step) for step in steps]
    return QuantizedLayer(
        layer=layer,
        given=given,
        made=made,
        weight=stored.reshape(weight.shape),
        bias=sums.astype(np.int32),
        multiplier=np.array([m for m, _ in pairs], np.int32),
        shift=np.array([s for _, s in pairs], np.int32),
        lowest=lowest,
    )


def _multiplier(ratio: float) -> tuple[int, int]:
    """(multiplier, shift) with ``multiplier / 2^shift`` nearest to a ratio; at most 31 bits, shift from 1 to 62."""
    fraction, exponent = math.frexp(ratio)
    multiplier, shift = round(fraction * 2**31), 31 - exponent
    if multiplier == 2**31:
        multiplier, shift = 2**30, shift - 1
    while shift > 62:
        multiplier, shift = multiplier >> 1, shift - 1
    if shift < 1:
        raise InputError("int8: a layer's output scale is far below that of its input; use float")
    return multiplier, shift


def _rescaled(q: QuantizedLayer, sums: NDArray[np.int64]) -> _Int8:
    """(n, channels, ...) sums -> stored outputs."""
    shape = (1, -1, *[1] * (sums.ndim - 2))
    multiplier, shift = q.multiplier.astype(np.int64).reshape(shape), q.shift.astype(np.int64).reshape(shape)
    scaled = (sums * multiplier + (np.int64(1) << (shift - 1))) >> shift
    stored: _Int8 = np.clip(scaled + q.made.zero, q.lowest, HIGHEST).astype(np.int8)
    return stored


def _forward(q: QuantizedLayer, values: _Int8) -> _Int8:
    layer = q.layer
    centred = torch.from_numpy(values.astype(np.float64) - q.given.zero).reshape(-1, *layer.input_shape)
    if isinstance(layer, Pool):
        return _pooled(layer, q, values)
    weight, bias = torch.from_numpy(q.weight.astype(np.float64)), torch.from_numpy(q.bias.astype(np.float64))
    # Sums of integers, exact in double precision.
    if isinstance(layer, Conv):
        sums = functional.conv2d(centred, weight, bias, stride=layer.stride, padding=layer.padding, groups=layer.groups)
    else:
        sums = functional.linear(centred, weight, bias)
    return _rescaled(q, sums.numpy().astype(np.int64)).reshape(len(values), -1)


def _pooled(layer: Pool, q: QuantizedLayer, values: _Int8) -> _Int8:
    picture = torch.from_numpy(values.astype(np.float64)).reshape(-1, *layer.input_shape)
    if layer.mode == "max":
        out = functional.max_pool2d(picture, layer.window, layer.stride).numpy().astype(np.int64)
    else:
        count = layer.window[0] * layer.window[1]
        mean = functional.avg_pool2d(picture, layer.window, layer.stride, divisor_override=1).numpy().astype(np.int64)
        out = np.sign(mean) * ((np.abs(mean) + count // 2) // count)
    return np.clip(out, q.lowest, HIGHEST).astype(np.int8).reshape(len(values), -1)


def _float_forward(layer: Layer, values: Array) -> Array:
    x = torch.from_numpy(np.ascontiguousarray(values)).reshape(-1, *layer.input_shape)
    if isinstance(layer, Pool):
        pool = functional.max_pool2d if layer.mode == "max" else functional.avg_pool2d
        y = pool(x, layer.window, layer.stride)
    else:
        weight = torch.from_numpy(layer.parameters["weight"])
        bias = torch.from_numpy(layer.parameters["bias"]) if "bias" in layer.parameters else None
        if isinstance(layer, Conv):
            y = functional.conv2d(x, weight, bias, stride=layer.stride, padding=layer.padding, groups=layer.groups)
        else:
            y = functional.linear(x, weight, bias)
    if layer.activation == "relu":
        y = torch.relu(y)
    out: Array = y.reshape(len(values), -1).numpy()
    return out
