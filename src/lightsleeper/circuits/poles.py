"""Coefficients of the band-pass recursion: Adams rules whose weights make the small-signal poles exact.

The rule of each integrator is exact for the two eigenmodes of the linear band-pass, for a constant and for a ramp:
four conditions for four weights. For slow bands they tend to the classical weights (26, -5, 4, -1) / 24.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["band_rules", "output_variance"]

Float64 = NDArray[np.float64]

TAPS = 4
MOST_DAMPED = 1e-3
"""Least squared natural frequency left to the eigenmodes, over the undamped one; below it the poles are real."""


def band_rules(
    *, drive: Float64, damping: Float64, outward: Float64, inward: Float64, leak: Float64 | float = 0.0
) -> Float64:
    """Coefficients of `kernels.substep` but for offsets, from transconductances over C times the substep.

    o' = drive u - damping tanh o - outward tanh x; x' = inward tanh o - leak x, time in substeps.

    Args:
        drive, damping, outward, inward: (bands,) Gin, Gd, G1 and G2 over C, per substep.
        leak: (bands,) output conductance at the internal node over C, per substep.

    Returns:
        (13, bands): drive, q, past1-3, solve, move0-3; then ratio, keep, bleed.
    """
    leak = np.broadcast_to(np.asarray(leak, dtype=np.float64), drive.shape)
    real = 0.5 * (damping + leak)
    squared = outward * inward + damping * leak - real**2
    pole = -real + 1j * np.sqrt(np.maximum(squared, MOST_DAMPED * outward * inward))
    past = np.arange(TAPS)
    modes = np.exp(-pole[:, None] * past)
    conditions = np.stack([modes.real, modes.imag, np.ones_like(modes.real), np.tile(-1.0 * past, (len(pole), 1))], 1)
    over_step = (np.exp(pole / 2.0) - np.exp(-leak) * np.exp(-pole / 2.0)) / (pole + leak)
    move = inward * _weights(conditions, over_step, 1.0 - leak / 2.0, leak / 12.0)
    over_half = (1.0 - np.exp(-leak / 2.0) * np.exp(-pole / 2.0)) / (pole + leak)
    to_middle = damping * _weights(conditions, over_half, 0.5 - leak / 8.0, -0.125 + leak / 24.0)
    q = damping / inward
    return np.stack(
        [
            drive,
            q * np.exp(-leak / 2.0),
            *to_middle[1:],
            to_middle[0],
            *move,
            outward / inward * (1.0 + leak / 2.0),
            np.exp(-leak),
            q * leak,
        ]
    )


def _weights(conditions: Float64, mode: NDArray[np.complex128], constant: Float64, ramp: Float64) -> Float64:
    """Weights (4, bands) that meet the conditions (bands, 4, 4)."""
    right = np.stack([mode.real, mode.imag, constant, ramp], axis=1)[..., None]
    return np.asarray(np.linalg.solve(conditions, right)[..., 0].T)


def output_variance(rules: Float64, step_variance: Float64, substeps: NDArray[np.int64]) -> Float64:
    """Variance of the linearised output in the middle substep, from white noise of `step_variance` a step.

    Args:
        rules: (13, bands) of `band_rules`.
        step_variance: (2, bands) of the noise added to output and internal node after each step.
        substeps: (bands,).
    """
    return np.array([_variance_of(rules[:, k], step_variance[:, k], int(substeps[k])) for k in range(rules.shape[1])])


def _variance_of(rule: Float64, step_variance: Float64, substeps: int) -> float:
    _, q, *past, solve, m0, m1, m2, m3, ratio, keep, bleed = rule
    # States s, x, o1, o2, o3, x1, x2, x3; the linearised output is `read` of them.
    read = np.array([1.0, -q, *(-p for p in past), 0.0, 0.0, 0.0]) / (1.0 + solve)
    unit = np.eye(8)
    inside = keep * unit[1] + m0 * read + m1 * unit[2] + m2 * unit[3] + m3 * unit[4]
    sums = unit[0] - ratio * (m0 * inside + m1 * unit[5] + m2 * unit[6] + m3 * unit[7]) - bleed * inside
    matrix = np.stack([sums, inside, read, unit[2], unit[3], inside, unit[5], unit[6]])
    noise = np.zeros((8, 8))
    at_output, at_inside = step_variance
    entry = np.array([[1.0, q], [0.0, 1.0]])
    noise[:2, :2] = entry @ np.diag([at_output, at_inside]) @ entry.T
    power = np.linalg.matrix_power(matrix, substeps)
    covariance = noise
    while np.abs(power).max() > 1e-9:  # doubling: the sum over the first 2^n steps
        covariance = covariance + power @ covariance @ power.T
        power = power @ power
    for _ in range(substeps // 2):
        covariance = matrix @ covariance @ matrix.T
    return float(read @ covariance @ read)
