"""The first stage as one reads its equations: float64, exact tanh, one signal or one band at a time, no tricks.

Sections are those of the analog circuits reference. Rates are fractions per step (`rates.frame_fraction`). The
compiled kernels and `FrontEndStream` are held to these functions by tests; nothing else uses them.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lightsleeper.circuits.blocks import NeuralNetwork
from lightsleeper.circuits.frontend import FrontEnd
from lightsleeper.circuits.rates import CONTROL_RATE_HZ, frame_fraction, interpolation_taps, oversampling_for

__all__ = [
    "amplifier",
    "band_pass",
    "column",
    "first_stage",
    "follower",
    "hop_means",
    "interpolate",
    "logarithm",
    "network",
    "transconductor",
]

Float64 = NDArray[np.float64]


def transconductor(difference_v: float, *, range_v: float) -> float:
    """Output current of a differential pair over its small-signal Gm, VL tanh(dV / VL), in V (2.2)."""
    return range_v * math.tanh(difference_v / range_v)


def interpolate(input_v: Float64, taps: Float64) -> Float64:
    """Raise the rate by zero stuffing and the low-pass of polyphase `taps` (phases, n): (T,) -> (T x phases,)."""
    phases = taps.shape[0]
    stuffed = np.zeros(len(input_v) * phases)
    stuffed[::phases] = input_v
    return np.convolve(stuffed, taps.T.reshape(-1))[: len(stuffed)]


def amplifier(input_v: Float64, *, gain: float, clip_v: float, leak: float) -> Float64:
    """AC-coupled amplifier with soft clipping: v_out = clip tanh(gain (v_in - coupled) / clip), in V."""
    output_v = np.empty(len(input_v))
    coupled_v = 0.0
    for t, v in enumerate(input_v):
        difference_v = v - coupled_v
        coupled_v += leak * difference_v
        output_v[t] = clip_v * math.tanh(gain * difference_v / clip_v)
    return output_v


def band_pass(
    drive_v: Float64, coefficients: Sequence[float], *, range_v: float, start_v: Sequence[float] = (0.0, 0.0)
) -> tuple[Float64, Float64]:
    """Two-integrator band-pass (2.3) by semi-implicit Euler (3), driven by f(v_in): output and internal node, in V.

    o += a f(v_in) - d f(o) - g f(x); then x += g f(o); `coefficients` are a, d, g.
    """
    a, d, g = coefficients
    o, x = start_v
    output_v, internal_v = np.empty(len(drive_v)), np.empty(len(drive_v))
    for t, drive in enumerate(drive_v):
        damping = d * transconductor(o, range_v=range_v)
        o = o + a * drive - damping - g * transconductor(x, range_v=range_v)
        x = x + g * transconductor(o, range_v=range_v)
        output_v[t], internal_v[t] = o, x
    return output_v, internal_v


def follower(input_v: Float64, rise: float, fall: float, *, start_v: float = 0.0) -> Float64:
    """Asymmetric one-pole (2.5 a), V += rise (u - V) for u > V, else fall (u - V): envelope, integrator or neuron."""
    output_v = np.empty(len(input_v))
    v = start_v
    for t, u in enumerate(input_v):
        v += (rise if u > v else fall) * (u - v)
        output_v[t] = v
    return output_v


def hop_means(values: Float64, hop: int) -> Float64:
    """Means over `hop` steps: (T,) -> (T / hop,)."""
    return np.asarray(values.reshape(-1, hop).mean(axis=1))


def column(
    drive_v: Float64, coefficients: Sequence[float], *, range_v: float, hop: int, start_v: Sequence[float] = (0.0,) * 5
) -> tuple[Float64, Float64]:
    """One band over (T,) steps, from the nine coefficients and five states of `kernels.bank_forward`.

    Returns:
        Hop means of fast envelope, slow envelope and floor (T / hop, 3), and the states (T, 5), in V.
    """
    output_v, internal_v = band_pass(drive_v, coefficients[:3], range_v=range_v, start_v=start_v[:2])
    rectified_v = np.abs(output_v)
    fast_v = follower(rectified_v, coefficients[3], coefficients[4], start_v=start_v[2])
    slow_v = follower(rectified_v, coefficients[5], coefficients[6], start_v=start_v[3])
    floor_v = follower(fast_v, coefficients[7], coefficients[8], start_v=start_v[4])
    means = np.stack([hop_means(v, hop) for v in (fast_v, slow_v, floor_v)], axis=1)
    return means, np.stack([output_v, internal_v, fast_v, slow_v, floor_v], axis=1)


def logarithm(input_v: Float64, *, knee_v: float, slope_v: float) -> Float64:
    """Diode-connected transistor: slope ln(1 + v / knee), in V (2.6)."""
    return np.asarray(slope_v * np.log(1.0 + input_v / knee_v))


def network(input_v: Float64, parameters: NeuralNetwork, *, range_v: float) -> tuple[Float64, Float64]:
    """Neurons with time constants and output neuron (2.7): inputs (F, I) -> neurons (F, N) and score (F,), in V."""
    hidden_v = np.empty((len(input_v), parameters.neurons))
    for i in range(parameters.neurons):
        sums_v = input_v @ parameters.hidden_weight[i] + parameters.hidden_bias_v[i]
        rate = frame_fraction(float(parameters.neuron_s[i]), CONTROL_RATE_HZ)
        hidden_v[:, i] = follower(range_v * np.tanh(sums_v / range_v), rate, rate)
    sums_v = hidden_v @ parameters.output_weight + parameters.output_bias_v
    return hidden_v, range_v * np.tanh(sums_v / range_v)


def first_stage(frontend: FrontEnd, microphone_v: Float64, rate_hz: float) -> dict[str, Float64]:
    """The noiseless first stage over one signal of whole frames; nets and shapes as in `FrontEnd.simulate`."""
    factor = oversampling_for(rate_hz, max(frontend.bank.center_hz))
    step_rate_hz = rate_hz * factor
    range_v, bank_range_v = frontend.process.range_v, frontend.bank.range_v(frontend.process)
    amplified_v = amplifier(
        interpolate(microphone_v, interpolation_taps(factor).astype(np.float64)),
        gain=frontend.amplifier.gain,
        clip_v=frontend.amplifier.clip_v,
        leak=frame_fraction(1.0 / (2.0 * math.pi * frontend.amplifier.corner_hz), step_rate_hz),
    )
    drive_v = np.array([transconductor(v, range_v=bank_range_v) for v in amplified_v])
    filters = frontend.bank.step_coefficients(1.0 / step_rate_hz)
    times_s = frontend.envelopes.times_s()
    means, filtered = [], []
    for band in range(frontend.bank.bands):
        followers = [frame_fraction(float(time_s), step_rate_hz) for time_s in times_s[:, band]]
        coefficients = [*filters[:, band], *followers]
        hop = round(step_rate_hz / CONTROL_RATE_HZ)
        envelopes_v, states_v = column(drive_v, coefficients, range_v=bank_range_v, hop=hop)
        means.append(envelopes_v)
        filtered.append(states_v[:, 0])
    nets = {name: np.array([m[:, i] for m in means]) for i, name in enumerate(("fast", "slow", "floor"))}
    logs = {
        f"log_{name}": logarithm(v, knee_v=frontend.compressor.knee_v, slope_v=frontend.process.slope_v)
        for name, v in nets.items()
    }
    hidden_v, score_v = network(np.concatenate(list(logs.values())).T, frontend.network, range_v=range_v)
    rates = (frame_fraction(t, CONTROL_RATE_HZ) for t in (frontend.integrator.rise_s, frontend.integrator.fall_s))
    integral_v = follower(score_v, *rates)
    return {
        **nets,
        **logs,
        "filter": np.array(filtered),
        "hidden": hidden_v.T,
        "score": score_v,
        "integral": integral_v,
    }
