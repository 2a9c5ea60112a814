"""Compiled time loops of amplifier and filter bank: forward with noise, and the bank's hand-written adjoint.

All columns (row, band) advance together. Every quantity of a column lies in one flat float32 buffer with the constant
stride `LANES`, because only then can LLVM prove that the arrays do not alias and turn the column loop into SIMD code
(five times as fast); branches are written as arithmetic on absolute values for the same reason.
The readable version in `reference.py` states the same recursion; tests hold the two together.
"""

# mypy: disable-error-code="untyped-decorator"
import numba
import numpy as np
from numpy.typing import NDArray

__all__ = [
    "COEFFICIENTS",
    "LANES",
    "STATES",
    "amplify",
    "bank_backward",
    "bank_forward",
]

LANES = 128
"""Columns that one call carries; columns in use are padded up to a multiple of 16 with idle ones."""
STATES = 5
"""States per column: band-pass output, band-pass internal node, fast envelope, slow envelope, floor follower."""
COEFFICIENTS = 9
"""Per column: drive, damping, coupling of the band-pass; attack and decay of fast, slow envelope and floor follower."""

# Rows of the work buffer; each row is LANES wide.
_SUM = STATES * LANES
_NOISE = _SUM + 3 * LANES
_COEF = _NOISE + 2 * LANES
_SCALE = _COEF + COEFFICIENTS * LANES
_DRIVE = _SCALE + 2 * LANES
_FORWARD_ROWS = _DRIVE + LANES
# Rows of the adjoint's work buffer.
_ADJ = 0
_GRAD = STATES * LANES
_BCOEF = _GRAD + COEFFICIENTS * LANES
_OUT = _BCOEF + COEFFICIENTS * LANES
_BDRIVE = _OUT + 3 * LANES
_NOW = _BDRIVE + LANES
_BEFORE = _NOW + STATES * LANES
_BACKWARD_ROWS = _BEFORE + STATES * LANES

Float32 = NDArray[np.float32]
UInt32 = NDArray[np.uint32]
# A word's two 16-bit halves, subtracted: triangular with variance 2 * 65536^2 / 12.
_NOISE_UNIT = np.float32(np.sqrt(6.0) / 65536.0)
# No reassociation and no reciprocal estimates: the same bits whatever the chunk, the batch or the vector width.
_FASTMATH = {"contract", "nnan", "ninf", "nsz"}
_jit = numba.njit(fastmath=_FASTMATH, nogil=True, cache=True, error_model="numpy")
_inline = numba.njit(fastmath=_FASTMATH, inline="always", error_model="numpy")

f32 = np.float32
u32 = np.uint32


@_inline
def _tanh(x):  # type: ignore[no-untyped-def]
    """Pade [5/4] approximant of tanh, clamped where it nears 1: at most 1.3e-3 off everywhere."""
    # Absolute values would clamp as well, but round small signals to multiples of 2e-7.
    y = min(max(x, f32(-3.6)), f32(3.6))
    s = y * y
    return y * (f32(945.0) + s * (f32(105.0) + s)) / (f32(945.0) + s * (f32(420.0) + s * f32(15.0)))


@_inline
def _tanh_slope(x):  # type: ignore[no-untyped-def]
    """1 - tanh^2, the slope that the adjoint uses."""
    t = _tanh(x)
    return f32(1.0) - t * t


@_inline
def _xorshift(word):  # type: ignore[no-untyped-def]
    """One step of Marsaglia's xorshift32 (J. Stat. Software 8(14), 2003)."""
    word = u32(word ^ u32(word << u32(13)))
    word = u32(word ^ u32(word >> u32(17)))
    return u32(word ^ u32(word << u32(5)))


@_inline
def _halves(word):  # type: ignore[no-untyped-def]
    return f32(np.int32(word & u32(0xFFFF))) - f32(np.int32(word >> u32(16)))


@_inline
def _hash(word):  # type: ignore[no-untyped-def]
    """Integer hash with low bias (Wellons' lowbias32): noise as a function of the sample's index, in any chunking."""
    word = u32(word ^ u32(word >> u32(16)))
    word = u32(word * u32(0x7FEB352D))
    word = u32(word ^ u32(word >> u32(15)))
    word = u32(word * u32(0x846CA68B))
    return u32(word ^ u32(word >> u32(16)))


@_jit
def _add_noise(samples: Float32, scale: np.float32, seed: np.uint32, first: int) -> None:
    """Add near-normal noise (sum of four uniforms) to the samples with the indices from `first` on."""
    for t in range(samples.size):
        one = _hash(u32(u32(first + t) ^ seed))
        two = _hash(u32(one + u32(0x9E3779B9)))
        samples[t] += scale * (_halves(one) + _halves(two))


@_jit
def amplify(
    input_v: Float32,
    taps: Float32,
    gain: float,
    clip_v: float,
    leak: float,
    range_v: float,
    noise_v: float,
    seeds: UInt32,
    first: int,
    history: Float32,
    state: Float32,
    drive_v: Float32,
) -> None:
    """Interpolate, AC-couple, amplify with soft clipping and convert: drive = f(clip tanh(gain v / clip)).

    Args:
        input_v: (B, T) microphone voltage.
        taps: (phases, n) polyphase interpolation filter; the number of phases is the oversampling.
        gain, clip_v: voltage gain and output swing in V.
        leak: fraction per step by which the AC-coupling follows the input.
        range_v: linear range VL of the filters' input transconductors in V; f(v) = VL tanh(v / VL).
        noise_v: rms input noise per input sample, in V; 0 switches it off.
        seeds: (B,) noise seed of each row.
        first: index of the first sample since the stream began.
        history: (B, n - 1) last noisy inputs, updated in place.
        state: (B,) AC-coupling state, updated in place.
        drive_v: (B, T * phases) written.
    """
    rows, steps = input_v.shape
    phases, count = taps.shape
    vl = f32(range_v)
    per_vl = f32(1.0 / range_v)
    clip = f32(clip_v)
    slope = f32(gain / clip_v)
    rate = f32(leak)
    scale = f32(noise_v) * _NOISE_UNIT * f32(np.sqrt(0.5))
    line = np.empty(steps + count - 1, dtype=np.float32)
    wide = np.empty(steps, dtype=np.float32)
    for row in range(rows):
        line[: count - 1] = history[row]
        line[count - 1 :] = input_v[row]
        if noise_v > 0:
            _add_noise(line[count - 1 :], scale, seeds[row], first)
        out = drive_v[row]
        for phase in range(phases):
            wide[:] = f32(0.0)
            for j in range(count):
                tap = taps[phase, j]
                part = line[count - 1 - j :]
                for t in range(steps):
                    wide[t] += tap * part[t]
            for t in range(steps):
                out[t * phases + phase] = wide[t]
        coupled = state[row]
        for t in range(steps * phases):
            v = out[t] - coupled
            coupled += rate * v
            out[t] = v
        state[row] = coupled
        for t in range(steps * phases):
            out[t] = vl * _tanh(clip * _tanh(slope * out[t]) * per_vl)
        history[row] = line[steps:]


@_jit
def _draw_noise(work: Float32, words: UInt32, width: int) -> None:
    """Noise of one step for both nodes; triangular draws, which the band-pass sums to a normal output."""
    for k in range(width):
        first = _xorshift(words[k])
        second = _xorshift(first)
        words[k] = second
        work[_NOISE + k] = _halves(first) * work[_SCALE + k]
        work[_NOISE + LANES + k] = _halves(second) * work[_SCALE + LANES + k]


@_jit
def _step(work: Float32, width: int, range_v: np.float32, inverse: np.float32) -> None:
    """Advance all columns by one step (semi-implicit Euler with pole-matched coefficients)."""
    for k in range(width):
        o = work[k]
        x = work[LANES + k]
        coupling = work[_COEF + 2 * LANES + k]
        leak = work[_COEF + LANES + k] * _tanh(o * inverse) + coupling * _tanh(x * inverse)
        o += work[_COEF + k] * work[_DRIVE + k] - range_v * leak + work[_NOISE + k]
        x += range_v * coupling * _tanh(o * inverse) + work[_NOISE + LANES + k]
        fast = work[2 * LANES + k]
        slow = work[3 * LANES + k]
        floor = work[4 * LANES + k]
        u = abs(o)
        e = u - fast
        fast += f32(0.5) * (work[_COEF + 3 * LANES + k] * (e + abs(e)) + work[_COEF + 4 * LANES + k] * (e - abs(e)))
        e = u - slow
        slow += f32(0.5) * (work[_COEF + 5 * LANES + k] * (e + abs(e)) + work[_COEF + 6 * LANES + k] * (e - abs(e)))
        e = fast - floor
        floor += f32(0.5) * (work[_COEF + 7 * LANES + k] * (e + abs(e)) + work[_COEF + 8 * LANES + k] * (e - abs(e)))
        work[k] = o
        work[LANES + k] = x
        work[2 * LANES + k] = fast
        work[3 * LANES + k] = slow
        work[4 * LANES + k] = floor
        work[_SUM + k] += fast
        work[_SUM + LANES + k] += slow
        work[_SUM + 2 * LANES + k] += floor


@_jit
def bank_forward(
    drive_v: Float32,
    coefficients: Float32,
    range_v: float,
    noise_v: Float32,
    state: Float32,
    words: UInt32,
    hop: int,
    outputs: Float32,
    trace: Float32,
) -> None:
    """Run the bank over `drive_v` and write hop means of the three envelopes.

    Args:
        drive_v: (B, T) drive f(v_in) of the input transconductors in V, T a multiple of `hop`.
        coefficients: (9, K) per column, each a fraction per step; K = B * bands, at most LANES.
        range_v: linear range VL of the transconductors, in V.
        noise_v: (2, K) rms noise per step at the output and the internal node, in V; all zero switches it off.
        state: (5, K) states, updated in place.
        words: (LANES,) generator words, updated in place.
        hop: steps per output frame.
        outputs: (T / hop, 3, K) hop means of fast, slow, floor in V, written.
        trace: (T, 5, K) states after every step, written if its first axis is T; give (0, 5, K) to keep none.
    """
    rows, steps = drive_v.shape
    columns = state.shape[1]
    bands = columns // rows
    width = (columns + 15) // 16 * 16
    vl = f32(range_v)
    inverse = f32(1.0 / range_v)
    work = np.zeros(_FORWARD_ROWS, dtype=np.float32)
    for j in range(STATES):
        work[j * LANES : j * LANES + columns] = state[j]
    for j in range(COEFFICIENTS):
        work[_COEF + j * LANES : _COEF + j * LANES + columns] = coefficients[j]
    for j in range(2):
        work[_SCALE + j * LANES : _SCALE + j * LANES + columns] = noise_v[j] * _NOISE_UNIT
    noisy = np.any(noise_v > 0)
    keep = trace.shape[0] == steps
    per_hop = f32(1.0 / hop)
    for frame in range(steps // hop):
        work[_SUM : _SUM + 3 * LANES] = f32(0.0)
        for step in range(frame * hop, (frame + 1) * hop):
            for row in range(rows):
                for k in range(row * bands, (row + 1) * bands):
                    work[_DRIVE + k] = drive_v[row, step]
            if noisy:
                _draw_noise(work, words, width)
            _step(work, width, vl, inverse)
            if keep:
                for j in range(STATES):
                    trace[step, j] = work[j * LANES : j * LANES + columns]
        for j in range(3):
            outputs[frame, j] = work[_SUM + j * LANES : _SUM + j * LANES + columns] * per_hop
    for j in range(STATES):
        state[j] = work[j * LANES : j * LANES + columns]


@_jit
def _step_back(work: Float32, width: int, range_v: np.float32, inverse: np.float32) -> None:
    """Adjoint of `_step` for all columns."""
    one = f32(1.0)
    for k in range(width):
        o = work[_NOW + k]
        fast = work[_NOW + 2 * LANES + k]
        o_before = work[_BEFORE + k]
        x_before = work[_BEFORE + LANES + k]
        u = abs(o)
        g_floor = work[_ADJ + 4 * LANES + k] + work[_OUT + 2 * LANES + k]
        g_slow = work[_ADJ + 3 * LANES + k] + work[_OUT + LANES + k]
        g_fast = work[_ADJ + 2 * LANES + k] + work[_OUT + k]
        e = fast - work[_BEFORE + 4 * LANES + k]
        rising = f32(e > 0)
        up = work[_BCOEF + 7 * LANES + k]
        down = work[_BCOEF + 8 * LANES + k]
        rate = down + (up - down) * rising
        work[_GRAD + 7 * LANES + k] += g_floor * e * rising
        work[_GRAD + 8 * LANES + k] += g_floor * e * (one - rising)
        work[_ADJ + 4 * LANES + k] = g_floor * (one - rate)
        g_fast += g_floor * rate
        e = u - work[_BEFORE + 3 * LANES + k]
        rising = f32(e > 0)
        up = work[_BCOEF + 5 * LANES + k]
        down = work[_BCOEF + 6 * LANES + k]
        rate = down + (up - down) * rising
        work[_GRAD + 5 * LANES + k] += g_slow * e * rising
        work[_GRAD + 6 * LANES + k] += g_slow * e * (one - rising)
        work[_ADJ + 3 * LANES + k] = g_slow * (one - rate)
        g_u = g_slow * rate
        e = u - work[_BEFORE + 2 * LANES + k]
        rising = f32(e > 0)
        up = work[_BCOEF + 3 * LANES + k]
        down = work[_BCOEF + 4 * LANES + k]
        rate = down + (up - down) * rising
        work[_GRAD + 3 * LANES + k] += g_fast * e * rising
        work[_GRAD + 4 * LANES + k] += g_fast * e * (one - rising)
        work[_ADJ + 2 * LANES + k] = g_fast * (one - rate)
        g_u += g_fast * rate
        coupling = work[_BCOEF + 2 * LANES + k]
        g_x = work[_ADJ + LANES + k]
        g_o = work[_ADJ + k] + g_u * (f32(2.0) * f32(o > 0) - one) + g_x * coupling * _tanh_slope(o * inverse)
        work[_GRAD + 2 * LANES + k] += range_v * (g_x * _tanh(o * inverse) - g_o * _tanh(x_before * inverse))
        work[_GRAD + LANES + k] -= range_v * g_o * _tanh(o_before * inverse)
        work[_GRAD + k] += g_o * work[_BDRIVE + k]
        work[_ADJ + LANES + k] = g_x - g_o * coupling * _tanh_slope(x_before * inverse)
        work[_ADJ + k] = g_o * (one - work[_BCOEF + LANES + k] * _tanh_slope(o_before * inverse))


@_jit
def bank_backward(
    drive_v: Float32,
    coefficients: Float32,
    range_v: float,
    hop: int,
    start: Float32,
    trace: Float32,
    output_gradient: Float32,
    gradient: Float32,
) -> None:
    """Adjoint of `bank_forward` with respect to the coefficients.

    Args:
        drive_v, coefficients, range_v, hop: as given to `bank_forward`.
        start: (5, K) states before the first step.
        trace: (T, 5, K) states kept by `bank_forward`.
        output_gradient: (T / hop, 3, K) gradient of the loss with respect to the outputs.
        gradient: (9, K) written: gradient of the loss with respect to the coefficients.
    """
    rows, steps = drive_v.shape
    columns = start.shape[1]
    bands = columns // rows
    width = (columns + 15) // 16 * 16
    vl = f32(range_v)
    inverse = f32(1.0 / range_v)
    per_hop = f32(1.0 / hop)
    work = np.zeros(_BACKWARD_ROWS, dtype=np.float32)
    for j in range(COEFFICIENTS):
        work[_BCOEF + j * LANES : _BCOEF + j * LANES + columns] = coefficients[j]
    for j in range(STATES):
        work[_BEFORE + j * LANES : _BEFORE + j * LANES + columns] = trace[steps - 1, j]
    for step in range(steps - 1, -1, -1):
        work[_NOW : _NOW + STATES * LANES] = work[_BEFORE : _BEFORE + STATES * LANES]
        for j in range(STATES):
            work[_BEFORE + j * LANES : _BEFORE + j * LANES + columns] = trace[step - 1, j] if step > 0 else start[j]
        if step % hop == hop - 1:
            for j in range(3):
                work[_OUT + j * LANES : _OUT + j * LANES + columns] = output_gradient[step // hop, j] * per_hop
        for row in range(rows):
            for k in range(row * bands, (row + 1) * bands):
                work[_BDRIVE + k] = drive_v[row, step]
        _step_back(work, width, vl, inverse)
    for j in range(COEFFICIENTS):
        gradient[j] = work[_GRAD + j * LANES : _GRAD + j * LANES + columns]
