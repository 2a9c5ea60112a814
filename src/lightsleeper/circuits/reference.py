"""The first stage's recursion as one reads it: float64, exact tanh, one signal or one band at a time, no tricks.

Sections are those of the analog circuits reference. Rates are fractions per step (`rates.frame_fraction`). The
compiled kernels and `FrontEndStream` are held to these functions by tests; nothing else uses them.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lightsleeper.circuits.built import Built, build, filter_offsets
from lightsleeper.circuits.chip import Chip
from lightsleeper.circuits.frontend import FrontEnd
from lightsleeper.circuits.rates import (
    CONTROL_RATE_HZ,
    frame_fraction,
    interpolation_taps,
    oversampling_for,
    substeps_for,
)

__all__ = [
    "band_pass",
    "column",
    "couple",
    "first_stage",
    "follower",
    "hop_means",
    "interpolate",
    "logarithm",
    "mean_drive",
    "means_over",
    "network",
]

Float64 = NDArray[np.float64]


def interpolate(input_v: Float64, taps: Float64) -> Float64:
    """Raise the rate by zero stuffing and the low-pass of polyphase `taps` (phases, n): (T,) -> (T x phases,)."""
    phases = taps.shape[0]
    stuffed = np.zeros(len(input_v) * phases)
    stuffed[::phases] = input_v
    return np.convolve(stuffed, taps.T.reshape(-1))[: len(stuffed)]


def couple(input_v: Float64, *, leak: float) -> Float64:
    """AC coupling, one pole that is bilinear in the limit of slow leaks: (T,) V."""
    output_v = np.empty(len(input_v))
    coupled_v = 0.0
    for t, v in enumerate(input_v):
        output_v[t] = (1.0 - leak / 2.0) * (v - coupled_v)
        coupled_v += leak * (v - coupled_v)
    return output_v


def mean_drive(amplified: Float64, *, clip: float, points: int) -> Float64:
    """Mean current of the input transconductors over every substep, in units of their tail current.

    The soft-clipped tanh(c tanh(v / c)) of the cubic through four samples, averaged over `points` midpoints between the
    inner two; for each sample the last substep whose cubic is complete, so that it lags by two.

    Args:
        amplified: (N,) voltage at the transconductors in linear ranges, were there no clipping.
        clip: output swing of the amplifier in linear ranges.
        points: points a substep.
    """
    a, b, c, d = (np.concatenate([np.zeros(3), amplified])[i : i + len(amplified)] for i in range(4))
    total = np.zeros(len(amplified))
    for t in (np.arange(points) + 0.5) / points:
        v = (
            -a * t * (t - 1.0) * (t - 2.0) / 6.0
            + b * (t + 1.0) * (t - 1.0) * (t - 2.0) / 2.0
            - c * (t + 1.0) * t * (t - 2.0) / 2.0
            + d * (t + 1.0) * t * (t - 1.0) / 6.0
        )
        total += np.tanh(clip * np.tanh(v / clip)) / points
    return total


def means_over(drive: Float64, substeps: int) -> Float64:
    """Means over thirds of a step (3 N,) -> over each of `substeps` (N, substeps); halves of the parabola for two."""
    thirds = drive.reshape(-1, 3)
    if substeps == 3:
        return thirds
    if substeps == 1:
        return np.asarray(thirds.mean(axis=1, keepdims=True))
    first, middle, last = thirds.T
    tilt = (last - first) / 24.0
    return np.stack([(2.0 * first + middle) / 3.0 - tilt, (middle + 2.0 * last) / 3.0 + tilt], axis=1)


def band_pass(
    drive: Float64, rule: Sequence[float], state: Sequence[float], *, bias: float = 0.0
) -> tuple[Float64, Float64]:
    """Two-integrator band-pass (2.3) by the fitted Adams rules of `poles.band_rules`, in linear ranges.

    Args:
        drive: (N,) mean drive over every substep.
        rule: the 13 coefficients.
        state: s, x, and the last three tanh of output and internal node, newest first.
        bias: constant current into the output, added in every substep.

    Returns:
        Output at the beginning of every substep (N,), and states after each (N, 8).
    """
    gain, q, p1, p2, p3, solve, m0, m1, m2, m3, ratio, keep, bleed = rule
    s, x, o1, o2, o3, x1, x2, x3 = state
    outputs, states = np.empty(len(drive)), np.empty((len(drive), 8))
    for t, u in enumerate(drive):
        r = s - q * x - p1 * o1 - p2 * o2 - p3 * o3
        o = r - solve * _tanh_guess(r / (1.0 + solve))
        o0 = math.tanh(o)
        x = keep * x + m0 * o0 + m1 * o1 + m2 * o2 + m3 * o3
        x0 = math.tanh(x)
        s += gain * u + bias - ratio * (m0 * x0 + m1 * x1 + m2 * x2 + m3 * x3) - bleed * x
        o1, o2, o3, x1, x2, x3 = o0, o1, o2, x0, x1, x2
        outputs[t], states[t] = o, (s, x, o1, o2, o3, x1, x2, x3)
    return outputs, states


def _tanh_guess(x: float) -> float:
    y = min(max(x, -3.0), 3.0)
    return y * (27.0 + y * y) / (27.0 + 9.0 * y * y)


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
    drive: Float64,
    rule: Sequence[float],
    rates: Sequence[float],
    *,
    range_v: float,
    substeps: int,
    hop: int,
    start: Sequence[float] = (0.0,) * 11,
    bias: float = 0.0,
    offset: float = 0.0,
) -> tuple[Float64, Float64]:
    """One band over (3 N,) thirds of steps, from the states of `kernels.STATE_NAMES`.

    `bias` as in `band_pass`; `offset` is added to what the detectors hear, in linear ranges.

    Returns:
        Hop means of fast envelope, slow envelope and floor (N / hop, 3), and output in the middle substep, which the
        detectors hear, with the envelopes after each step (N, 4), in V.
    """
    outputs, _ = band_pass(means_over(drive, substeps).reshape(-1), rule, start[:8], bias=bias)
    heard_v = range_v * outputs.reshape(-1, substeps)[:, substeps // 2]
    rectified_v = np.abs(heard_v + range_v * offset)
    fast_v = follower(rectified_v, rates[0], rates[1], start_v=start[8])
    slow_v = follower(rectified_v, rates[2], rates[3], start_v=start[9])
    floor_v = follower(fast_v, rates[4], rates[5], start_v=start[10])
    means = np.stack([hop_means(v, hop) for v in (fast_v, slow_v, floor_v)], axis=1)
    return means, np.stack([heard_v, fast_v, slow_v, floor_v], axis=1)


def logarithm(input_v: Float64, *, knee_v: float, slope_v: float) -> Float64:
    """Diode-connected transistor: slope ln(1 + v / knee), in V (2.6); it conducts one way."""
    return np.asarray(slope_v * np.log(1.0 + np.maximum(input_v, 0.0) / knee_v))


def network(input_v: Float64, built: Built) -> tuple[Float64, Float64]:
    """Neurons with time constants and output neuron (2.7): inputs (F, I) -> neurons (F, N) and score (F,), in V."""
    parameters, range_v = built.frontend.network, built.frontend.process.range_v
    hidden_v = np.empty((len(input_v), parameters.neurons))
    for i in range(parameters.neurons):
        sums_v = input_v @ parameters.hidden_weight[i] + parameters.hidden_bias_v[i]
        rate = frame_fraction(float(parameters.neuron_s[i]), CONTROL_RATE_HZ)
        excitation_v = built.neuron_gain[i] * range_v * np.tanh(sums_v / range_v) + built.neuron_offset_v[i]
        hidden_v[:, i] = follower(excitation_v, rate, rate)
    sums_v = hidden_v @ parameters.output_weight + parameters.output_bias_v
    return hidden_v, built.output_gain * range_v * np.tanh(sums_v / range_v)


def first_stage(
    frontend: FrontEnd, microphone_v: Float64, rate_hz: float, *, chip: Chip | None = None
) -> dict[str, Float64]:
    """The noiseless first stage over one signal of whole frames; nets and shapes as in `FrontEnd.simulate`.

    Without a chip it is nominal.
    """
    built = build(frontend, chip or Chip(temperature_c=frontend.process.temperature_c, effects=()))
    frontend, bank = built.frontend, frontend.bank
    factor = oversampling_for(rate_hz, max(bank.center_hz))
    step_rate_hz = rate_hz * factor
    bank_range_v = bank.range_v(frontend.process)
    leak = frame_fraction(1.0 / (2.0 * math.pi * frontend.amplifier.corner_hz), rate_hz)
    wide_v = couple(microphone_v, leak=leak)
    for taps in interpolation_taps(factor):
        wide_v = interpolate(wide_v, taps.astype(np.float64))
    amplified = frontend.amplifier.gain / bank_range_v * wide_v
    drive = mean_drive(amplified, clip=frontend.amplifier.clip_v / bank_range_v, points=16)
    substeps = substeps_for(np.asarray(bank.center_hz), step_rate_hz)
    rules = bank.step_rules(1.0 / (step_rate_hz * substeps), ratios=built.ratios)
    biases, offsets = filter_offsets(built, step_rate_hz * substeps)
    times_s = frontend.envelopes.times_s()
    hop = round(step_rate_hz / CONTROL_RATE_HZ)
    means, filtered = [], []
    for band in range(bank.bands):
        rates = [frame_fraction(float(time_s), step_rate_hz) for time_s in times_s[:, band]]
        envelopes_v, traced_v = column(
            drive,
            rules[:, band].tolist(),
            rates,
            range_v=bank_range_v,
            substeps=int(substeps[band]),
            hop=hop,
            bias=float(biases[band]),
            offset=float(offsets[band]),
        )
        means.append(envelopes_v)
        filtered.append(traced_v[:, 0] - built.filter_offset_v[3, band])
    nets = {name: np.array([m[:, i] for m in means]) for i, name in enumerate(("fast", "slow", "floor"))}
    logs = {name: np.empty_like(values) for name, values in nets.items()}
    for kind, (name, values_v) in enumerate(nets.items()):
        for band in range(bank.bands):
            i = kind * bank.bands + band
            heard_v = values_v[band] + built.envelope_offset_v[i]
            log_v = logarithm(heard_v, knee_v=float(built.knee_v[i]), slope_v=frontend.process.slope_v)
            logs[name][band] = log_v + built.log_offset_v[i]
    hidden_v, score_v = network(np.concatenate(list(logs.values())).T, built)
    rise, fall = (frame_fraction(t, CONTROL_RATE_HZ) for t in (frontend.integrator.rise_s, frontend.integrator.fall_s))
    # Over a frame the score moves from its last value to its next; before the first one the neurons are at 0 V.
    range_v = frontend.process.range_v
    at_rest_v = built.output_gain * range_v * math.tanh(frontend.network.output_bias_v / range_v)
    ends_v = np.concatenate([[at_rest_v], score_v])
    integral_v = follower((ends_v[1:] + ends_v[:-1]) / 2.0 + built.integrator_offset_v, rise, fall)
    return {
        **nets,
        **{f"log_{name}": values for name, values in logs.items()},
        "filter": np.array(filtered),
        "hidden": hidden_v.T,
        "score": score_v,
        "integral": integral_v,
    }
