"""Int8 inference: the C repeats the reference to the bit, and stays near the network in float."""

import ctypes
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from device_build import sanitizing
from device_trial import data_for, trial
from lightsleeper.device import emit_int8, infer_quantized, quantize, read_network
from lightsleeper.device.emulate import TARGETS, emulate_int8
from lightsleeper.device.layers import Array
from lightsleeper.device.networks import TrialNetwork, keyword_net, seeded, trial_data
from lightsleeper.device.quantization import QuantizedNetwork, Scale, _multiplier
from lightsleeper.device.tools import require
from lightsleeper.errors import InputError

FLAGS = ["-std=c99", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Werror"]
NAMES = ["mlp", "depthwise", "front_and_block", "pools"]


def _pools() -> nn.Module:
    pools = nn.MaxPool2d(2, 1), nn.AvgPool2d((1, 2), 1)
    return nn.Sequential(pools[0], nn.Conv2d(2, 5, 3, stride=2), pools[1], nn.ReLU(), nn.Flatten(), nn.Linear(30, 3))


def _network(name: str) -> tuple[nn.Module, QuantizedNetwork, Array]:
    """Module, its int8 form by half of the samples, and the samples; "pools" has both kinds and a linear tail."""
    if name != "pools":
        model, network = trial(name)
        x, _ = data_for(name, 200)
        return model, quantize(network, x[:100]), x
    build = _pools
    model = seeded(build, 3)
    x, _ = trial_data(
        TrialNetwork(build, (2, 9, 8), "mse"),
        network := read_network(model, torch.zeros(1, 2, 9, 8), loss="mse"),
        200,
        seed=2,
    )
    return model, quantize(network, x[:100]), x


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_c_is_the_reference_to_the_bit(name: str, compiler: str, tmp_path: Path) -> None:
    _, quantized, x = _network(name)
    x = np.concatenate([x, 50 * x[:50]])
    emit_int8(quantized, name="net").write(tmp_path)
    subprocess.run([require(compiler), *FLAGS, "-shared", "-fPIC", "net.c", "-o", "net.so"], cwd=tmp_path, check=True)
    library = ctypes.CDLL(str(tmp_path / "net.so"))
    got = np.empty((len(x), quantized.network.outputs), np.float32)
    for sample, out in zip(x, got, strict=True):
        library.net_infer(sample.ctypes.data_as(ctypes.c_void_p), out.ctypes.data_as(ctypes.c_void_p))
    np.testing.assert_array_equal(got, infer_quantized(quantized, x))


@pytest.mark.parametrize("name", NAMES)
def test_int8_stays_near_float(name: str) -> None:
    model, quantized, x = _network(name)
    with torch.no_grad():
        exact = model(torch.from_numpy(x[:100])).numpy()
    error = np.abs(infer_quantized(quantized, x[:100]) - exact).max() / np.ptp(exact)
    assert 0 < error < 0.04


def test_any_bits_are_taken(tmp_path: Path) -> None:
    _, quantized, _ = _network("depthwise")
    emit_int8(quantized, name="net").write(tmp_path)
    main = """
#include "net.h"
#include <stdio.h>
int main(void)
{
    static float x[NET_INPUTS], y[NET_OUTPUTS];
    FILE *file = fopen("fuzz.bin", "rb");
    int taken = 0;
    while (fread(x, sizeof(float), NET_INPUTS, file) == NET_INPUTS) {
        net_infer(x, y);
        taken += y[0] - y[0] == 0.0f;
    }
    printf("%d", taken);
    return fclose(file);
}
"""
    (tmp_path / "main.c").write_text(main)
    rng = np.random.default_rng(0)
    rng.integers(0, 1 << 32, (100, quantized.network.inputs), dtype=np.uint64).astype(np.uint32).tofile(
        tmp_path / "fuzz.bin"
    )
    checks = ["-fsanitize=address,undefined,float-cast-overflow", "-fno-sanitize-recover=all"]
    subprocess.run([sanitizing("gcc"), *FLAGS, *checks, "main.c", "net.c", "-o", "fuzz"], cwd=tmp_path, check=True)
    done = subprocess.run(["./fuzz"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "100", "")


def test_keyword_network_on_a_core(tmp_path: Path) -> None:
    model = seeded(keyword_net, 0)
    network = read_network(model, torch.zeros(1, 1, 49, 10), loss="cross_entropy")
    x, _ = trial_data(TrialNetwork(keyword_net, (1, 49, 10), "cross_entropy"), network, 12, seed=0)
    quantized = quantize(network, x)
    source = emit_int8(quantized, name="net")
    assert source.arena_bytes < 9 * 1024
    assert quantized.constant_bytes < 28 * 1024
    run = emulate_int8(source, TARGETS["m4f"], x[:2], folder=tmp_path, optimise="-O3")
    np.testing.assert_array_equal(run.outputs, infer_quantized(quantized, x[:2]))
    assert run.static_bytes < 9 * 1024
    assert run.stack_bytes <= 512
    assert run.stack_bound_bytes <= 512


@settings(max_examples=200, deadline=None)
@given(st.floats(2.0**-29, 1000.0))
def test_a_ratio_is_a_multiplier_and_a_shift(ratio: float) -> None:
    multiplier, shift = _multiplier(ratio)
    assert 0 < multiplier < 2**31
    assert 1 <= shift <= 62
    assert multiplier / 2**shift == pytest.approx(ratio, rel=1e-8)


@settings(max_examples=200, deadline=None)
@given(st.floats(1e-3, 1e3), st.integers(-128, 127), st.lists(st.floats(-1e4, 1e4, width=32), min_size=1))
def test_storing_rounds_to_the_nearest(step: float, zero: int, values: list[float]) -> None:
    real = np.asarray(values, np.float32)
    stored = Scale(step=step, zero=zero).store(real)
    low, high = step * (-128 - zero), step * (127 - zero)
    back = step * (stored.astype(np.float64) - zero)
    inside = np.clip(real.astype(np.float64), low, high)
    assert np.abs(back - inside).max() <= 0.5001 * step


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ([nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)], "layer 0: Linear with tanh is not known in int8"),
        ([nn.Linear(4, 3), nn.Sigmoid(), nn.Linear(3, 2)], "with sigmoid"),
    ],
)
def test_layers_for_float_only_are_named(layers: list[nn.Module], words: str) -> None:
    network = read_network(nn.Sequential(*layers), torch.zeros(1, 4), loss="mse")
    with pytest.raises(InputError, match=words):
        quantize(network, np.zeros((3, 4), np.float32))


@pytest.mark.parametrize("samples", [np.zeros((0, 16)), np.zeros((3, 15)), np.full((2, 16), np.nan)])
def test_bad_samples_are_refused(samples: Array) -> None:
    with pytest.raises(InputError, match="finite numbers"):
        quantize(trial("mlp")[1], samples)
