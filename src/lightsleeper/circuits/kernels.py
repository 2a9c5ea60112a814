"""Compiled time loop of the filter bank and its envelope detectors, with noise.

The band-pass C Vo' = Gin f(Vin) - Gd f(Vo) - G1 f(Vx), C Vx' = G2 f(Vo) (f = VL tanh(./VL)) is stepped in
x = Vx / VL and s = (Vo + Gd/G2 Vx) / VL, in which the damping current drops out: s' = drive - g1 tanh x,
x' = g2 tanh o. The two are staggered by half a step and integrated by four-point Adams rules (staggered
Adams-Bashforth: M. Ghrist, B. Fornberg and T. Driscoll, SIAM J. Numer. Anal. 38(3), 2000), whose weights are fitted so
that the small-signal poles are exact. One tanh a node and substep, and one that solves o + a tanh o = r; the drive
enters as its mean over the substep, exactly.

All columns advance together, eight at a time (`vector`), in three groups: bands that need one, two and three substeps a
step. The loops over a group are short on purpose: in one long loop the chain of operations of a column would fill the
processor's window. Everything within a step is put in place (`simd.within`), for 23 calls a step took as long as
eight columns; and where the counts are literals its loops vanish, and what one hands to the next stays in a register.
The readable version in `reference.py` states the same recursion; tests hold the two together.
"""

# mypy: disable-error-code="untyped-decorator"
import numpy as np
from numpy.typing import NDArray

from lightsleeper.circuits.simd import (
    BLOCK,
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
    within,
)
from lightsleeper.circuits.vector import fused, load, splat, store

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
ONE, TWO, THREE = (group * FORWARD_SIZE for group in range(3))
"""Where the columns with one, two and three substeps a step begin in the buffer."""


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


@within
def add_noise(work: Float32, base: int, words: UInt32, count: int) -> None:
    """Noise of one step into both integrators; triangular draws, which the band-pass sums to a normal output."""
    group = work[base : base + FORWARD_SIZE]
    for k in range(count):
        first = _xorshift(words[k])
        second = _xorshift(first)
        words[k] = second
        inside = halves(second) * group[SCALE + LANES + k]
        group[X + k] += inside
        group[S + k] += halves(first) * group[SCALE + k] + group[Q + k] * inside


@within
def solve_output(work: Float32, base: int, count: int) -> None:
    """Output at the beginning of a substep, o + a tanh o = s - q x - ..., of `count` columns."""
    for k in range(base, base + count, BLOCK):
        past = load(work, P3 + k) * load(work, O3 + k)
        past = fused(load(work, P2 + k), load(work, O2 + k), past)
        past = fused(load(work, P1 + k), load(work, O1 + k), past)
        r = (load(work, S + k) - load(work, Q + k) * load(work, X + k)) - past
        store(work, OUTPUT + k, r - load(work, SOLVE + k) * tanh_low(r * load(work, GUESS + k)))


@within
def move_inside(work: Float32, base: int, count: int) -> None:
    """Internal node x over one substep, from its middle to the next middle."""
    for k in range(base, base + count, BLOCK):
        t1 = load(work, O1 + k)
        t2 = load(work, O2 + k)
        older = fused(load(work, M2 + k), t2, load(work, M3 + k) * load(work, O3 + k))
        moved = fused(load(work, KEEP + k), load(work, X + k), load(work, M1 + k) * t1) + older
        t0 = tanh(load(work, OUTPUT + k))
        store(work, X + k, moved + load(work, M0 + k) * t0)
        store(work, O3 + k, t2)
        store(work, O2 + k, t1)
        store(work, O1 + k, t0)


@within
def move_sum(work: Float32, base: int, count: int, slot: int) -> None:
    """Sum node s over one substep, driven by drive row `slot`."""
    drive = DRIVE + slot * LANES
    for k in range(base, base + count, BLOCK):
        x = load(work, X + k)
        x1 = load(work, X1 + k)
        x2 = load(work, X2 + k)
        older = fused(load(work, M2 + k), x2, load(work, M3 + k) * load(work, X3 + k))
        past = fused(load(work, M1 + k), x1, older)
        leaked = load(work, BIAS + k) - load(work, BLEED + k) * x
        driven = (load(work, S + k) + load(work, GAIN + k) * load(work, drive + k)) + leaked
        x0 = tanh(x)
        store(work, S + k, driven - load(work, RATIO + k) * (past + load(work, M0 + k) * x0))
        store(work, X3 + k, x2)
        store(work, X2 + k, x1)
        store(work, X1 + k, x0)


@within
def follow(work: Float32, base: int, count: int) -> None:
    """Envelopes of `count` columns over one step, driven by the output of the substep at hand, rectified.

    One instant a step: a mean over the step would smooth the ripple that an asymmetric detector answers to.
    `prepare` has put mean and half difference of the rates in their places (`tracked`).
    """
    for k in range(base, base + count, BLOCK):
        o = load(work, OUTPUT + k)
        u = load(work, RANGE + k) * abs(o + load(work, OFFSET + k))
        fast = tracked(load(work, FAST + k), u, load(work, R_FAST + k), load(work, R_FAST_DOWN + k))
        slow = tracked(load(work, SLOW + k), u, load(work, R_SLOW + k), load(work, R_SLOW_DOWN + k))
        floor = tracked(load(work, FLOOR + k), fast, load(work, R_FLOOR + k), load(work, R_FLOOR_DOWN + k))
        store(work, FAST + k, fast)
        store(work, SLOW + k, slow)
        store(work, FLOOR + k, floor)
        store(work, HEARD + k, o)
        store(work, SUM + k, load(work, SUM + k) + fast)
        store(work, SUM + LANES + k, load(work, SUM + LANES + k) + slow)
        store(work, SUM + 2 * LANES + k, load(work, SUM + 2 * LANES + k) + floor)


@within
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


@within
def give_drives(
    work: Float32, base: int, count: int, substeps: int, means: Float32, lanes: int, row_of: NDArray[np.int64]
) -> None:
    """Copy the mean drive of each substep to the columns that hear it."""
    rows = means.size // 6
    source = rows * (5 if substeps == 1 else 3 if substeps == 2 else 0)
    for slot in range(substeps):
        target, of = base + DRIVE + slot * LANES, source + slot * rows
        if lanes == 1:
            for k in range(0, count, BLOCK):
                store(work, target + k, splat(means[of]))
        elif lanes == 0:
            for k in range(count):
                work[target + k] = means[of + row_of[k]]
        else:
            row = 0
            for k in range(0, count, BLOCK):
                store(work, target + k, load(means, of + row))
                row = row + BLOCK if row + BLOCK < lanes else 0


@jit
def load_columns(work: Float32, row: int, count: int, values: Float32, first: int) -> None:
    """Copy rows of `values` (n, width), from column `first` on, into the buffer from `row` on.

    By loops, because the adjoint does it every few steps and copies of slices took a tenth of its time; unsigned, see
    the head of `simd`.
    """
    for j in range(u64(values.shape[0])):
        for k in range(u64(count)):
            work[u64(row) + j * u64(LANES) + k] = values[j, u64(first) + k]


@jit
def store_columns(work: Float32, row: int, count: int, values: Float32, first: int) -> None:
    """Inverse of `load_columns`."""
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
def prepare(work: Float32, base: int, count: int, coefficients: Float32, noise: Float32, first: int) -> None:
    """Load what a group of columns keeps for good."""
    load_columns(work, base + COEF, count, coefficients, first)
    load_columns(work, base + SCALE, count, noise, first)
    for k in range(base, base + count):
        work[GUESS + k] = f32(1.0) / (f32(1.0) + work[SOLVE + k])
        work[SCALE + k] *= NOISE_UNIT
        work[SCALE + LANES + k] *= NOISE_UNIT
    for row in (R_FAST, R_SLOW, R_FLOOR):
        halve_rates(work, base + row, count)


@within
def advance(work: Float32, c1: int, c2: int, c3: int) -> None:
    """One step of all columns: c1 of one substep, c2 of two, c3 of three. The detectors hear the middle one.

    The short loops of the groups alternate, so that one group works while another's last results are on their way.
    """
    solve_output(work, THREE, c3)
    solve_output(work, TWO, c2)
    move_inside(work, THREE, c3)
    move_inside(work, TWO, c2)
    move_sum(work, THREE, c3, 0)
    move_sum(work, TWO, c2, 0)
    solve_output(work, THREE, c3)
    solve_output(work, ONE, c1)
    move_inside(work, THREE, c3)
    move_inside(work, ONE, c1)
    follow(work, THREE, c3)
    follow(work, ONE, c1)
    move_sum(work, THREE, c3, 1)
    move_sum(work, ONE, c1, 0)
    solve_output(work, THREE, c3)
    solve_output(work, TWO, c2)
    move_inside(work, THREE, c3)
    move_inside(work, TWO, c2)
    follow(work, TWO, c2)
    move_sum(work, THREE, c3, 2)
    move_sum(work, TWO, c2, 1)


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


@within
def _run(
    c1: int,
    c2: int,
    c3: int,
    work: Float32,
    drive: Float32,
    lanes: int,
    row_of: NDArray[np.int64],
    noisy: bool,
    words: UInt32,
    hop: int,
    outputs: Float32,
    trace: Float32,
    checkpoints: Float32,
    saved_words: UInt32,
) -> None:
    """The time loop of `bank_forward`; where the counts are literals, a step is one piece of code without loops."""
    steps = outputs.shape[0] * hop
    keep = trace.shape[0] == steps
    saved = checkpoints.shape[0]
    interval = steps // max(saved, 1)
    means = np.empty(6 * drive.shape[0], dtype=np.float32)
    groups = ((ONE, c1, 0), (TWO, c2, c1), (THREE, c3, c1 + c2))
    w1, w2, w3 = words[:c1], words[c1 : c1 + c2], words[c1 + c2 :]
    r1, r2, r3 = row_of[:c1], row_of[c1 : c1 + c2], row_of[c1 + c2 :]
    t = 0
    for piece in range(max(saved, 1)):
        if saved:
            for base, count, first in groups:
                store_columns(work, base, count, checkpoints[piece], first)
            saved_words[piece] = words
        for _ in range(interval):
            mean_drives(drive, t, means)
            give_drives(work, ONE, c1, 1, means, lanes, r1)
            give_drives(work, TWO, c2, 2, means, lanes, r2)
            give_drives(work, THREE, c3, 3, means, lanes, r3)
            advance(work, c1, c2, c3)
            if noisy:
                add_noise(work, ONE, w1, c1)
                add_noise(work, TWO, w2, c2)
                add_noise(work, THREE, w3, c3)
            if keep:
                for base, count, first in groups:
                    for k in range(count):
                        trace[t, 0, first + k] = work[base + HEARD + k] * work[base + RANGE + k]
                    store_columns(work, base + FAST, count, trace[t, 1:], first)
            t += 1
            if t % hop == 0:
                for base, count, first in groups:
                    finish_frame(work, base + SUM, count, outputs[t // hop - 1], first, f32(1.0 / hop))


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
    c1, c2, c3 = counts[0], counts[1], counts[2]
    work = buffer(3 * FORWARD_SIZE)
    groups = ((ONE, c1, 0), (TWO, c2, c1), (THREE, c3, c1 + c2))
    for base, count, first in groups:
        prepare(work, base, count, coefficients, noise, first)
        load_columns(work, base, count, state, first)
    noisy = bool(np.any(noise > 0))
    # The groups of one sound through 16 bands and through 8, as literals.
    arguments = (work, drive, lanes, row_of, noisy, words, hop, outputs, trace, checkpoints, saved_words)
    if c1 == BLOCK and c2 == 2 * BLOCK and c3 == BLOCK:
        _run(BLOCK, 2 * BLOCK, BLOCK, *arguments)
    elif c1 == BLOCK and c2 == BLOCK and c3 == BLOCK:
        _run(BLOCK, BLOCK, BLOCK, *arguments)
    else:
        _run(c1, c2, c3, *arguments)
    for base, count, first in groups:
        store_columns(work, base, count, state, first)
