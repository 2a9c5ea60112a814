"""Compiled forward pass of the wake network over windows, and its hand-written adjoint, for training alone.

Time runs innermost, so that all but the one-poles becomes SIMD code. `WakeNetwork.forward` states the same readably;
tests hold the two together.
"""

# mypy: disable-error-code="untyped-decorator"
import numba
import numpy as np
from numpy.typing import NDArray

from lightsleeper.circuits.network_kernel import exact_tanh, log1p_into

__all__ = ["network_backward", "network_forward"]

Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]
_jit = numba.njit(fastmath=True, nogil=True, cache=True, error_model="numpy")

f32 = np.float32


@_jit
def _settle(values: Float32, rate: np.float32, out: Float32) -> None:
    """One-pole low-pass that starts at the first value."""
    state = values[0]
    keep = f32(1.0) - rate
    for t in range(values.size):
        state = keep * state + rate * values[t]
        out[t] = state


@_jit
def _settle_backward(
    values: Float32, rate: np.float32, settled: Float32, upstream: Float32, gradient: Float32
) -> np.float32:
    """Writes the gradient of the values and returns that of the rate; the start is a constant."""
    carried = f32(0.0)
    of_rate = f32(0.0)
    keep = f32(1.0) - rate
    for t in range(values.size - 1, -1, -1):
        carried += upstream[t]
        before = settled[t - 1] if t > 0 else values[0]
        of_rate += carried * (values[t] - before)
        gradient[t] = carried * rate
        carried *= keep
    return of_rate


@_jit
def _mean_with_last(values: Float32, out: Float32) -> None:
    """Mean of each value and the one before; the first has none and stays."""
    out[0] = values[0]
    for t in range(1, values.size):
        out[t] = f32(0.5) * (values[t] + values[t - 1])


@_jit
def _mean_with_last_backward(gradient: Float32) -> None:
    """Turns the gradient of the means into that of the values, in place."""
    last = gradient.size - 1
    following = f32(0.0)
    for t in range(last, 0, -1):
        half = f32(0.5) * gradient[t]
        gradient[t] = half + following
        following = half
    gradient[0] += following


@_jit
def _dot(one: Float32, other: Float32) -> np.float32:
    total = f32(0.0)
    for t in range(one.size):
        total += one[t] * other[t]
    return total


@_jit
def network_forward(
    envelopes_v: Float32,
    index: Int64,
    factors: Float32,
    frames: Int64,
    weight: Float32,
    bias: Float32,
    rate: Float32,
    output_weight: Float32,
    output: Float32,
    inputs: Float32,
    driven: Float32,
    hidden: Float32,
    fired: Float32,
    scores: Float32,
) -> None:
    """Scores of the windows `index`.

    Args:
        envelopes_v: (windows, inputs, T) envelopes in V.
        index: (n,) which windows.
        factors: (n, inputs) gain over knee of the logarithm, 1/V.
        frames: (n,) how many frames count; what lies behind is not computed.
        weight, bias, rate: (neurons, inputs), (neurons,), (neurons,) of the hidden neurons on log1p of the envelopes.
        output_weight: (neurons,).
        output: (2,) output bias and the integrator's rate.
        inputs, driven, hidden, fired: (n, inputs, T), (n, neurons, T), (n, neurons, T), (n, T) written for the adjoint.
        scores: (n, T) written up to `frames`.
    """
    neurons, count = weight.shape
    work = np.empty(scores.shape[1], np.float32)
    bits = work.view(np.int32)
    exponent = np.empty_like(work)
    for k in range(index.size):
        end = frames[k]
        source = envelopes_v[index[k]]
        for i in range(count):
            log1p_into(source[i, :end], factors[k, i], work, bits, exponent, inputs[k, i])
        for h in range(neurons):
            line = driven[k, h]
            line[:end] = bias[h]
            for i in range(count):
                w = weight[h, i]
                x = inputs[k, i]
                for t in range(end):
                    line[t] += w * x[t]
            for t in range(end):
                line[t] = exact_tanh(line[t])
            _settle(line[:end], rate[h], hidden[k, h])
        out = fired[k]
        out[:end] = output[0]
        for h in range(neurons):
            v = output_weight[h]
            x = hidden[k, h]
            for t in range(end):
                out[t] += v * x[t]
        for t in range(end):
            out[t] = exact_tanh(out[t])
        _mean_with_last(out[:end], work)
        _settle(work[:end], output[1], scores[k])


@_jit
def network_backward(
    frames: Int64,
    weight_shape: tuple[int, int],
    rate: Float32,
    output_weight: Float32,
    output: Float32,
    inputs: Float32,
    driven: Float32,
    hidden: Float32,
    fired: Float32,
    scores: Float32,
    upstream: Float32,
    weight_gradient: Float32,
    bias_gradient: Float32,
    rate_gradient: Float32,
    output_weight_gradient: Float32,
    output_gradient: Float32,
) -> None:
    """Adjoint of `network_forward`: adds to the five gradients, given that of the scores, `upstream` (n, T)."""
    neurons, count = weight_shape
    one = np.empty(scores.shape[1], np.float32)
    other = np.empty_like(one)
    for k in range(frames.size):
        end = frames[k]
        out = fired[k, :end]
        at_output = one[:end]
        at_neuron = other[:end]
        _mean_with_last(out, other)
        output_gradient[1] += _settle_backward(other[:end], output[1], scores[k], upstream[k], at_output)
        _mean_with_last_backward(at_output)
        for t in range(end):
            at_output[t] *= f32(1.0) - out[t] * out[t]
        output_gradient[0] += at_output.sum()
        for h in range(neurons):
            line = driven[k, h, :end]
            output_weight_gradient[h] += _dot(at_output, hidden[k, h])
            for t in range(end):
                at_neuron[t] = output_weight[h] * at_output[t]
            # In place: the sweep reads each upstream value before it writes there.
            rate_gradient[h] += _settle_backward(line, rate[h], hidden[k, h], at_neuron, at_neuron)
            for t in range(end):
                at_neuron[t] *= f32(1.0) - line[t] * line[t]
            bias_gradient[h] += at_neuron.sum()
            for i in range(count):
                weight_gradient[h, i] += _dot(at_neuron, inputs[k, i])
