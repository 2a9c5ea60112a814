"""The bank and the integrator as torch functions, with the compiled adjoints as their backward passes.

Training runs through the same recursion that simulates, so a gradient step on a centre frequency moves the circuit.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightsleeper.circuits import kernels
from lightsleeper.circuits.integrator import integrate_backward, integrate_forward

__all__ = ["bank_envelopes", "integrate"]


class _Bank(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        coefficients: Tensor,
        drive_v: Tensor,
        range_v: float,
        noise_v: Tensor,
        state: Tensor,
        words: Tensor,
        hop: int,
    ) -> Tensor:
        drive = drive_v.numpy()
        steps, columns = drive.shape[1], state.shape[1]
        outputs = np.empty((steps // hop, 3, columns), np.float32)
        trace = np.empty((steps, kernels.STATES, columns), np.float32)
        start = state.numpy().copy()
        rates = np.ascontiguousarray(coefficients.detach().numpy())
        kernels.bank_forward(drive, rates, range_v, noise_v.numpy(), state.numpy(), words.numpy(), hop, outputs, trace)
        ctx.saved = (drive, rates, range_v, hop, start, trace)
        return torch.from_numpy(outputs)

    @staticmethod
    def backward(ctx: Any, *output_gradients: Tensor) -> tuple[Tensor | None, ...]:
        drive, rates, range_v, hop, start, trace = ctx.saved
        gradient = np.empty_like(rates)
        upstream = np.ascontiguousarray(output_gradients[0].numpy())
        kernels.bank_backward(drive, rates, range_v, hop, start, trace, upstream, gradient)
        return (torch.from_numpy(gradient), None, None, None, None, None, None)


class _Integrate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, score_v: Tensor, rise: Tensor, fall: Tensor, start_v: Tensor) -> Tensor:
        score = np.ascontiguousarray(score_v.detach().numpy())
        integral = np.empty_like(score)
        rates = rise.detach().numpy(), fall.detach().numpy()
        integrate_forward(score, *rates, start_v.numpy().copy(), integral)
        ctx.saved = (score, *rates, start_v.numpy(), integral)
        return torch.from_numpy(integral)

    @staticmethod
    def backward(ctx: Any, *output_gradients: Tensor) -> tuple[Tensor | None, ...]:
        score, rise, fall, start, integral = ctx.saved
        score_gradient = np.empty_like(score)
        rise_gradient, fall_gradient = np.zeros((2, score.shape[1]), np.float32)
        upstream = np.ascontiguousarray(output_gradients[0].numpy())
        integrate_backward(score, rise, fall, start, integral, upstream, score_gradient, rise_gradient, fall_gradient)
        gradients = (torch.from_numpy(g) for g in (score_gradient, rise_gradient, fall_gradient))
        return (*gradients, None)


def bank_envelopes(
    coefficients: Tensor, drive_v: Tensor, *, range_v: float, noise_v: Tensor, state: Tensor, words: Tensor, hop: int
) -> Tensor:
    """Hop means of the envelopes, differentiable in the coefficients.

    Args:
        coefficients: (9, K) float32 fractions per step, see `kernels.bank_forward`.
        drive_v: (B, T) float32 drive in V, T a multiple of `hop`.
        range_v: linear range of the transconductors, V.
        noise_v: (2, K) float32 rms noise per step, V.
        state: (5, K) float32, updated in place.
        words: (128,) uint32 generator words, updated in place.
        hop: steps per frame.

    Returns:
        (T / hop, 3, K) float32, V.
    """
    envelopes: Tensor = _Bank.apply(coefficients, drive_v, range_v, noise_v, state, words, hop)  # type: ignore[no-untyped-call]
    return envelopes


def integrate(score_v: Tensor, rise: Tensor, fall: Tensor, start_v: Tensor) -> Tensor:
    """Asymmetric one-poles over (F, K) float32 scores, differentiable in scores and in the (K,) fractions per frame."""
    integral: Tensor = _Integrate.apply(score_v, rise, fall, start_v)  # type: ignore[no-untyped-call]
    return integral
