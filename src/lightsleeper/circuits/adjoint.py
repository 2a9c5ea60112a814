"""Hand-written adjoint of the compiled bank: the gradient of the loss with respect to its coefficients.

The forward run leaves its states every few steps; the adjoint runs forward again from there and keeps what it needs
on a tape that fits into the cache. That costs a second forward run and saves the memory of a full record, whose
writing alone would take longer than the run.
"""

# mypy: disable-error-code="untyped-decorator"
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
    TRAINED,
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
)
from lightsleeper.circuits.simd import LANES, Float32, UInt32, f32, jit

__all__ = ["bank_backward", "checkpoint_interval"]

_LONGEST = 16
# Rows of a substep's record, and of a step's.
_OUTPUT, _INSIDE, _TANH_O, _TANH_X = (row * LANES for row in range(4))
_RECTIFIED, _FAST, _SLOW, _FLOOR = (row * LANES for row in range(4))
# Rows of the adjoint's buffer: adjoints of the states, then the gradients, then the upstream gradients.
_GRADIENT = STATES * LANES
_UPSTREAM = _GRADIENT + TRAINED * LANES
_RECTIFIED_ADJOINT = _UPSTREAM + 3 * LANES
_SIZE = _RECTIFIED_ADJOINT + LANES
_OFFSET_OF = _GRADIENT - GAIN
"""From a coefficient's row in the forward buffer to its gradient's row."""


def checkpoint_interval(hop: int) -> int:
    """Steps between two checkpoints: the largest divisor of `hop` up to sixteen."""
    return max(n for n in range(1, _LONGEST + 1) if hop % n == 0)


@jit
def _record(work: Float32, count: int, entry: Float32) -> None:
    """Keep a substep's output, the internal node before it is kept already, and both tanh."""
    for k in range(count):
        entry[_OUTPUT + k] = work[OUTPUT + k]
        entry[_TANH_O + k] = work[O1 + k]
        entry[_TANH_X + k] = work[X1 + k]


@jit
def _record_inside(work: Float32, count: int, entry: Float32) -> None:
    for k in range(count):
        entry[_INSIDE + k] = work[X + k]


@jit
def _record_step(work: Float32, count: int, entry: Float32) -> None:
    """Advance the envelopes and keep their input and their states."""
    for k in range(count):
        entry[_RECTIFIED + k] = work[RANGE + k] * abs(work[OUTPUT + k] + work[OFFSET + k])
    follow(work, 0, count)
    for k in range(count):
        entry[_FAST + k] = work[FAST + k]
        entry[_SLOW + k] = work[SLOW + k]
        entry[_FLOOR + k] = work[FLOOR + k]


@jit
def _follow_back(work: Float32, adjoint: Float32, count: int, now: Float32, before: Float32) -> None:
    """Adjoint of `follow`; leaves the adjoint of the magnitude of the output that the detectors heard."""
    one = f32(1.0)
    for k in range(count):
        g_floor = adjoint[FLOOR + k] + adjoint[_UPSTREAM + 2 * LANES + k]
        e = now[_FAST + k] - before[_FLOOR + k]
        rising = f32(e > 0)
        rate = work[R_FLOOR + k] + work[R_FLOOR_DOWN + k] * (rising + rising - one)
        adjoint[_OFFSET_OF + R_FLOOR + k] += g_floor * e * rising
        adjoint[_OFFSET_OF + R_FLOOR_DOWN + k] += g_floor * e * (one - rising)
        adjoint[FLOOR + k] = g_floor * (one - rate)
        adjoint[FAST + k] += g_floor * rate
    for k in range(count):
        g_slow = adjoint[SLOW + k] + adjoint[_UPSTREAM + LANES + k]
        e = now[_RECTIFIED + k] - before[_SLOW + k]
        rising = f32(e > 0)
        rate = work[R_SLOW + k] + work[R_SLOW_DOWN + k] * (rising + rising - one)
        adjoint[_OFFSET_OF + R_SLOW + k] += g_slow * e * rising
        adjoint[_OFFSET_OF + R_SLOW_DOWN + k] += g_slow * e * (one - rising)
        adjoint[SLOW + k] = g_slow * (one - rate)
        adjoint[_RECTIFIED_ADJOINT + k] = g_slow * rate
    for k in range(count):
        g_fast = adjoint[FAST + k] + adjoint[_UPSTREAM + k]
        e = now[_RECTIFIED + k] - before[_FAST + k]
        rising = f32(e > 0)
        rate = work[R_FAST + k] + work[R_FAST_DOWN + k] * (rising + rising - one)
        adjoint[_OFFSET_OF + R_FAST + k] += g_fast * e * rising
        adjoint[_OFFSET_OF + R_FAST_DOWN + k] += g_fast * e * (one - rising)
        adjoint[FAST + k] = g_fast * (one - rate)
        adjoint[_RECTIFIED_ADJOINT + k] = (adjoint[_RECTIFIED_ADJOINT + k] + g_fast * rate) * work[RANGE + k]


@jit
def _substep_back(
    work: Float32,
    adjoint: Float32,
    count: int,
    drive: Float32,
    now: Float32,
    one_ago: Float32,
    two_ago: Float32,
    three_ago: Float32,
    heard: bool,
) -> None:
    """Adjoint of `_substep`; `heard` by the detectors or not."""
    share = f32(heard)
    one = f32(1.0)
    for k in range(count):
        g_s = adjoint[S + k]
        g = work[RATIO + k] * g_s
        x0 = now[_TANH_X + k]
        g_x0 = adjoint[X1 + k] - work[M0 + k] * g
        adjoint[X1 + k] = adjoint[X2 + k] - work[M1 + k] * g
        adjoint[X2 + k] = adjoint[X3 + k] - work[M2 + k] * g
        adjoint[X3 + k] = -work[M3 + k] * g
        g_x = (adjoint[X + k] - work[BLEED + k] * g_s) + g_x0 * (one - x0 * x0)
        adjoint[X + k] = g_x
        t0 = now[_TANH_O + k]
        adjoint[_OFFSET_OF + M0 + k] += t0 * g_x - x0 * g
        adjoint[_OFFSET_OF + M1 + k] += one_ago[_TANH_O + k] * g_x - one_ago[_TANH_X + k] * g
        adjoint[_OFFSET_OF + M2 + k] += two_ago[_TANH_O + k] * g_x - two_ago[_TANH_X + k] * g
        adjoint[_OFFSET_OF + M3 + k] += three_ago[_TANH_O + k] * g_x - three_ago[_TANH_X + k] * g
        adjoint[_OFFSET_OF + GAIN + k] += g_s * drive[k]
    for k in range(count):
        g_x = adjoint[X + k]
        t0 = now[_TANH_O + k]
        slope = one - t0 * t0
        g_t0 = adjoint[O1 + k] + work[M0 + k] * g_x
        sign = f32(2.0) * f32(now[_OUTPUT + k] + work[OFFSET + k] > 0) - one
        g_o = g_t0 * slope + share * adjoint[_RECTIFIED_ADJOINT + k] * sign
        # o + a tanh o = r: do/dr and do/da of the solution.
        g_r = g_o * (one - work[SOLVE + k] * work[GUESS + k] * slope)
        adjoint[_OFFSET_OF + SOLVE + k] -= t0 * g_r
        adjoint[_OFFSET_OF + Q + k] -= now[_INSIDE + k] * g_r
        adjoint[_OFFSET_OF + P1 + k] -= one_ago[_TANH_O + k] * g_r
        adjoint[_OFFSET_OF + P2 + k] -= two_ago[_TANH_O + k] * g_r
        adjoint[_OFFSET_OF + P3 + k] -= three_ago[_TANH_O + k] * g_r
        adjoint[O1 + k] = (adjoint[O2 + k] + work[M1 + k] * g_x) - work[P1 + k] * g_r
        adjoint[O2 + k] = (adjoint[O3 + k] + work[M2 + k] * g_x) - work[P2 + k] * g_r
        adjoint[O3 + k] = work[M3 + k] * g_x - work[P3 + k] * g_r
        adjoint[S + k] += g_r
        adjoint[X + k] = work[KEEP + k] * g_x - work[Q + k] * g_r


@jit
def _start_tape(work: Float32, count: int, tape: Float32, step_tape: Float32) -> None:
    """The entries before the first: the last three tanh and the envelopes."""
    for k in range(count):
        tape[0, _TANH_O + k] = work[O3 + k]
        tape[1, _TANH_O + k] = work[O2 + k]
        tape[2, _TANH_O + k] = work[O1 + k]
        tape[0, _TANH_X + k] = work[X3 + k]
        tape[1, _TANH_X + k] = work[X2 + k]
        tape[2, _TANH_X + k] = work[X1 + k]
        step_tape[0, _FAST + k] = work[FAST + k]
        step_tape[0, _SLOW + k] = work[SLOW + k]
        step_tape[0, _FLOOR + k] = work[FLOOR + k]


@jit
def _substep(work: Float32, count: int, slot: int, heard: bool, step_entry: Float32) -> None:
    """One substep, driven by drive row `slot`; `heard` by the detectors or not."""
    solve_output(work, 0, count)
    move_inside(work, 0, count)
    if heard:
        _record_step(work, count, step_entry)
    move_sum(work, 0, count, slot)


@jit
def _record_again(
    work: Float32, count: int, substeps: int, drives: Float32, tape: Float32, step_entry: Float32
) -> None:
    """One step forward, its drive and what the adjoint needs of every substep kept."""
    for slot in range(substeps):
        for k in range(count):
            drives[slot, k] = work[DRIVE + slot * LANES + k]
        _record_inside(work, count, tape[slot])
        _substep(work, count, slot, slot == substeps // 2, step_entry)
        _record(work, count, tape[slot])


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
    drives = np.empty((interval * 3, LANES), dtype=np.float32)
    tape = np.zeros((3 + interval * 3, 4 * LANES), dtype=np.float32)
    step_tape = np.zeros((1 + interval, 4 * LANES), dtype=np.float32)
    first = 0
    for group in range(3):
        count = counts[group]
        substeps = group + 1
        middle = substeps // 2
        work, adjoint = buffer(FORWARD_SIZE), buffer(_SIZE)
        prepare(work, 0, count, coefficients, noise, first)
        words, rows = np.empty(count, dtype=np.uint32), row_of[first:]
        for part in range(parts - 1, -1, -1):
            load_columns(work, 0, count, checkpoints[part], first)
            words[:] = saved_words[part, first : first + count]
            _start_tape(work, count, tape, step_tape)
            for i in range(interval):
                mean_drives(drive, part * interval + i, means)
                give_drives(work, 0, count, substeps, means, lanes, rows)
                _record_again(work, count, substeps, drives[3 * i :], tape[3 + substeps * i :], step_tape[1 + i])
                if noisy:
                    add_noise(work, 0, words, count)
            for i in range(interval - 1, -1, -1):
                step = part * interval + i
                if step % hop == hop - 1:
                    for j in range(3):
                        for k in range(count):
                            adjoint[_UPSTREAM + j * LANES + k] = output_gradient[step // hop, j, first + k] * per_hop
                _follow_back(work, adjoint, count, step_tape[1 + i], step_tape[i])
                for slot in range(substeps - 1, -1, -1):
                    entry = 3 + i * substeps + slot
                    _substep_back(
                        work,
                        adjoint,
                        count,
                        drives[3 * i + slot],
                        tape[entry],
                        tape[entry - 1],
                        tape[entry - 2],
                        tape[entry - 3],
                        slot == middle,
                    )
        for j in range(TRAINED):
            for k in range(count):
                gradient[j, first + k] = adjoint[_GRADIENT + j * LANES + k]
        first += count
