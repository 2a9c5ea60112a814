"""Compiled time loop of the linear first stage: moments of the input, and exact steps with detectors behind them.

Columns are chips x bands, in tiles that fit into the first-level cache; all of a call hear one sound.
`linear_reference.py` states the same recursion in float64; tests hold the two together.
"""

# mypy: disable-error-code="untyped-decorator"
import numpy as np

from lightsleeper.circuits.amplify import filled_eights, interpolate, shift
from lightsleeper.circuits.kernels import buffer, finish_frame, halve_rates, load_columns, store_columns
from lightsleeper.circuits.linear_rules import MOMENTS
from lightsleeper.circuits.simd import LANES, Float32, f32, jit, tracked

__all__ = ["COEFFICIENT_NAMES", "STATE_NAMES", "TILE", "TRACED", "input_moments", "linear_forward"]

STATE_NAMES = ("output", "inside", "coupled", "fast", "slow", "floor")
"""States of a column, in V: Vo, Vx, the AC coupling, and the three envelopes."""
COEFFICIENT_NAMES = (
    *("oo", "ox", "o_mean", "o_tilt", "o_bend", "xo", "xx", "x_mean", "x_tilt", "x_bend", "leak"),
    *("fast_attack", "fast_decay", "slow_attack", "slow_decay", "floor_rise", "floor_fall"),
    "offset",
)
"""Per column, the step (`linear_rules`), the fraction by which the coupling follows, the envelopes' fractions, and the
rectifier's offset in V."""
TRACED = 4
"""Traced per step: band-pass output and the three envelopes, in V."""
TILE = 128
"""Columns that advance together."""

# Rows of the work buffer; each row is LANES wide.
OUTPUT, INSIDE, COUPLED, FAST, SLOW, FLOOR = (row * LANES for row in range(len(STATE_NAMES)))
SUM = len(STATE_NAMES) * LANES
COEF = SUM + 3 * LANES
OO, OX, O_MEAN, O_TILT, O_BEND, XO, XX, X_MEAN, X_TILT, X_BEND, LEAK = (COEF + row * LANES for row in range(11))
R_FAST, R_FAST_DOWN, R_SLOW, R_SLOW_DOWN, R_FLOOR, R_FLOOR_DOWN = (COEF + row * LANES for row in range(11, 17))
OFFSET = COEF + 17 * LANES
SIZE = COEF + len(COEFFICIENT_NAMES) * LANES


@jit
def input_moments(
    input_v: Float32,
    taps: Float32,
    moment_taps: Float32,
    frame: int,
    history: Float32,
    step_history: Float32,
    moments: Float32,
) -> None:
    """Mean, tilt and curvature of the interpolated input over every step.

    Args:
        input_v: (T,) microphone voltage, T a multiple of `frame`.
        taps: (factor, n) polyphase filter from the samples to the steps, n a multiple of 8.
        moment_taps: (3, m) filters from there to the moments, m a multiple of 8.
        frame: samples per frame.
        history: (n - 1,) last inputs, updated in place.
        step_history: (m - 1,) last of them interpolated to the steps, updated in place.
        moments: (T * factor, 3) written, in V.
    """
    factor, count = taps.shape
    step_count = moment_taps.shape[1]
    steps = frame * factor
    line = np.empty(count - 1 + frame, dtype=np.float32)
    finer = np.empty(step_count - 1 + steps, dtype=np.float32)
    filled, moments_filled = filled_eights(taps), filled_eights(moment_taps)
    between = np.empty(factor * frame, dtype=np.float32)
    filtered = np.empty(MOMENTS * steps, dtype=np.float32)
    line[: count - 1] = history
    finer[: step_count - 1] = step_history
    for begin in range(0, input_v.size, frame):
        line[count - 1 :] = input_v[begin : begin + frame]
        interpolate(line, taps, filled, 0, between)
        for phase in range(factor):
            for t in range(frame):
                finer[step_count - 1 + t * factor + phase] = between[phase * frame + t]
        interpolate(finer, moment_taps, moments_filled, 0, filtered)
        for kind in range(MOMENTS):
            for t in range(steps):
                moments[begin * factor + t, kind] = filtered[kind * steps + t]
        shift(line, count - 1)
        shift(finer, step_count - 1)
    history[:] = line[: count - 1]
    step_history[:] = finer[: step_count - 1]


@jit
def _advance(work: Float32, count: int, mean: np.float32, tilt: np.float32, bend: np.float32) -> None:
    """One step of `count` columns under an input with these moments; the rates are those of `halve_rates`."""
    for k in range(count):
        o, x, coupled = work[OUTPUT + k], work[INSIDE + k], work[COUPLED + k]
        v = mean - coupled
        to_o = (work[O_MEAN + k] * v + work[O_TILT + k] * tilt) + (work[O_BEND + k] * bend + work[OX + k] * x)
        to_x = (work[X_MEAN + k] * v + work[X_TILT + k] * tilt) + (work[X_BEND + k] * bend + work[XX + k] * x)
        work[COUPLED + k] = coupled + work[LEAK + k] * v
        work[INSIDE + k] = to_x + work[XO + k] * o
        o = to_o + work[OO + k] * o
        work[OUTPUT + k] = o
        u = abs(o + work[OFFSET + k])
        fast = tracked(work[FAST + k], u, work[R_FAST + k], work[R_FAST_DOWN + k])
        slow = tracked(work[SLOW + k], u, work[R_SLOW + k], work[R_SLOW_DOWN + k])
        floor = tracked(work[FLOOR + k], fast, work[R_FLOOR + k], work[R_FLOOR_DOWN + k])
        work[FAST + k] = fast
        work[SLOW + k] = slow
        work[FLOOR + k] = floor
        work[SUM + k] += fast
        work[SUM + LANES + k] += slow
        work[SUM + 2 * LANES + k] += floor


@jit
def _prepare(work: Float32, count: int, coefficients: Float32, state: Float32, first: int) -> None:
    """Load a tile of columns."""
    load_columns(work, 0, count, state, first)
    load_columns(work, COEF, count, coefficients, first)
    for row in (R_FAST, R_SLOW, R_FLOOR):
        halve_rates(work, row, count)


@jit
def linear_forward(
    moments: Float32, coefficients: Float32, state: Float32, hop: int, outputs: Float32, trace: Float32
) -> None:
    """Run all columns over one sound and write hop means of the three envelopes.

    Args:
        moments: (T, 3) of `input_moments`.
        coefficients: (18, W) in the order of `COEFFICIENT_NAMES`, W a multiple of 8.
        state: (6, W) in the order of `STATE_NAMES`, updated in place.
        hop: steps per output frame; T is F times it.
        outputs: (F, 3, W) hop means of fast, slow, floor in V, written.
        trace: (T, 4, W) output and envelopes after each step in V, written; (0, 4, W) to keep none.
    """
    width = state.shape[1]
    keep = trace.shape[0] > 0
    work = buffer(SIZE)
    for first in range(0, width, TILE):
        count = min(TILE, width - first)
        _prepare(work, count, coefficients, state, first)
        t = 0
        for frame in range(outputs.shape[0]):
            for _ in range(hop):
                _advance(work, count, moments[t, 0], moments[t, 1], moments[t, 2])
                if keep:
                    store_columns(work, OUTPUT, count, trace[t, :1], first)
                    store_columns(work, FAST, count, trace[t, 1:], first)
                t += 1
            finish_frame(work, SUM, count, outputs[frame], first, f32(1.0 / hop))
        store_columns(work, 0, count, state, first)
