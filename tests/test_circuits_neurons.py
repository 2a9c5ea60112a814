"""The network of several chips: the equation of a layer, its saturation, rows apart."""

import numpy as np
import pytest

from example_frontend import make_frontend
from lightsleeper.circuits import Chip, build
from lightsleeper.circuits.neurons import NeuronRows

FRONTEND = make_frontend()
RANGE_V = FRONTEND.process.range_v
INPUTS = np.random.default_rng(2).normal(scale=0.05, size=(2, 7, 9)).astype(np.float32)


def test_neurons_saturate_at_the_linear_range_and_follow_the_equation() -> None:
    network = FRONTEND.network
    rows = NeuronRows([build(FRONTEND, Chip(effects=()))] * 2)
    excitation_v = rows.excite(INPUTS)
    sums = np.einsum("abi,ni->abn", INPUTS.astype(np.float64), network.hidden_weight) + network.hidden_bias_v
    np.testing.assert_allclose(excitation_v, RANGE_V * np.tanh(sums / RANGE_V), atol=2e-7)
    total = excitation_v.astype(np.float64) @ network.output_weight + network.output_bias_v
    np.testing.assert_allclose(rows.read_out(excitation_v), RANGE_V * np.tanh(total / RANGE_V), atol=2e-7)
    assert np.abs(rows.excite(1000.0 * INPUTS)).max() == pytest.approx(RANGE_V)


def test_every_chip_has_its_own_neurons() -> None:
    """Swing, offsets, weights and biases of each row by the equation of its own chip."""
    chips = [build(FRONTEND, Chip(seed=seed, effects=("neurons", "weights"))) for seed in (1, 2)]
    rows = NeuronRows(chips)
    excitation_v = rows.excite(INPUTS)
    scores_v = rows.read_out(excitation_v)
    for row, chip in enumerate(chips):
        network = chip.frontend.network
        sums_v = INPUTS[row].astype(np.float64) @ network.hidden_weight.T + network.hidden_bias_v
        expected_v = RANGE_V * chip.neuron_gain * np.tanh(sums_v / RANGE_V) + chip.neuron_offset_v
        np.testing.assert_allclose(excitation_v[row], expected_v, atol=4e-7)
        total_v = expected_v @ network.output_weight + network.output_bias_v
        np.testing.assert_allclose(scores_v[row], RANGE_V * chip.output_gain * np.tanh(total_v / RANGE_V), atol=4e-7)
    assert np.abs(excitation_v[0] - NeuronRows(chips[::-1]).excite(INPUTS)[0]).max() > 1e-4
