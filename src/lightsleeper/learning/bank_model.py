"""The filter bank and its envelopes as a torch module, each parameter kept within what the circuit can do."""

import dataclasses
import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lightsleeper.circuits import FrontEnd
from lightsleeper.circuits.blocks import TIME_NAMES
from lightsleeper.circuits.rates import substeps_for

__all__ = ["BankModel"]

Q_LIMITS = (0.6, 5.0)
LOW_HZ = 50.0
TOP_SHARE = 0.95
"""Highest centre frequency over half the rate of the recordings: nearer to it there is no signal to learn from."""
TIME_LIMITS_S = ((0.5e-3, 20e-3), (5e-3, 0.1), (0.5e-3, 50e-3), (0.05, 2.0), (0.5, 10.0), (0.05, 3.0))
"""Ranges of fast attack and decay, slow attack and decay, floor rise and fall (analog circuits reference, 1)."""


class BankModel(nn.Module):
    """Trainable parameters of `FilterBank` and `EnvelopeDetectors`.

    Args:
        frontend: gives the starting values.
        rate_hz: of the recordings.
        step_rate_hz: simulation rate; centre frequencies stay at or below a quarter of it, where the model is exact.
    """

    def __init__(self, frontend: FrontEnd, *, rate_hz: float, step_rate_hz: float) -> None:
        super().__init__()
        self.step_rate_hz = step_rate_hz
        self.top_hz = min(step_rate_hz / 4.0, TOP_SHARE * rate_hz / 2.0)
        self.log_center_hz = nn.Parameter(torch.tensor(np.log(frontend.bank.center_hz), dtype=torch.float32))
        self.log_q = nn.Parameter(torch.tensor(np.log(frontend.bank.q), dtype=torch.float32))
        self.log_time_s = nn.Parameter(torch.tensor(np.log(frontend.envelopes.times_s()), dtype=torch.float32))

    def substeps(self) -> NDArray[np.int64]:
        """Substeps that each band needs where it stands, shape (bands,)."""
        return substeps_for(np.exp(self.log_center_hz.detach().double().numpy()), self.step_rate_hz)

    def coefficients(self) -> Tensor:
        """(16, bands) of the trained coefficients: those of `FilterBank.step_rules` and of one-poles."""
        # In double: the weights of a low band are small differences of numbers near 1.
        substeps = torch.from_numpy(self.substeps())
        angle = 2.0 * math.pi * torch.exp(self.log_center_hz.double()) / (self.step_rate_hz * substeps)
        q = torch.exp(self.log_q.double())
        rates = -torch.expm1(-1.0 / (torch.exp(self.log_time_s.double()) * self.step_rate_hz))
        return torch.cat([_band_rules(angle, q), rates]).float()

    @torch.no_grad()
    def clamp(self) -> None:
        """Put every parameter back within what the circuit can do."""
        self.log_center_hz.clamp_(math.log(LOW_HZ), math.log(self.top_hz))
        self.log_q.clamp_(*map(math.log, Q_LIMITS))
        for row, limits in zip(self.log_time_s, TIME_LIMITS_S, strict=True):
            row.clamp_(*map(math.log, limits))

    def install(self, frontend: FrontEnd) -> FrontEnd:
        """The same stage with these bands and time constants."""
        centers, qs = (tuple(np.exp(p.detach().double().numpy()).tolist()) for p in (self.log_center_hz, self.log_q))
        times = np.exp(self.log_time_s.detach().double().numpy()).tolist()
        times_s = {name: tuple(row) for name, row in zip(TIME_NAMES, times, strict=True)}
        envelopes = dataclasses.replace(frontend.envelopes, **times_s)  # type: ignore[arg-type]  # six names of tuples
        return dataclasses.replace(
            frontend, bank=dataclasses.replace(frontend.bank, center_hz=centers, q=qs), envelopes=envelopes
        )


def _band_rules(angle: Tensor, q: Tensor) -> Tensor:
    """The first ten rows of `circuits.poles.band_rules` for the ideal band-pass, (10, bands), differentiable."""
    damping = angle / q
    pole = angle * torch.complex(-0.5 / q, torch.sqrt(1.0 - 0.25 / q**2))
    past = torch.arange(4, dtype=torch.float64)
    modes = torch.exp(-pole[:, None] * past)
    ones = torch.ones_like(modes.real)
    conditions = torch.stack([modes.real, modes.imag, ones, -past * ones], dim=1)

    def weights(mode: Tensor, constant: float, ramp: float) -> Tensor:
        right = torch.stack([mode.real, mode.imag, constant * ones[:, 0], ramp * ones[:, 0]], dim=1)
        solved: Tensor = torch.linalg.solve(conditions, right)
        return solved.T

    move = angle * weights((torch.exp(pole / 2.0) - torch.exp(-pole / 2.0)) / pole, 1.0, 0.0)
    to_middle = damping * weights((1.0 - torch.exp(-pole / 2.0)) / pole, 0.5, -0.125)
    return torch.cat([torch.stack([damping, 1.0 / q, *to_middle[1:], to_middle[0]]), move])
