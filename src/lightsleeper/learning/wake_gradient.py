"""The wake network on windows as one differentiable function: several times as fast as its torch operations."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightsleeper.learning.wake_kernel import network_backward, network_forward
from lightsleeper.learning.wake_model import WakeNetwork
from lightsleeper.learning.windows import TRAINING_RATE_HZ, Windows

__all__ = ["WindowScores"]


class _Network(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, batch: tuple[Any, ...], weight: Tensor, bias: Tensor, rate: Tensor, read: Tensor, output: Tensor
    ) -> Tensor:
        envelopes, index, factors, frames = batch
        n, (neurons, inputs), length = len(index), weight.shape, envelopes.shape[2]
        values = [np.ascontiguousarray(p.detach().numpy()) for p in (weight, bias, rate, read, output)]
        traces = [np.empty((n, k, length), np.float32) for k in (inputs, neurons, neurons)]
        fired, scores = np.empty((n, length), np.float32), np.zeros((n, length), np.float32)
        arguments = (envelopes, index, factors, frames, *values, *traces, fired, scores)
        network_forward(*arguments)
        ctx.saved = (frames, values, traces, fired, scores)
        return torch.from_numpy(scores)

    @staticmethod
    def backward(ctx: Any, *output_gradients: Tensor) -> tuple[Tensor | None, ...]:
        frames, values, traces, fired, scores = ctx.saved
        gradients = [np.zeros_like(value) for value in values]
        upstream = np.ascontiguousarray(output_gradients[0].numpy())
        arguments = (frames, values[0].shape, *values[2:], *traces, fired, scores, upstream, *gradients)
        network_backward(*arguments)
        return (None, *(torch.from_numpy(g) for g in gradients))


class WindowScores:
    """Scores of windows by a wake network, up to the last frame that is judged.

    Args:
        windows: the examples.
        network: `network(envelopes)` states readably what is computed here.
    """

    def __init__(self, windows: Windows, network: WakeNetwork) -> None:
        n, frames = windows.envelopes_v.shape[:2]
        # Time last, so that the kernel's inner loops run over neighbours.
        self._envelopes = np.ascontiguousarray(windows.envelopes_v.reshape(n, frames, -1).transpose(0, 2, 1))
        self._frames = frames - np.argmax(windows.judged[:, ::-1], axis=1)
        self._network = network

    def __call__(self, index: NDArray[np.int64], gains: NDArray[np.float32]) -> Tensor:
        """Integrator output in units of the linear range, zero behind the last judged frame.

        Args:
            index: (n,) which windows.
            gains: (n, bands) factor on the envelopes.

        Returns:
            (n, frames) float32, differentiable in the network's parameters.
        """
        network = self._network
        weight = network.hidden_weight / network.input_scale
        bias = network.hidden_bias - weight @ network.input_mean
        output = torch.cat([network.output_bias[None], _rate(network.log_integrator_s)[None]])
        factors = np.tile(gains / np.float32(network.knee_v), (1, weight.shape[1] // gains.shape[1]))
        batch = (self._envelopes, index, factors, self._frames[index])
        scores: Tensor = _Network.apply(  # type: ignore[no-untyped-call]
            batch, network.slope * weight, bias, _rate(network.log_neuron_s), network.output_weight, output
        )
        return scores


def _rate(log_time_s: Tensor) -> Tensor:
    """Fraction per frame of a one-pole."""
    return -torch.expm1(-1.0 / (torch.exp(log_time_s) * TRAINING_RATE_HZ))
