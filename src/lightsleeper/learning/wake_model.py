"""The wake stage as a torch module whose parameters are the circuit's, each kept within what the circuit can do."""

import dataclasses
import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lightsleeper.circuits import EnvelopeDetectors, FilterBank, FrontEnd, NeuralNetwork
from lightsleeper.circuits.blocks import TIME_NAMES
from lightsleeper.circuits.gradient import integrate
from lightsleeper.learning.windows import TRAINING_RATE_HZ

__all__ = ["LIMITS_S", "WakeNetwork", "initial_frontend"]

LIMITS_S = {"neuron": (5e-3, 1.0), "integrator": (10e-3, 0.3)}
"""Ranges of time constants that capacitors of 5 pF and currents of 1 pA and more can set (s)."""

SMALLEST_SCALE = 1e-3
"""An input that never moves is not amplified without bound."""


def initial_frontend(*, bands: int = 8, neurons: int = 8, low_hz: float = 200.0, high_hz: float = 7000.0) -> FrontEnd:
    """An untrained stage with log-spaced bands and a silent network."""
    defaults = EnvelopeDetectors()
    times_s = {name: (getattr(defaults, name)[0],) * bands for name in TIME_NAMES}
    envelopes = dataclasses.replace(defaults, **times_s)  # type: ignore[arg-type]  # six names of tuples
    centers = tuple(float(f) for f in np.geomspace(low_hz, high_hz, bands)) if bands > 1 else (high_hz,)
    network = NeuralNetwork(
        hidden_weight=np.zeros((neurons, 3 * bands)),
        hidden_bias_v=np.zeros(neurons),
        neuron_s=np.geomspace(5e-3, 0.3, neurons),
        output_weight=np.zeros(neurons),
        output_bias_v=0.0,
    )
    return FrontEnd(network=network, bank=FilterBank(center_hz=centers, q=(2.0,) * bands), envelopes=envelopes)


class WakeNetwork(nn.Module):
    """Logarithm, tanh neurons with time constants, output neuron and integrator, in units of the linear range.

    Inputs are standardised for training alone; `install` folds that into the circuit's weights and biases.

    Args:
        frontend: gives the constants (knee, slope, ranges, weight limit) and the starting time constants.
        envelopes_v: (n, frames, 3, bands) examples, which set the offset and the scale of every input.
        seed: of the initial weights.
    """

    input_mean: Tensor
    input_scale: Tensor

    def __init__(self, frontend: FrontEnd, envelopes_v: NDArray[np.float32], *, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        network = frontend.network
        self.knee_v = frontend.compressor.knee_v
        self.slope = frontend.process.slope_v / frontend.process.range_v
        self.range_v = frontend.process.range_v
        self.max_weight = network.max_weight
        examples = self.compress(torch.from_numpy(envelopes_v)).flatten(0, 1)
        self.register_buffer("input_mean", examples.mean(0))
        self.register_buffer("input_scale", examples.std(0).clamp_min(SMALLEST_SCALE))
        inputs = examples.shape[1]
        spread = 1.0 / math.sqrt(inputs)
        self.hidden_weight = nn.Parameter(spread * (2 * torch.rand(network.neurons, inputs, generator=generator) - 1))
        self.hidden_bias = nn.Parameter(torch.zeros(network.neurons))
        self.output_weight = nn.Parameter(2 * torch.rand(network.neurons, generator=generator) - 1)
        self.output_bias = nn.Parameter(torch.tensor(-0.5))
        self.log_neuron_s = nn.Parameter(torch.tensor(np.log(network.neuron_s), dtype=torch.float32))
        self.log_integrator_s = nn.Parameter(torch.tensor(math.log(frontend.integrator.rise_s)))

    def compress(self, envelopes_v: Tensor) -> Tensor:
        """(n, frames, 3, bands) V -> (n, frames, 3 x bands), in units of the linear range."""
        return (self.slope * torch.log1p(envelopes_v / self.knee_v)).flatten(2)

    def forward(self, envelopes_v: Tensor) -> Tensor:
        """(n, frames, 3, bands) envelopes in V -> (n, frames) integrator output in units of the linear range."""
        x = self.compress(envelopes_v)
        # The memories start where the first frame holds them: training must not see a switch-on transient.
        excitation = torch.tanh((x - self.input_mean) / self.input_scale @ self.hidden_weight.T + self.hidden_bias)
        hidden = _one_pole(excitation, self.log_neuron_s)
        score = torch.tanh(hidden @ self.output_weight + self.output_bias)
        # Between the ends of two frames the score moves on a straight line.
        means = 0.5 * (score + torch.cat([score[:, :1], score[:, :-1]], dim=1))
        return _one_pole(means[..., None], self.log_integrator_s[None])[..., 0]

    @torch.no_grad()
    def clamp(self) -> None:
        """Put every parameter back within what the circuit can do."""
        limit = self.max_weight * self.input_scale
        self.hidden_weight.copy_(torch.minimum(torch.maximum(self.hidden_weight, -limit), limit))
        self.output_weight.clamp_(-self.max_weight, self.max_weight)
        self.log_neuron_s.clamp_(*map(math.log, LIMITS_S["neuron"]))
        self.log_integrator_s.clamp_(*map(math.log, LIMITS_S["integrator"]))

    def install(self, frontend: FrontEnd) -> FrontEnd:
        """The same stage with this network and integrator in it."""
        weights = {name: value.detach().double().numpy() for name, value in self.named_parameters()}
        hidden_weight = weights["hidden_weight"] / self.input_scale.double().numpy()
        network = dataclasses.replace(
            frontend.network,
            hidden_weight=hidden_weight,
            hidden_bias_v=(weights["hidden_bias"] - hidden_weight @ self.input_mean.double().numpy()) * self.range_v,
            neuron_s=np.exp(weights["log_neuron_s"]),
            output_weight=weights["output_weight"],
            output_bias_v=float(weights["output_bias"]) * self.range_v,
        )
        time_s = float(np.exp(weights["log_integrator_s"]))
        integrator = dataclasses.replace(frontend.integrator, rise_s=time_s, fall_s=time_s)
        return dataclasses.replace(frontend, network=network, integrator=integrator)


def _one_pole(values: Tensor, log_time_s: Tensor) -> Tensor:
    """One-pole low-pass over axis 1 of (n, frames, k), each of the k with its own time constant."""
    n, frames, k = values.shape
    rate = -torch.expm1(-1.0 / (torch.exp(log_time_s) * TRAINING_RATE_HZ)).repeat(n)
    columns = values.transpose(0, 1).reshape(frames, n * k)
    settled = integrate(columns, rate, rate, columns[0].detach().clone())
    return settled.reshape(frames, n, k).transpose(0, 1)
