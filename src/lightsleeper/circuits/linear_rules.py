"""Coefficients of the linear first stage: an exact step of the band-pass, and the moments of its input.

Over a step the input counts as the parabola with its mean, tilt and curvature, its first three Legendre moments; for
such an input the step is exact, by the matrix exponential (C. Van Loan, IEEE Trans. Automatic Control 23(3), 1978).
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import i0

from lightsleeper.circuits.rates import input_delay_s, interpolation_taps

__all__ = ["MOMENTS", "input_taps", "linear_rules", "moment_taps"]

Float64 = NDArray[np.float64]

MOMENTS = 3
"""Mean, tilt and curvature of the input over a step."""
_TERMS = 40
"""Of the series of the exponential; the matrix of a step has a norm of at most 6 or so."""
_NODES = 16
"""Of the quadrature over a step."""
_HEARD_AT = 0.5
"""Share of a step at which the detectors hear the output: they take it for the mean over the step."""
_STEEP, _GENTLE = (32, 4.0), (4, 5.5)
"""Half length in steps and shape of the windows that interpolate at the recording's rate, and at twice it or more."""


def linear_rules(*, drive: Float64, damping: Float64, outward: Float64, inward: Float64) -> Float64:
    """Step of o' = drive u - damping o - outward x, x' = inward o, time in steps.

    Args:
        drive, damping, outward, inward: (columns,) gain times Gin, Gd, G1 and G2 over C, per step.

    Returns:
        (10, columns): what o, x and the three moments of u add to the next o, and the same for x.
    """
    none = np.zeros_like(drive)
    matrix = np.array([[-damping, -outward], [inward, none]])
    entry = np.array([drive, none])[:, None]
    transition = _phi(matrix, np.broadcast_to(np.eye(2)[:, :, None], matrix.shape), 0)
    # Of 1, s and s^2 over the step.
    one, first, second = (math.factorial(power) * _phi(matrix, entry, power + 1)[:, 0] for power in range(MOMENTS))
    moments = (one, 2.0 * first - one, 6.0 * (second - first) + one)
    return np.array([row for state in (0, 1) for row in (*transition[state], *(moment[state] for moment in moments))])


def _phi(matrix: Float64, vectors: Float64, order: int) -> Float64:
    """phi_n(A) V = sum over k of A^k V / (k + n)!, of matrices (2, 2, columns) on vectors (2, m, columns)."""
    total = vectors
    for k in range(_TERMS, 0, -1):
        total = vectors + np.einsum("ijn,jmn->imn", matrix, total) / (k + order)
    return np.asarray(total / math.factorial(order))


def input_taps(rate_hz: float, factor: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Filters from the recording to the steps (factor, n), and from there to the moments (3, m).

    The input then comes as late as that of the non-linear simulation, by `rates.input_delay_s`.
    """
    steps, _ = interpolation_taps(factor)
    done_s = steps.shape[1] / 2.0 / rate_hz if factor > 1 else 0.0
    half, beta = _GENTLE if factor > 1 else _STEEP
    lag = (input_delay_s(rate_hz, factor) - done_s) * rate_hz * factor - _HEARD_AT
    return steps, moment_taps(half, beta=beta, lag=lag)


def moment_taps(half: int, *, beta: float, lag: float) -> NDArray[np.float32]:
    """Causal filters (3, n), n a multiple of 8, from samples to the moments of their band-limited interpolation.

    The moments are those over the step that ends now, of an input that comes late by `lag`. A sinc under a Kaiser
    window interpolates; a constant has no tilt and no curvature.

    Args:
        half: half the length of the window, in samples.
        beta: its shape.
        lag: in samples, `half` or more, or the window would reach into the future.
    """
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    taps = np.arange(-(-math.ceil(half + lag + 1.0) // 8) * 8)
    # The newest sample has index 0; the step reaches from -1 to 0, the input that it hears from -1 - lag to -lag.
    apart = taps[:, None] + (nodes - 1.0) / 2.0 - lag
    inside = np.maximum(1.0 - np.square(apart / half), 0.0)
    kernel = np.where(inside > 0.0, np.sinc(apart) * i0(beta * np.sqrt(inside)), 0.0)
    kernel /= kernel.sum(axis=0)
    legendre = np.array([np.ones_like(nodes), nodes, 1.5 * np.square(nodes) - 0.5])
    scale = np.array([0.5, 1.5, 2.5])[:, None]
    return np.ascontiguousarray(scale * ((weights * legendre) @ kernel.T), dtype=np.float32)
