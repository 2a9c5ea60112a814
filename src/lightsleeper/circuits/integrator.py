"""Compiled time loops of neurons and integrator, which are one-poles per frame, and their hand-written adjoint."""

# mypy: disable-error-code="untyped-decorator"
import numba
import numpy as np
from numpy.typing import NDArray

__all__ = ["integrate_backward", "integrate_forward"]

Float32 = NDArray[np.float32]
# No reassociation: the same bits whatever the chunk or the batch.
_jit = numba.njit(fastmath={"contract", "nnan", "ninf", "nsz"}, nogil=True, cache=True, error_model="numpy")


@_jit
def integrate_forward(score_v: Float32, rise: Float32, fall: Float32, state: Float32, integral_v: Float32) -> None:
    """Asymmetric one-poles side by side: V += (rise if s > V else fall) (s - V), per frame.

    Args:
        score_v: (T, K) input in V.
        rise, fall: (K,) fraction per frame.
        state: (K,) updated in place, in V.
        integral_v: (T, K) written, in V.
    """
    for t in range(score_v.shape[0]):
        for k in range(score_v.shape[1]):
            e = score_v[t, k] - state[k]
            state[k] += (rise[k] if e > 0 else fall[k]) * e
            integral_v[t, k] = state[k]


@_jit
def integrate_backward(
    score_v: Float32,
    rise: Float32,
    fall: Float32,
    start: Float32,
    integral_v: Float32,
    output_gradient: Float32,
    score_gradient: Float32,
    rise_gradient: Float32,
    fall_gradient: Float32,
) -> None:
    """Adjoint of `integrate_forward`: writes `score_gradient` (T, K), adds to the gradients (K,) of rise and fall."""
    carried = np.zeros_like(start)
    for t in range(score_v.shape[0] - 1, -1, -1):
        for k in range(score_v.shape[1]):
            e = score_v[t, k] - (integral_v[t - 1, k] if t > 0 else start[k])
            g = carried[k] + output_gradient[t, k]
            if e > 0:
                rise_gradient[k] += g * e
                rate = rise[k]
            else:
                fall_gradient[k] += g * e
                rate = fall[k]
            score_gradient[t, k] = g * rate
            carried[k] = g * (np.float32(1.0) - rate)
