"""Compiled logarithms and layers of tanh neurons: what stands behind the envelopes and has no memory.

Frames run innermost, in blocks, so that the loops become SIMD code; a frame's bits do not depend on its block.
"""

# mypy: disable-error-code="untyped-decorator"
import numpy as np
from numpy.typing import NDArray

from lightsleeper.circuits.simd import Float32, f32, inline, jit

__all__ = ["Int32", "exact_tanh", "log1p", "log1p_into", "tanh_layer"]

Int32 = NDArray[np.int32]
_LN2 = f32(np.log(2.0))
_ROOT_HALF_BITS = np.int32(0x3F3504F3)
_BLOCK = 256


@inline
def exact_tanh(x):  # type: ignore[no-untyped-def]
    """Rational approximant of float32 tanh, a few units in the last place off (coefficients of the Eigen library)."""
    y = min(max(x, f32(-7.9053111)), f32(7.9053111))
    s = y * y
    p = f32(2.00018790482477e-13) + s * f32(-2.76076847742355e-16)
    p = f32(5.12229709037114e-08) + s * (f32(-8.60467152213735e-11) + s * p)
    p = f32(4.89352455891786e-03) + s * (f32(6.37261928875436e-04) + s * (f32(1.48572235717979e-05) + s * p))
    q = f32(1.18534705686654e-04) + s * f32(1.19825839466702e-06)
    q = f32(4.89352518554385e-03) + s * (f32(2.26843463243900e-03) + s * q)
    return y * p / q


@jit
def log1p_into(
    values: Float32, factor: np.float32, work: Float32, bits: Int32, exponent: Float32, out: Float32
) -> None:
    """out = log(1 + factor values) for values >= 0; `bits` are the bits of `work`."""
    for t in range(values.size):
        work[t] = f32(1.0) + factor * values[t]
    for t in range(values.size):
        power = (bits[t] - _ROOT_HALF_BITS) >> np.int32(23)
        exponent[t] = f32(power)
        bits[t] -= power << np.int32(23)
    for t in range(values.size):
        # log m = 2 artanh((m - 1) / (m + 1)) for m from sqrt(1/2) to sqrt(2).
        r = (work[t] - f32(1.0)) / (work[t] + f32(1.0))
        s = r * r
        series = f32(1 / 3) + s * (f32(1 / 5) + s * (f32(1 / 7) + s * f32(1 / 9)))
        out[t] = exponent[t] * _LN2 + f32(2.0) * (r + r * s * series)


@jit
def _log1p(values: Float32, out: Float32) -> None:
    work = np.empty(_BLOCK, np.float32)
    bits = work.view(np.int32)
    exponent = np.empty_like(work)
    for begin in range(0, values.size, _BLOCK):
        end = min(begin + _BLOCK, values.size)
        log1p_into(values[begin:end], f32(1.0), work, bits, exponent, out[begin:end])


def log1p(values: Float32) -> Float32:
    """log(1 + x) of an array of values >= 0, of any shape, within 1e-6 of what it is for large x and 1e-7 for small."""
    flat = np.ascontiguousarray(values, dtype=np.float32).reshape(-1)
    out = np.empty_like(flat)
    _log1p(flat, out)
    return out.reshape(values.shape)


@jit
def _tanh_layer(values: Float32, weight: Float32, bias: Float32, swing: Float32, out: Float32) -> None:
    rows, frames, count = values.shape
    neurons = weight.shape[2]
    inputs = np.empty((count, _BLOCK), np.float32)
    total = np.empty(_BLOCK, np.float32)
    for row in range(rows):
        for begin in range(0, frames, _BLOCK):
            size = min(_BLOCK, frames - begin)
            for t in range(size):
                for i in range(count):
                    inputs[i, t] = values[row, begin + t, i]
            for neuron in range(neurons):
                total[:size] = bias[row, neuron]
                for i in range(count):
                    w = weight[row, i, neuron]
                    x = inputs[i]
                    for t in range(size):
                        total[t] += w * x[t]
                scale = swing[row, neuron]
                for t in range(size):
                    total[t] = scale * exact_tanh(total[t])
                for t in range(size):
                    out[row, begin + t, neuron] = total[t]


def tanh_layer(values: Float32, weight: Float32, bias: Float32, swing: Float32) -> Float32:
    """swing tanh(values . weight + bias) of every frame, by rows.

    Args:
        values: (R, F, n) inputs.
        weight: (R, n, m).
        bias, swing: (R, m).

    Returns:
        (R, F, m).
    """
    out = np.empty((*values.shape[:2], weight.shape[2]), np.float32)
    _tanh_layer(np.ascontiguousarray(values), weight, bias, swing, out)
    return out
