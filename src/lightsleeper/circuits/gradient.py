"""The bank and the integrator as torch functions, with the compiled adjoints as their backward passes.

Training runs through the same recursion that simulates, so a gradient step on a centre frequency moves the circuit.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightsleeper.circuits import kernels
from lightsleeper.circuits.adjoint import bank_backward, checkpoint_interval
from lightsleeper.circuits.columns import Columns
from lightsleeper.circuits.integrator import integrate_backward, integrate_forward
from lightsleeper.circuits.simd import Float32, UInt32

__all__ = ["bank_envelopes", "integrate"]


class _Bank(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        trained: Tensor,
        columns: Columns,
        fixed: Float32,
        drive: Float32,
        noise: Float32,
        state: Float32,
        words: UInt32,
        hop: int,
        frames: int,
    ) -> Tensor:
        width = columns.width
        coefficients = np.concatenate([columns.spread(trained.detach().numpy()), fixed])
        outputs = np.empty((frames, 3, width), np.float32)
        parts = frames * hop // checkpoint_interval(hop)
        checkpoints = np.empty((parts, *state.shape), np.float32)
        saved_words = np.empty((parts, width), np.uint32)
        place = (np.array(columns.counts), columns.lanes, columns.row_of)
        kernels.bank_forward(
            drive,
            *place,
            coefficients,
            noise,
            state,
            words,
            hop,
            outputs,
            np.empty((0, kernels.TRACED, width), np.float32),
            checkpoints,
            saved_words,
        )
        ctx.saved = (columns, (drive, *place, coefficients, noise, hop, checkpoints, saved_words))
        return torch.from_numpy(columns.collect(outputs))

    @staticmethod
    def backward(ctx: Any, *output_gradients: Tensor) -> tuple[Tensor | None, ...]:
        columns, arguments = ctx.saved
        flat = output_gradients[0].numpy()
        upstream = columns.spread(flat.reshape(-1, flat.shape[-1])).reshape(*flat.shape[:2], columns.width)
        gradient = np.empty((kernels.TRAINED, columns.width), np.float32)
        bank_backward(*arguments, upstream, gradient)  # type: ignore[call-arg]  # numba's stub counts them wrongly
        return (torch.from_numpy(columns.collect(gradient)), *(None,) * 8)


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
    trained: Tensor,
    columns: Columns,
    *,
    fixed: Float32,
    drive: Float32,
    noise: Float32,
    state: Float32,
    words: UInt32,
    hop: int,
    frames: int,
) -> Tensor:
    """Hop means of the envelopes, differentiable in the trained coefficients.

    Args:
        trained: (16, K) float32, the first 16 of `kernels.COEFFICIENT_NAMES`; K = rows x bands.
        columns: where they lie in the kernel's buffers, `width` W.
        fixed: (6, W) the other coefficients.
        drive: (R, >= 3 T) mean drive, see `FrontEndStream.drive`.
        noise: (2, W) rms noise per step, in linear ranges.
        state: (11, W) updated in place.
        words: (W,) generator words, updated in place.
        hop: steps per frame.
        frames: how many to run.

    Returns:
        (frames, 3, K) float32, V.
    """
    envelopes: Tensor = _Bank.apply(trained, columns, fixed, drive, noise, state, words, hop, frames)  # type: ignore[no-untyped-call]
    return envelopes


def integrate(score_v: Tensor, rise: Tensor, fall: Tensor, start_v: Tensor) -> Tensor:
    """Asymmetric one-poles over (F, K) float32 scores, differentiable in scores and in the (K,) fractions per frame."""
    integral: Tensor = _Integrate.apply(score_v, rise, fall, start_v)  # type: ignore[no-untyped-call]
    return integral
