"""Compiled time loop of the filter bank and its envelope detectors, with noise.

The band-pass C Vo' = Gin f(Vin) - Gd f(Vo) - G1 f(Vx), C Vx' = G2 f(Vo) (f = VL tanh(./VL)) is stepped in
x = Vx / VL and s = (Vo + Gd/G2 Vx) / VL, in which the damping current drops out: s' = drive - g1 tanh x,
x' = g2 tanh o. The two are staggered by half a step and integrated by four-point Adams rules (staggered
Adams-Bashforth: M. Ghrist, B. Fornberg and T. Driscoll, SIAM J. Numer. Anal. 38(3), 2000), whose weights are fitted so
that the small-signal poles are exact. One tanh a node and substep, and one that solves o + a tanh o = r; the drive
enters as its mean over the substep, exactly.

All columns advance together, in three buffers: bands that need one, two and three substeps a step. The loops are short
on purpose: in one long loop the chain of operations of a column would fill the processor's window.
The readable version in `reference.py` states the same recursion; tests hold the two together.
"""

# mypy: disable-error-code="untyped-decorator"
import numpy as np
from numpy.typing import NDArray

from lightsleeper.circuits.simd import (
    LANES,
    NOISE_UNIT,
    Float32,
    UInt32,
    f32,
    halves,
    inline,
    jit,
    tanh,
    tracked,
    u32,
    u64,
)

__all__ = ["COEFFICIENTS", "COEFFICIENT_NAMES", "STATES", "STATE_NAMES", "TRACED", "TRAINED", "bank_forward"]

STATE_NAMES = ("s", "x", "o1", "o2", "o3", "x1", "x2", "x3", "fast", "slow", "floor")
"""States of a column: the two integrators, their last three tanh each, and the envelopes in V."""
STATES = len(STATE_NAMES)
COEFFICIENT_NAMES = (
    *("drive", "q", "past1", "past2", "past3", "solve", "move0", "move1", "move2", "move3"),
    *("fast_attack", "fast_decay", "slow_attack", "slow_decay", "floor_rise", "floor_fall"),
    *("ratio", "keep", "bleed", "bias", "offset", "range_v"),
)
"""Per column, the band-pass (`poles.band_rules`), the envelopes' fractions per step, and what makes a chip real."""
COEFFICIENTS = len(COEFFICIENT_NAMES)
TRAINED = 16
"""The first so many have a gradient."""
TRACED = 4
"""Traced per step: band-pass output and the three envelopes, in V."""

# Rows of the work buffer; each row is LANES wide.
S, X, O1, O2, O3, X1, X2, X3, FAST, SLOW, FLOOR = (row * LANES for row in range(STATES))
SUM = STATES * LANES
OUTPUT = SUM + 3 * LANES
HEARD = OUTPUT + LANES
DRIVE = HEARD + LANES
NOISE = DRIVE + 3 * LANES
SCALE = NOISE + 2 * LANES
COEF = SCALE + 2 * LANES
GAIN, Q, P1, P2, P3, SOLVE, M0, M1, M2, M3 = (COEF + row * LANES for row in range(10))
R_FAST, R_FAST_DOWN, R_SLOW, R_SLOW_DOWN, R_FLOOR, R_FLOOR_DOWN = (COEF + row * LANES for row in range(10, 16))
RATIO, KEEP, BLEED, BIAS, OFFSET, RANGE = (COEF + row * LANES for row in range(16, COEFFICIENTS))
GUESS = COEF + COEFFICIENTS * LANES
FORWARD_SIZE = GUESS + LANES


@inline
def tanh_low(x):  # type: ignore[no-untyped-def]
    """Pade [3/2] approximant of tanh, clamped at 3: only a first guess of tanh o comes from it."""
    y = min(max(x, f32(-3.0)), f32(3.0))
    s = y * y
    return y * (f32(27.0) + s) / (f32(27.0) + f32(9.0) * s)


@inline
def _xorshift(word):  # type: ignore[no-untyped-def]
    """One step of Marsaglia's xorshift32 (J. Stat. Software 8(14), 2003)."""
    word = u32(word ^ u32(word << u32(13)))
    word = u32(word ^ u32(word >> u32(17)))
    return u32(word ^ u32(word << u32(5)))


@jit
def add_noise(work: Float32, words: UInt32, count: int) -> None:
    """Noise of one step into both integrators; triangular draws, which the band-pass sums to a normal output."""
    for k in range(count):
        first = _xorshift(words[k])
        second = _xorshift(first)
        words[k] = second
        inside = halves(second) * work[SCALE + LANES + k]
        work[X + k] += inside
        work[S + k] += halves(first) * work[SCALE + k] + work[Q + k] * inside


@jit
def solve_output(work: Float32, count: int) -> None:
    """Output at the beginning of a substep, o + a tanh o = s - q x - ..., of `count` columns."""
    for k in range(count):
        past = work[P1 + k] * work[O1 + k] + (work[P2 + k] * work[O2 + k] + work[P3 + k] * work[O3 + k])
        r = (work[S + k] - work[Q + k] * work[X + k]) - past
        o = r - work[SOLVE + k] * tanh_low(r * work[GUESS + k])
        work[OUTPUT + k] = o


@jit
def move_inside(work: Float32, count: int) -> None:
    """Internal node x over one substep, from its middle to the next middle."""
    for k in range(count):
        t1 = work[O1 + k]
        t2 = work[O2 + k]
        t3 = work[O3 + k]
        moved = (work[KEEP + k] * work[X + k] + work[M1 + k] * t1) + (work[M2 + k] * t2 + work[M3 + k] * t3)
        t0 = tanh(work[OUTPUT + k])
        work[X + k] = moved + work[M0 + k] * t0
        work[O3 + k] = t2
        work[O2 + k] = t1
        work[O1 + k] = t0


@inline
def _move_sum(work, count, drive):  # type: ignore[no-untyped-def]
    # The row is a literal where this is inlined: only then does the loop become SIMD code.
    for k in range(count):
        x = work[X + k]
        x1 = work[X1 + k]
        x2 = work[X2 + k]
        past = work[M1 + k] * x1 + (work[M2 + k] * x2 + work[M3 + k] * work[X3 + k])
        driven = (work[S + k] + work[GAIN + k] * work[drive + k]) + (work[BIAS + k] - work[BLEED + k] * x)
        x0 = tanh(x)
        work[S + k] = driven - work[RATIO + k] * (past + work[M0 + k] * x0)
        work[X3 + k] = x2
        work[X2 + k] = x1
        work[X1 + k] = x0


@jit
def move_sum(work: Float32, count: int, slot: int) -> None:
    """Sum node s over one substep, driven by drive row `slot`."""
    if slot == 0:
        _move_sum(work, count, DRIVE)
    elif slot == 1:
        _move_sum(work, count, DRIVE + LANES)
    else:
        _move_sum(work, count, DRIVE + 2 * LANES)


@jit
def follow(work: Float32, count: int) -> None:
    """Envelopes of `count` columns over one step, driven by the output of the substep at hand, rectified.

    One instant a step: a mean over the step would smooth the ripple that an asymmetric detector answers to.
    `prepare` has put mean and half difference of the rates in their places (`tracked`).
    """
    for k in range(count):
        o = work[OUTPUT + k]
        u = work[RANGE + k] * abs(o + work[OFFSET + k])
        fast = tracked(work[FAST + k], u, work[R_FAST + k], work[R_FAST_DOWN + k])
        slow = tracked(work[SLOW + k], u, work[R_SLOW + k], work[R_SLOW_DOWN + k])
        floor = tracked(work[FLOOR + k], fast, work[R_FLOOR + k], work[R_FLOOR_DOWN + k])
        work[FAST + k] = fast
        work[SLOW + k] = slow
        work[FLOOR + k] = floor
        work[HEARD + k] = o
        work[SUM + k] += fast
        work[SUM + LANES + k] += slow
        work[SUM + 2 * LANES + k] += floor


@jit
def mean_drives(drive: Float32, step: int, means: Float32) -> None:
    """Means of the rows' drive over the step's thirds, halves and whole, one after the other, into `means` (6 R,).

    The halves are those of the parabola with the three means.
    """
    rows = drive.shape[0]
    for r in range(rows):
        for j in range(3):
            means[j * rows + r] = drive[r, 3 * step + j]
    # Unsigned: see the head of `simd`.
    stride = u64(rows)
    for r in range(stride):
        a, b, c = means[r], means[stride + r], means[stride + stride + r]
        tilt = (c - a) * f32(1.0 / 24.0)
        first = (f32(2.0) * a + b) * f32(1.0 / 3.0) - tilt
        second = (b + f32(2.0) * c) * f32(1.0 / 3.0) + tilt
        means[u64(3) * stride + r] = first
        means[u64(4) * stride + r] = second
        means[u64(5) * stride + r] = f32(0.5) * (first + second)


@jit
def give_drives(
    work: Float32, count: int, substeps: int, means: Float32, lanes: int, row_of: NDArray[np.int64]
) -> None:
    """Copy the mean drive of each substep to the columns that hear it."""
    rows = means.size // 6
    source = rows * (5 if substeps == 1 else 3 if substeps == 2 else 0)
    for slot in range(substeps):
        target, of = u64(DRIVE + slot * LANES), u64(source + slot * rows)
        if lanes == 1:
            value = means[of]
            for k in range(u64(count)):
                work[target + k] = value
        elif lanes == 0:
            for k in range(count):
                work[target + u64(k)] = means[of + u64(row_of[k])]
        elif count > 0:
            for k in range(u64(lanes)):
                work[target + k] = means[of + k]
            done = lanes
            while done < count:  # what is there is doubled
                more = min(done, count - done)
                after = target + u64(done)
                for k in range(u64(more)):
                    work[after + k] = work[target + k]
                done += more


@jit
def load(work: Float32, row: int, count: int, values: Float32, first: int) -> None:
    """Copy rows of `values` (n, width), from column `first` on, into the buffer from `row` on."""
    for j in range(values.shape[0]):
        work[row + j * LANES : row + j * LANES + count] = values[j, first : first + count]


@jit
def store(work: Float32, row: int, count: int, values: Float32, first: int) -> None:
    """Inverse of `load`."""
    for j in range(values.shape[0]):
        values[j, first : first + count] = work[row + j * LANES : row + j * LANES + count]


@jit
def halve_rates(work: Float32, row: int, count: int) -> None:
    """Put mean and half difference of the rates up and down, in `row` and the next, in their places."""
    for k in range(count):
        up, down = work[row + k], work[row + LANES + k]
        work[row + k] = f32(0.5) * (up + down)
        work[row + LANES + k] = f32(0.5) * (up - down)


@jit
def prepare(work: Float32, count: int, coefficients: Float32, noise: Float32, first: int) -> None:
    """Load what a group of columns keeps for good."""
    load(work, COEF, count, coefficients, first)
    load(work, SCALE, count, noise, first)
    for k in range(count):
        work[GUESS + k] = f32(1.0) / (f32(1.0) + work[SOLVE + k])
        work[SCALE + k] *= NOISE_UNIT
        work[SCALE + LANES + k] *= NOISE_UNIT
    for row in (R_FAST, R_SLOW, R_FLOOR):
        halve_rates(work, row, count)


@jit
def advance(one: Float32, c1: int, two: Float32, c2: int, three: Float32, c3: int) -> None:
    """One step of all columns: c1 of one substep, c2 of two, c3 of three. The detectors hear the middle one.

    The short loops of the groups alternate, so that one group works while another's last results are on their way.
    """
    solve_output(three, c3)
    solve_output(two, c2)
    move_inside(three, c3)
    move_inside(two, c2)
    move_sum(three, c3, 0)
    move_sum(two, c2, 0)
    solve_output(three, c3)
    solve_output(one, c1)
    move_inside(three, c3)
    move_inside(one, c1)
    follow(three, c3)
    follow(one, c1)
    move_sum(three, c3, 1)
    move_sum(one, c1, 0)
    solve_output(three, c3)
    solve_output(two, c2)
    move_inside(three, c3)
    move_inside(two, c2)
    follow(two, c2)
    move_sum(three, c3, 2)
    move_sum(two, c2, 1)


@jit
def finish_frame(work: Float32, row: int, count: int, output: Float32, first: int, per_hop: np.float32) -> None:
    """Write the frame's means of the envelopes, whose sums are in `row` and the next two, and start the next sums."""
    for j in range(3):
        for k in range(count):
            output[j, first + k] = work[row + j * LANES + k] * per_hop
            work[row + j * LANES + k] = f32(0.0)


@jit
def buffer(size: int) -> Float32:
    """Zeroed buffer on a cache line: vectors that straddle two lines cost a tenth of the speed."""
    raw = np.zeros(size + 16, dtype=np.float32)
    misplaced = (raw.ctypes.data // 4) % 16
    return raw[(16 - misplaced) % 16 :][:size]


@jit
def bank_forward(
    drive: Float32,
    counts: NDArray[np.int64],
    lanes: int,
    row_of: NDArray[np.int64],
    coefficients: Float32,
    noise: Float32,
    state: Float32,
    words: UInt32,
    hop: int,
    outputs: Float32,
    trace: Float32,
    checkpoints: Float32,
    saved_words: UInt32,
) -> None:
    """Run the bank over `drive` and write hop means of the three envelopes.

    Args:
        drive: (R, >= 3 T) mean drive over the thirds of each step, in units of the tail current.
        counts: (3,) columns with one, two, three substeps a step.
        lanes, row_of: as `Columns` states them; W is the sum of the counts.
        coefficients: (22, W) in the order of `COEFFICIENT_NAMES`.
        noise: (2, W) rms noise per step at output and internal node, in linear ranges; all zero switches it off.
        state: (11, W) states, updated in place.
        words: (W,) generator words, updated in place.
        hop: steps per output frame; T is F times it.
        outputs: (F, 3, W) hop means of fast, slow, floor in V, written.
        trace: (T, 4, W) output as the detectors hear it and envelopes after each step in V; (0, 4, W) to keep none.
        checkpoints: (n, 11, W) states at the beginning of every n-th part of the time, written; n may be 0.
        saved_words: (n, W) generator words there, written.
    """
    steps = outputs.shape[0] * hop
    noisy = np.any(noise > 0)
    keep = trace.shape[0] == steps
    saved = checkpoints.shape[0]
    interval = steps // max(saved, 1)
    means = np.empty(6 * drive.shape[0], dtype=np.float32)
    one, two, three = buffer(FORWARD_SIZE), buffer(FORWARD_SIZE), buffer(FORWARD_SIZE)
    c1, c2, c3 = counts[0], counts[1], counts[2]
    groups = ((one, c1, 0), (two, c2, c1), (three, c3, c1 + c2))
    for work, count, first in groups:
        prepare(work, count, coefficients, noise, first)
        load(work, 0, count, state, first)
    w1, w2, w3 = words[:c1], words[c1 : c1 + c2], words[c1 + c2 :]
    r1, r2, r3 = row_of[:c1], row_of[c1 : c1 + c2], row_of[c1 + c2 :]
    t = 0
    for piece in range(max(saved, 1)):
        if saved:
            for work, count, first in groups:
                store(work, 0, count, checkpoints[piece], first)
            saved_words[piece] = words
        for _ in range(interval):
            mean_drives(drive, t, means)
            give_drives(one, c1, 1, means, lanes, r1)
            give_drives(two, c2, 2, means, lanes, r2)
            give_drives(three, c3, 3, means, lanes, r3)
            advance(one, c1, two, c2, three, c3)
            if noisy:
                add_noise(one, w1, c1)
                add_noise(two, w2, c2)
                add_noise(three, w3, c3)
            if keep:
                for work, count, first in groups:
                    for k in range(count):
                        trace[t, 0, first + k] = work[HEARD + k] * work[RANGE + k]
                    store(work, FAST, count, trace[t, 1:], first)
            t += 1
            if t % hop == 0:
                for work, count, first in groups:
                    finish_frame(work, SUM, count, outputs[t // hop - 1], first, f32(1.0 / hop))
    for work, count, first in groups:
        store(work, 0, count, state, first)
