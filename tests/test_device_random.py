"""Networks drawn at random: the C makes the steps of PyTorch, whatever the sizes, strides, paddings and groups."""

import math
from typing import Any

import numpy as np
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch import nn

from device_trial import compiled
from lightsleeper.device import Rule, read_network
from lightsleeper.device.networks import seeded
from lightsleeper.device.oracle import distance, train_torch
from lightsleeper.device.plan import device_plans

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "none": nn.Identity}
STEPS = 4


@st.composite
def _pictures(draw: st.DrawFn) -> tuple[list[tuple[str, dict[str, Any]]], tuple[int, int, int]]:
    """Convolutions and pools, as (kind, options), for an input (channels, height, width)."""
    shape = (draw(st.integers(1, 4)), draw(st.integers(1, 9)), draw(st.integers(1, 9)))
    layers: list[tuple[str, dict[str, Any]]] = []
    channels, size = shape[0], shape[1:]
    for _ in range(draw(st.integers(1, 4))):
        pool = draw(st.booleans()) and bool(layers) and min(size) > 0
        kernel = tuple(draw(st.integers(1, 4)) for _ in range(2))
        stride = tuple(draw(st.integers(1, 3)) for _ in range(2))
        padding = (0, 0) if pool else tuple(draw(st.integers(0, 3)) for _ in range(2))
        made = tuple((n + 2 * p - k) // s + 1 for n, p, k, s in zip(size, padding, kernel, stride, strict=True))
        if min(made) < 1 or any(n + 2 * p < k for n, p, k in zip(size, padding, kernel, strict=True)):
            continue
        options: dict[str, Any] = {"kernel_size": kernel, "stride": stride}
        if pool:
            layers.append((draw(st.sampled_from(["max", "mean"])), options))
        else:
            groups = draw(st.sampled_from([g for g in range(1, channels + 1) if channels % g == 0]))
            out = groups * draw(st.integers(1, 3))
            options |= {"in_channels": channels, "out_channels": out, "padding": padding, "groups": groups}
            options["bias"] = draw(st.booleans())
            layers.append(("conv", options))
            layers.append((draw(st.sampled_from(sorted(ACTIVATIONS))), {}))
            channels = out
        size = made
    assume(any(kind == "conv" for kind, _ in layers))
    assume(math.prod(size) * channels <= 200)
    layers.append(("linear", {"in_features": channels * math.prod(size), "out_features": draw(st.integers(2, 6))}))
    return layers, shape


def _module(layers: list[tuple[str, dict[str, Any]]]) -> nn.Sequential:
    kinds = {"conv": nn.Conv2d, "max": nn.MaxPool2d, "mean": nn.AvgPool2d, "linear": nn.Linear} | ACTIVATIONS
    modules = [kinds[kind](**options) for kind, options in layers]
    return nn.Sequential(*modules[:-1], nn.Flatten(), modules[-1])


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(given_net=_pictures(), seed=st.integers(0, 1000), data=st.data())
def test_pictures(given_net: tuple[Any, tuple[int, int, int]], seed: int, data: st.DataObject) -> None:
    layers, shape = given_net
    model = seeded(lambda: _module(layers), seed)
    network = read_network(model, torch.zeros(1, *shape), loss="cross_entropy")
    names = [layer.name for layer in network.layers if layer.parameters]
    trainable = data.draw(st.lists(st.sampled_from(names), min_size=1, unique=True))
    rule = data.draw(st.sampled_from([Rule(period=2, learning_rate=0.1), Rule(averaging="settle", learning_rate=0.1)]))
    plans = list(device_plans(network, rule, trainable))
    plan = data.draw(st.sampled_from(plans))
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((STEPS, *shape)).astype(np.float32)
    y = rng.integers(0, network.outputs, STEPS).astype(np.int32)
    weights, average = train_torch(model, network, rule, x, y, trained=plan.trained)
    with compiled(plan) as device:
        for sample, target in zip(x, y, strict=True):
            assert device.train_step(sample, target) == 1
        assert distance(device.field("weights"), weights) < 1e-5
        assert distance(device.average(), average) < 1e-5


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    sizes=st.lists(st.integers(1, 11), min_size=2, max_size=5),
    kinds=st.lists(st.sampled_from(sorted(ACTIVATIONS)), min_size=5, max_size=5),
    recurrent=st.booleans(),
    time=st.integers(1, 5),
    seed=st.integers(0, 1000),
)
def test_vectors_and_sequences(sizes: list[int], kinds: list[str], recurrent: bool, time: int, seed: int) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gru = nn.GRU(sizes[0], sizes[1], batch_first=True) if recurrent else None
            widths = sizes[1:] if recurrent else sizes
            self.body = nn.Sequential()
            for i, (given_width, made) in enumerate(zip(widths, [*widths[1:], 3], strict=True)):
                self.body.append(nn.Linear(given_width, made))
                self.body.append(ACTIVATIONS[kinds[i]]())

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.body(x if self.gru is None else self.gru(x)[0][:, -1])
            return out

    model = seeded(Net, seed)
    shape = (time, sizes[0]) if recurrent else (sizes[0],)
    network = read_network(model, torch.zeros(1, *shape), loss="mse")
    rule = Rule(averaging="pswm", period=2, momentum=0.5, learning_rate=0.2)
    plan = next(device_plans(network, rule))
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((STEPS, *shape)).astype(np.float32)
    y = rng.random((STEPS, 3)).astype(np.float32)
    weights, average = train_torch(model, network, rule, x, y, trained=plan.trained)
    with compiled(plan) as device:
        for sample, target in zip(x, y, strict=True):
            assert device.train_step(sample, target) == 1
        assert distance(device.field("weights"), weights) < 1e-5
        assert distance(device.average(), average) < 1e-5
