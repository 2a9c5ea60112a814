"""A last resort for memory: the frozen front in 16 bits, and the first trained block in one piece."""

import dataclasses

from lightsleeper.device.graph import Network
from lightsleeper.device.layers import Block, Conv, Layer, Pool

__all__ = ["fused"]

Places = frozenset[tuple[int, str]]


def fused(network: Network, trained: Places) -> tuple[Network, Places] | None:
    """The network with activations before its first trained layer in bfloat16 and that layer as a `Block`.

    The trained parameters keep their order. Results differ by the rounding of activations, 2^-9 of each.

    Returns:
        Network and trained places, or None where the first trained layer is not a depthwise convolution that a
        pointwise one and the mean over the picture follow, or the front is not of convolutions and pools.
    """
    first = min(i for i, _ in trained)
    front, rest = network.layers[:first], network.layers[first:]
    if not front or not all(isinstance(layer, (Conv, Pool)) for layer in front) or len(rest) < 4:
        return None
    depthwise, pointwise, pool = rest[:3]
    if not _is_block(depthwise, pointwise, pool):
        return None
    assert isinstance(depthwise, Conv)
    assert isinstance(pointwise, Conv)
    parts = (("depthwise", depthwise), ("pointwise", pointwise))
    block = Block(
        name=f"{depthwise.name}+{pointwise.name}",
        input_shape=depthwise.input_shape,
        output_shape=pool.output_shape,
        parameters={f"{part}_{name}": value for part, conv in parts for name, value in conv.parameters.items()},
        activation=pool.activation,
        depthwise=depthwise,
        pointwise=pointwise,
    )
    layers = (*(dataclasses.replace(layer, packed=True) for layer in front), block, *rest[3:])
    names = ("depthwise", "pointwise")
    places = frozenset((first, f"{names[i - first]}_{name}") if i < first + 2 else (i - 2, name) for i, name in trained)
    return dataclasses.replace(network, layers=layers), places


def _is_block(depthwise: Layer, pointwise: Layer, pool: Layer) -> bool:
    return (
        isinstance(depthwise, Conv)
        and isinstance(pointwise, Conv)
        and isinstance(pool, Pool)
        and depthwise.depthwise
        and pointwise.pointwise
        and depthwise.activation == pointwise.activation == "relu"
        and pool.mode == "mean"
        and pool.output_shape[1:] == (1, 1)
        and pool.window == pool.input_shape[1:]
    )
