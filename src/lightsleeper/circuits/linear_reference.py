"""The linear first stage's time loop as one reads it, in float64: what `linear_kernel.py` computes fast."""

import numpy as np
from numpy.typing import NDArray

from lightsleeper.circuits.linear_kernel import COEFFICIENT_NAMES, STATE_NAMES

__all__ = ["linear_reference"]

Float64 = NDArray[np.float64]


def linear_reference(
    moments: NDArray[np.floating], coefficients: NDArray[np.floating], state: NDArray[np.floating], hop: int
) -> Float64:
    """Hop means (F, 3, W) of the fast envelope, the slow envelope and the floor, in V.

    Args:
        moments: (T, 3) mean, tilt and curvature of the input over every step, in V.
        coefficients: (18, W) in the order of `COEFFICIENT_NAMES`.
        state: (6, W) at the beginning, in the order of `STATE_NAMES`.
        hop: steps per frame; T is F times it.
    """
    c = dict(zip(COEFFICIENT_NAMES, np.asarray(coefficients, dtype=np.float64), strict=True))
    now = dict(zip(STATE_NAMES, np.array(state, dtype=np.float64), strict=True))
    steps = []
    for mean, tilt, bend in np.asarray(moments, dtype=np.float64):
        output, inside, input_v = now["output"], now["inside"], mean - now["coupled"]
        driven = {
            node: c[f"{node}_mean"] * input_v + c[f"{node}_tilt"] * tilt + c[f"{node}_bend"] * bend for node in "ox"
        }
        now["output"] = c["oo"] * output + c["ox"] * inside + driven["o"]
        now["inside"] = c["xo"] * output + c["xx"] * inside + driven["x"]
        now["coupled"] = now["coupled"] + c["leak"] * input_v
        rectified = np.abs(now["output"] + c["offset"])
        now["fast"] = _follow(now["fast"], rectified, c["fast_attack"], c["fast_decay"])
        now["slow"] = _follow(now["slow"], rectified, c["slow_attack"], c["slow_decay"])
        now["floor"] = _follow(now["floor"], now["fast"], c["floor_rise"], c["floor_fall"])
        steps.append([now["fast"], now["slow"], now["floor"]])
    traced = np.array(steps)
    return np.asarray(traced.reshape(-1, hop, *traced.shape[1:]).mean(axis=1))


def _follow(level: Float64, heard: Float64, up: Float64, down: Float64) -> Float64:
    """Asymmetric one-pole: one fraction upwards, another downwards."""
    return np.asarray(level + np.where(heard > level, up, down) * (heard - level))
