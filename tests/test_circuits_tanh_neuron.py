"""Neuron: settled values of the network's equations, weights over temperature, time constant, noise (2.7)."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from block_signals import PROCESS, linearised_gain
from example_frontend import make_frontend
from lightsleeper.circuits import Chip, NeuralNetwork, Neuron, Process, build, simulate_block
from lightsleeper.circuits.device import BOLTZMANN_J_PER_K, KAPPA
from lightsleeper.circuits.neurons import NeuronRows
from lightsleeper.errors import InputError


def test_it_settles_where_the_networks_neuron_does() -> None:
    weights, inputs_v = (2.0, -1.5, 0.25), np.array([0.03, -0.02, 0.1])
    neuron = Neuron(weights=weights, bias_v=-0.01, time_s=2e-3)
    network = NeuralNetwork(np.array([weights]), np.array([-0.01]), np.array([2e-3]), np.array([1.0]), 0.0)
    stage = dataclasses.replace(make_frontend((1000.0,)), network=network)
    steady_v = np.broadcast_to(inputs_v[:, None], (3, 600))
    output_v = simulate_block(neuron, steady_v, 20e3, process=PROCESS)
    layer = NeuronRows([build(stage, Chip(effects=()))])
    expected_v = layer.excite(inputs_v.astype(np.float32)[None, None])[0, 0, 0]
    assert output_v[-1] == pytest.approx(expected_v, rel=1e-5)


@given(st.floats(-8.0, 8.0), st.floats(-20.0, 70.0))
def test_weights_are_ratios_of_currents(weight: float, temperature_c: float) -> None:
    """ln w(T) = ln w(T0) T0 / T (2.7): large weights shrink in the heat, small ones grow, 1 stays."""
    neuron = Neuron(weights=(weight, 1.0, 2.0))
    at_home = neuron.weights_at(Process(temperature_c=27.0))
    np.testing.assert_allclose(at_home, (weight, 1.0, 2.0), rtol=1e-12)
    drifted = neuron.weights_at(Process(temperature_c=temperature_c))
    assert drifted[1] == 1.0
    assert drifted[0] * weight >= 0.0
    assert math.log(drifted[2]) == pytest.approx(math.log(2.0) * 300.15 / (temperature_c + 273.15))


@settings(max_examples=30)
@given(st.floats(0.1, 8.0), st.floats(-0.1, 0.1), st.floats(1e-3, 1.0), st.floats(-20.0, 70.0))
def test_small_signals_see_the_transfer_function(weight: float, bias_v: float, time_s: float, celsius: float) -> None:
    neuron, process = Neuron(weights=(weight, -0.5), bias_v=bias_v, time_s=time_s), Process(temperature_c=celsius)
    frequency_hz = np.array([0.01, 1.0, 100.0]) / (2.0 * math.pi * time_s)
    found = linearised_gain(neuron, frequency_hz, state=neuron.rest(process), input_v=np.zeros(2), process=process)
    np.testing.assert_allclose(found, neuron.transfer(frequency_hz, process), rtol=1e-4)


@given(st.floats(1e-13, 1e-10), st.floats(-20.0, 70.0))
def test_noise_of_the_follower_is_gamma_k_t_over_c(capacitance_f: float, temperature_c: float) -> None:
    kt = BOLTZMANN_J_PER_K * (temperature_c + 273.15)
    neuron = Neuron(capacitance_f=capacitance_f)
    expected_v = math.sqrt(2.0 / KAPPA * kt / capacitance_f)
    assert neuron.noise_v(Process(temperature_c=temperature_c)) == pytest.approx(expected_v)


def test_it_never_leaves_the_linear_range_and_slews_at_its_end() -> None:
    neuron = Neuron(weights=(8.0,), time_s=10e-3)
    output_v = simulate_block(neuron, np.full(2000, 1.0), 20e3, process=PROCESS)
    assert output_v[-1] == pytest.approx(PROCESS.range_v, rel=1e-3)
    # A linear follower would begin with VL / tau; the transconductor gives VL tanh(1) / tau.
    assert output_v[1] * 20e3 == pytest.approx(PROCESS.range_v * math.tanh(1.0) / 10e-3, rel=5e-3)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"weights": (1.0, 9.0)}, "Neuron: weight 1 is 9; choose -8 to 8"),
        ({"weights": (math.nan,)}, "weight 0 is nan"),
        ({"weights": ()}, "weights is empty"),
        ({"time_s": 0.0}, r"time_s is 0; choose 0\.001 to 1 s"),
    ],
)
def test_value_outside_its_limits_is_refused(changes: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        Neuron(**changes)  # type: ignore[arg-type]


def test_power_follows_the_weights() -> None:
    one, two = Neuron(weights=(1.0, -1.0)), Neuron(weights=(2.0, -3.0))
    assert two.power_w(PROCESS) - one.power_w(PROCESS) == pytest.approx(1.8 * 3e-9)
