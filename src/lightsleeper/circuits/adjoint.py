"""Hand-written adjoint of the compiled bank: the gradient of the loss with respect to its coefficients.

The forward run leaves its states every few steps; the adjoint runs forward again from there and keeps what it needs
on a tape that fits into the second-level cache. That costs a second forward run and saves the memory of a full
record, whose writing alone would take longer than the run.
"""

# mypy: disable-error-code="untyped-decorator"
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightsleeper.circuits.kernels import (
    BLEED,
    DRIVE,
    FAST,
    FLOOR,
    FORWARD_SIZE,
    GAIN,
    GUESS,
    KEEP,
    M0,
    M1,
    M2,
    M3,
    O1,
    O2,
    O3,
    OFFSET,
    ONE,
    OUTPUT,
    P1,
    P2,
    P3,
    R_FAST,
    R_FAST_DOWN,
    R_FLOOR,
    R_FLOOR_DOWN,
    R_SLOW,
    R_SLOW_DOWN,
    RANGE,
    RATIO,
    SLOW,
    SOLVE,
    STATES,
    THREE,
    TRAINED,
    TWO,
    X1,
    X2,
    X3,
    Q,
    S,
    X,
    add_noise,
    buffer,
    follow,
    give_drives,
    load_columns,
    mean_drives,
    move_inside,
    move_sum,
    prepare,
    solve_output,
    store_columns,
)
from lightsleeper.circuits.simd import BLOCK, LANES, Float32, UInt32, f32, jit, within
from lightsleeper.circuits.vector import above_zero, fused, load, store

__all__ = ["bank_backward", "checkpoint_interval"]

_LONGEST = 16
# Rows of a substep's record, and of a step's.
_INSIDE, _DRIVE, _TANH_O, _TANH_X = (row * LANES for row in range(4))
_HEARD, _FAST, _SLOW, _FLOOR = (row * LANES for row in range(4))
# Rows of the adjoint's buffer: adjoints of the states, then the gradients, then the upstream gradients;
# its groups lie as far apart as those of the forward buffer.
_GRADIENT = STATES * LANES
_UPSTREAM = _GRADIENT + TRAINED * LANES
_HEARD_ADJOINT = _UPSTREAM + 3 * LANES
_OFFSET_OF = _GRADIENT - GAIN
"""From a coefficient's row in the forward buffer to its gradient's row."""


def checkpoint_interval(hop: int) -> int:
    """Steps between two checkpoints: the largest divisor of `hop` up to sixteen."""
    return max(n for n in range(1, _LONGEST + 1) if hop % n == 0)


@within
def _add(adjoint: Float32, at: int, value: Any) -> None:
    """Add to the gradient of the coefficient in the forward buffer's row and column `at`."""
    store(adjoint, _OFFSET_OF + at, load(adjoint, _OFFSET_OF + at) + value)


@within
def _record(work: Float32, base: int, count: int, entry: Float32) -> None:
    """Keep both tanh of a substep; its drive and the internal node before it are kept already."""
    for j in range(0, count, BLOCK):
        k = base + j
        store(entry, _TANH_O + j, load(work, O1 + k))
        store(entry, _TANH_X + j, load(work, X1 + k))


@within
def _record_before(work: Float32, base: int, count: int, slot: int, entry: Float32) -> None:
    """Keep a substep's drive, of row `slot`, and the internal node before it."""
    drive = DRIVE + slot * LANES
    for j in range(0, count, BLOCK):
        k = base + j
        store(entry, _DRIVE + j, load(work, drive + k))
        store(entry, _INSIDE + j, load(work, X + k))


@within
def _record_step(work: Float32, base: int, count: int, entry: Float32) -> None:
    """Advance the envelopes and keep their input, not yet rectified, and their states."""
    for j in range(0, count, BLOCK):
        k = base + j
        store(entry, _HEARD + j, load(work, RANGE + k) * (load(work, OUTPUT + k) + load(work, OFFSET + k)))
    follow(work, base, count)
    for j in range(0, count, BLOCK):
        k = base + j
        store(entry, _FAST + j, load(work, FAST + k))
        store(entry, _SLOW + j, load(work, SLOW + k))
        store(entry, _FLOOR + j, load(work, FLOOR + k))


@within
def _follow_back(work: Float32, adjoint: Float32, base: int, count: int, now: Float32, before: Float32) -> None:
    """Adjoint of `follow`; leaves the adjoint of the output that the detectors heard."""
    one = f32(1.0)
    for j in range(0, count, BLOCK):
        k = base + j
        g_floor = load(adjoint, FLOOR + k) + load(adjoint, _UPSTREAM + 2 * LANES + k)
        e = load(now, _FAST + j) - load(before, _FLOOR + j)
        rising = above_zero(e)
        rate = load(work, R_FLOOR + k) + load(work, R_FLOOR_DOWN + k) * (rising + rising - one)
        _add(adjoint, R_FLOOR + k, g_floor * e * rising)
        _add(adjoint, R_FLOOR_DOWN + k, g_floor * e * (one - rising))
        store(adjoint, FLOOR + k, g_floor * (one - rate))
        store(adjoint, FAST + k, load(adjoint, FAST + k) + g_floor * rate)
    for j in range(0, count, BLOCK):
        k = base + j
        g_slow = load(adjoint, SLOW + k) + load(adjoint, _UPSTREAM + LANES + k)
        e = abs(load(now, _HEARD + j)) - load(before, _SLOW + j)
        rising = above_zero(e)
        rate = load(work, R_SLOW + k) + load(work, R_SLOW_DOWN + k) * (rising + rising - one)
        _add(adjoint, R_SLOW + k, g_slow * e * rising)
        _add(adjoint, R_SLOW_DOWN + k, g_slow * e * (one - rising))
        store(adjoint, SLOW + k, g_slow * (one - rate))
        store(adjoint, _HEARD_ADJOINT + k, g_slow * rate)
    for j in range(0, count, BLOCK):
        k = base + j
        g_fast = load(adjoint, FAST + k) + load(adjoint, _UPSTREAM + k)
        e = abs(load(now, _HEARD + j)) - load(before, _FAST + j)
        rising = above_zero(e)
        rate = load(work, R_FAST + k) + load(work, R_FAST_DOWN + k) * (rising + rising - one)
        _add(adjoint, R_FAST + k, g_fast * e * rising)
        _add(adjoint, R_FAST_DOWN + k, g_fast * e * (one - rising))
        store(adjoint, FAST + k, g_fast * (one - rate))
        rectified = load(adjoint, _HEARD_ADJOINT + k) + g_fast * rate
        sign = f32(2.0) * above_zero(load(now, _HEARD + j)) - one
        store(adjoint, _HEARD_ADJOINT + k, rectified * load(work, RANGE + k) * sign)


@within
def _substep_back(
    work: Float32,
    adjoint: Float32,
    base: int,
    count: int,
    now: Float32,
    one_ago: Float32,
    two_ago: Float32,
    three_ago: Float32,
    heard: bool,
) -> None:
    """Adjoint of a substep, from its record and those of the three before; `heard` by the detectors or not."""
    share = f32(heard)
    one = f32(1.0)
    for j in range(0, count, BLOCK):
        k = base + j
        g_s = load(adjoint, S + k)
        g = load(work, RATIO + k) * g_s
        x0 = load(now, _TANH_X + j)
        g_x0 = load(adjoint, X1 + k) - load(work, M0 + k) * g
        store(adjoint, X1 + k, load(adjoint, X2 + k) - load(work, M1 + k) * g)
        store(adjoint, X2 + k, load(adjoint, X3 + k) - load(work, M2 + k) * g)
        store(adjoint, X3 + k, -load(work, M3 + k) * g)
        g_x = (load(adjoint, X + k) - load(work, BLEED + k) * g_s) + g_x0 * (one - x0 * x0)
        store(adjoint, X + k, g_x)
        t0 = load(now, _TANH_O + j)
        _add(adjoint, M0 + k, fused(t0, g_x, -(x0 * g)))
        _add(adjoint, M1 + k, fused(load(one_ago, _TANH_O + j), g_x, -(load(one_ago, _TANH_X + j) * g)))
        _add(adjoint, M2 + k, fused(load(two_ago, _TANH_O + j), g_x, -(load(two_ago, _TANH_X + j) * g)))
        _add(adjoint, M3 + k, fused(load(three_ago, _TANH_O + j), g_x, -(load(three_ago, _TANH_X + j) * g)))
        _add(adjoint, GAIN + k, g_s * load(now, _DRIVE + j))
    for j in range(0, count, BLOCK):
        k = base + j
        g_x = load(adjoint, X + k)
        t0 = load(now, _TANH_O + j)
        slope = one - t0 * t0
        g_t0 = load(adjoint, O1 + k) + load(work, M0 + k) * g_x
        g_o = fused(g_t0, slope, share * load(adjoint, _HEARD_ADJOINT + k))
        # o + a tanh o = r: do/dr and do/da of the solution.
        g_r = g_o * (one - load(work, SOLVE + k) * load(work, GUESS + k) * slope)
        _add(adjoint, SOLVE + k, -(t0 * g_r))
        _add(adjoint, Q + k, -(load(now, _INSIDE + j) * g_r))
        _add(adjoint, P1 + k, -(load(one_ago, _TANH_O + j) * g_r))
        _add(adjoint, P2 + k, -(load(two_ago, _TANH_O + j) * g_r))
        _add(adjoint, P3 + k, -(load(three_ago, _TANH_O + j) * g_r))
        store(adjoint, O1 + k, (load(adjoint, O2 + k) + load(work, M1 + k) * g_x) - load(work, P1 + k) * g_r)
        store(adjoint, O2 + k, (load(adjoint, O3 + k) + load(work, M2 + k) * g_x) - load(work, P2 + k) * g_r)
        store(adjoint, O3 + k, fused(load(work, M3 + k), g_x, -(load(work, P3 + k) * g_r)))
        store(adjoint, S + k, load(adjoint, S + k) + g_r)
        store(adjoint, X + k, fused(load(work, KEEP + k), g_x, -(load(work, Q + k) * g_r)))


@within
def _start_tape(work: Float32, base: int, count: int, tape: Float32, step_tape: Float32) -> None:
    """The entries before the first: the last three tanh and the envelopes."""
    for j in range(0, count, BLOCK):
        k = base + j
        store(tape[0], _TANH_O + j, load(work, O3 + k))
        store(tape[1], _TANH_O + j, load(work, O2 + k))
        store(tape[2], _TANH_O + j, load(work, O1 + k))
        store(tape[0], _TANH_X + j, load(work, X3 + k))
        store(tape[1], _TANH_X + j, load(work, X2 + k))
        store(tape[2], _TANH_X + j, load(work, X1 + k))
        store(step_tape[0], _FAST + j, load(work, FAST + k))
        store(step_tape[0], _SLOW + j, load(work, SLOW + k))
        store(step_tape[0], _FLOOR + j, load(work, FLOOR + k))


@within
def _record_two(
    work: Float32,
    count3: int,
    slot3: int,
    tape3: Float32,
    step_entry3: Float32,
    base: int,
    count: int,
    slot: int,
    tape: Float32,
    step_entry: Float32,
) -> None:
    """A substep of the columns with three and one of another group, alternating as in `advance`, and their records."""
    middle = 1 if base == TWO else 0
    _record_before(work, THREE, count3, slot3, tape3[slot3])
    _record_before(work, base, count, slot, tape[slot])
    solve_output(work, THREE, count3)
    solve_output(work, base, count)
    move_inside(work, THREE, count3)
    move_inside(work, base, count)
    if slot3 == 1:
        _record_step(work, THREE, count3, step_entry3)
    if slot == middle:
        _record_step(work, base, count, step_entry)
    move_sum(work, THREE, count3, slot3)
    move_sum(work, base, count, slot)
    _record(work, THREE, count3, tape3[slot3])
    _record(work, base, count, tape[slot])


@within
def _back(work: Float32, adjoint: Float32, base: int, count: int, tape: Float32, entry: int, heard: bool) -> None:
    """Adjoint of the substep in an entry of the tape."""
    _substep_back(work, adjoint, base, count, tape[entry], tape[entry - 1], tape[entry - 2], tape[entry - 3], heard)


@within
def _record_step_of_all(
    work: Float32, c1: int, c2: int, c3: int, tapes: Float32, step_tapes: Float32, step: int
) -> None:
    """One step forward of all columns, as in `advance`, kept as the tapes' step `step`."""
    one, two, three = tapes[0, 3 + step :], tapes[1, 3 + 2 * step :], tapes[2, 3 + 3 * step :]
    of_one, of_two, of_three = step_tapes[0, 1 + step], step_tapes[1, 1 + step], step_tapes[2, 1 + step]
    _record_two(work, c3, 0, three, of_three, TWO, c2, 0, two, of_two)
    _record_two(work, c3, 1, three, of_three, ONE, c1, 0, one, of_one)
    _record_two(work, c3, 2, three, of_three, TWO, c2, 1, two, of_two)


@within
def _step_of_all_back(
    work: Float32, adjoint: Float32, c1: int, c2: int, c3: int, tapes: Float32, step_tapes: Float32, step: int
) -> None:
    """Adjoint of the step that `_record_step_of_all` kept as `step`."""
    _follow_back(work, adjoint, THREE, c3, step_tapes[2, 1 + step], step_tapes[2, step])
    _follow_back(work, adjoint, TWO, c2, step_tapes[1, 1 + step], step_tapes[1, step])
    _follow_back(work, adjoint, ONE, c1, step_tapes[0, 1 + step], step_tapes[0, step])
    _back(work, adjoint, THREE, c3, tapes[2], 5 + 3 * step, False)
    _back(work, adjoint, TWO, c2, tapes[1], 4 + 2 * step, True)
    _back(work, adjoint, THREE, c3, tapes[2], 4 + 3 * step, True)
    _back(work, adjoint, ONE, c1, tapes[0], 3 + step, True)
    _back(work, adjoint, THREE, c3, tapes[2], 3 + 3 * step, False)
    _back(work, adjoint, TWO, c2, tapes[1], 3 + 2 * step, False)


@jit
def bank_backward(
    drive: Float32,
    counts: NDArray[np.int64],
    lanes: int,
    row_of: NDArray[np.int64],
    coefficients: Float32,
    noise: Float32,
    hop: int,
    checkpoints: Float32,
    saved_words: UInt32,
    output_gradient: Float32,
    gradient: Float32,
) -> None:
    """Adjoint of `bank_forward` with respect to the trained coefficients.

    Args:
        drive, counts, lanes, row_of, coefficients, noise, hop: as given to `bank_forward`.
        checkpoints, saved_words: left by it, one for every `checkpoint_interval` steps.
        output_gradient: (F, 3, W) gradient of the loss with respect to the outputs.
        gradient: (16, W) written: gradient with respect to the first 16 coefficients.
    """
    steps = output_gradient.shape[0] * hop
    parts = checkpoints.shape[0]
    interval = steps // parts
    noisy = np.any(noise > 0)
    per_hop = f32(1.0 / hop)
    means = np.empty(6 * drive.shape[0], dtype=np.float32)
    c1, c2, c3 = counts[0], counts[1], counts[2]
    groups = ((0, ONE, c1, 0), (1, TWO, c2, c1), (2, THREE, c3, c1 + c2))
    r1, r2, r3 = row_of[:c1], row_of[c1 : c1 + c2], row_of[c1 + c2 :]
    words = np.empty(saved_words.shape[1], dtype=np.uint32)
    w1, w2, w3 = words[:c1], words[c1 : c1 + c2], words[c1 + c2 :]
    tapes = np.zeros((3, 3 + interval * 3, 4 * LANES), dtype=np.float32)
    step_tapes = np.zeros((3, 1 + interval, 4 * LANES), dtype=np.float32)
    work, adjoint = buffer(3 * FORWARD_SIZE), buffer(3 * FORWARD_SIZE)
    for _, base, count, first in groups:
        prepare(work, base, count, coefficients, noise, first)
    for part in range(parts - 1, -1, -1):
        words[:] = saved_words[part]
        for group, base, count, first in groups:
            load_columns(work, base, count, checkpoints[part], first)
            _start_tape(work, base, count, tapes[group], step_tapes[group])
        for i in range(interval):
            mean_drives(drive, part * interval + i, means)
            give_drives(work, ONE, c1, 1, means, lanes, r1)
            give_drives(work, TWO, c2, 2, means, lanes, r2)
            give_drives(work, THREE, c3, 3, means, lanes, r3)
            _record_step_of_all(work, c1, c2, c3, tapes, step_tapes, i)
            if noisy:
                add_noise(work, ONE, w1, c1)
                add_noise(work, TWO, w2, c2)
                add_noise(work, THREE, w3, c3)
        for i in range(interval - 1, -1, -1):
            step = part * interval + i
            if step % hop == hop - 1:
                for _, base, count, first in groups:
                    for j in range(3):
                        for k in range(count):
                            upstream = output_gradient[step // hop, j, first + k] * per_hop
                            adjoint[base + _UPSTREAM + j * LANES + k] = upstream
            _step_of_all_back(work, adjoint, c1, c2, c3, tapes, step_tapes, i)
    for _, base, count, first in groups:
        store_columns(adjoint, base + _GRADIENT, count, gradient, first)
