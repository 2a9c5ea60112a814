"""The network of several chips side by side: what excites the neurons, and the score read out of them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lightsleeper.circuits.built import Built
from lightsleeper.circuits.network_kernel import tanh_layer

__all__ = ["NeuronRows"]

Float32 = NDArray[np.float32]


class NeuronRows:
    """Weights and biases of one chip a row, R rows; in units of each row's linear range, as float32."""

    def __init__(self, rows: Sequence[Built]) -> None:
        networks = [row.frontend.network for row in rows]
        ranges_v = [row.frontend.process.range_v for row in rows]
        pairs = list(zip(networks, ranges_v, strict=True))
        range_v = np.array(ranges_v)[:, None]
        self._hidden_weight = np.array([n.hidden_weight.T / v for n, v in pairs], np.float32)
        self._hidden_bias = np.array([n.hidden_bias_v / v for n, v in pairs], np.float32)
        self._hidden_swing_v = (range_v * np.array([row.neuron_gain for row in rows])).astype(np.float32)
        self._offset_v = np.array([row.neuron_offset_v for row in rows], np.float32)
        self._output_weight = np.array([n.output_weight[:, None] / v for n, v in pairs], np.float32)
        self._output_bias = np.array([[n.output_bias_v / v] for n, v in pairs], np.float32)
        self._output_swing_v = (range_v * np.array([[row.output_gain] for row in rows])).astype(np.float32)

    def excite(self, compressed_v: Float32) -> Float32:
        """What the neurons' capacitors charge towards, in V: (R, F, inputs) -> (R, F, neurons)."""
        swing_v = tanh_layer(compressed_v, self._hidden_weight, self._hidden_bias, self._hidden_swing_v)
        return np.asarray(swing_v + self._offset_v[:, None])

    def read_out(self, hidden_v: Float32) -> Float32:
        """Score in V of the settled neurons: (R, F, neurons) -> (R, F)."""
        return tanh_layer(hidden_v, self._output_weight, self._output_bias, self._output_swing_v)[..., 0]
