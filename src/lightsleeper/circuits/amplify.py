"""Compiled amplifier: interpolation, AC coupling, soft clipping and the mean drive of the filters over each substep."""

# mypy: disable-error-code="untyped-decorator"
import numpy as np
from numpy.typing import NDArray

from lightsleeper.circuits.simd import NOISE_UNIT, Float32, UInt32, f32, halves, inline, jit, tanh, u32

__all__ = ["add_input_noise", "amplify", "filled_eights", "interpolate", "shift"]

_QUIET = 1.0
"""Amplitude in linear ranges up to which a frame's drive is smooth enough for four points a substep."""
_POINTS = 16
"""Points a substep in louder frames: a clipped wave jumps within one."""


@inline
def _hash(word):  # type: ignore[no-untyped-def]
    """Integer hash with low bias (Wellons' lowbias32): noise as a function of the sample's index, in any chunking."""
    word = u32(word ^ u32(word >> u32(16)))
    word = u32(word * u32(0x7FEB352D))
    word = u32(word ^ u32(word >> u32(15)))
    word = u32(word * u32(0x846CA68B))
    return u32(word ^ u32(word >> u32(16)))


@jit
def add_input_noise(samples: Float32, scale: np.float32, seed: np.uint32, first: int) -> None:
    """Add near-normal noise (sum of four uniforms) to the samples with the indices from `first` on."""
    for t in range(samples.size):
        one = _hash(u32(u32(first + t) ^ seed))
        two = _hash(u32(one + u32(0x9E3779B9)))
        samples[t] += scale * (halves(one) + halves(two))


@jit
def filled_eights(taps: Float32) -> NDArray[np.bool_]:
    """(phases, n / 8), which eight of the taps are not all zero."""
    phases, count = taps.shape
    filled = np.zeros((phases, count // 8), dtype=np.bool_)
    for phase in range(phases):
        for j in range(count):
            filled[phase, j // 8] |= taps[phase, j] != 0
    return filled


@jit
def interpolate(line: Float32, taps: Float32, filled: NDArray[np.bool_], lead: int, wide: Float32) -> None:
    """Polyphase interpolation of `line` (n - 1 + T,) into `wide`, a line of `lead` + T a phase, behind its lead.

    Eight taps at a time, because the loop is bound by loads and stores, where they are `filled`.
    """
    phases, count = taps.shape
    steps = line.size - count + 1
    stride = lead + steps
    for phase in range(phases):
        out = wide[phase * stride + lead : (phase + 1) * stride]
        out[:] = f32(0.0)
        for j in range(0, count, 8):
            if not filled[phase, j // 8]:
                continue
            a, b, c, d = taps[phase, j], taps[phase, j + 1], taps[phase, j + 2], taps[phase, j + 3]
            e, f, g, h = taps[phase, j + 4], taps[phase, j + 5], taps[phase, j + 6], taps[phase, j + 7]
            part = line[count - 8 - j : count - 1 - j + steps]
            for t in range(steps):
                early = (a * part[t + 7] + b * part[t + 6]) + (c * part[t + 5] + d * part[t + 4])
                late = (e * part[t + 3] + f * part[t + 2]) + (g * part[t + 1] + h * part[t])
                out[t] += early + late


@jit
def shift(line: Float32, kept: int) -> None:
    """Move the last `kept` values to the front; forward, since source and target overlap where a frame is short."""
    ahead = line.size - kept
    for i in range(kept):
        line[i] = line[ahead + i]


@inline
def _soft(x, clip, inverse):  # type: ignore[no-untyped-def]
    """Amplifier and input transconductor, in linear ranges: tanh(c tanh(x / c)), c the output swing."""
    return tanh(clip * tanh(x * inverse))


@jit
def _mean_drive(wide: Float32, phases: int, clip: np.float32, current: Float32, mean: Float32) -> None:
    """Mean of the transconductor's current over each substep, from the cubic through four samples of its voltage.

    Args:
        wide: amplified input in linear ranges before clipping, a line of 1 + T a phase; its first is the sample before.
        phases: number of phases.
        clip: output swing in linear ranges.
        current: scratch like `wide`.
        mean: written, a line of T a phase: over the substep that ends a sample before.
    """
    inverse = f32(1.0) / clip
    stride = wide.size // phases
    loudest = f32(0.0)
    for t in range(wide.size):
        loudest = max(loudest, abs(wide[t]))
    quiet = loudest <= f32(_QUIET)
    if quiet:
        for t in range(wide.size):
            current[t] = _soft(wide[t], clip, inverse)
    # Mean of the cubic through four equidistant points over the middle interval.
    near, far = f32(13.0 / 24.0), f32(1.0 / 24.0)
    for phase in range(phases):
        # Where the lines of this and the three phases before begin.
        d = stride * phase + 1
        c = d - stride if phase >= 1 else d + (phases - 1) * stride - 1
        b = d - 2 * stride if phase >= 2 else d + (phases - 2) * stride - 1
        a = d - 3 * stride if phase >= 3 else d + (phases - 3) * stride - 1
        out = mean[phase * (stride - 1) : (phase + 1) * (stride - 1)]
        source = current if quiet else wide
        one, two, three, four = (
            source[a : a + stride - 1],
            source[b : b + stride - 1],
            source[c : c + stride - 1],
            source[d : d + stride - 1],
        )
        if quiet:
            for t in range(stride - 1):
                out[t] = near * (two[t] + three[t]) - far * (one[t] + four[t])
            continue
        for point in range(_POINTS):
            x = f32((point + 0.5) / _POINTS)
            p = -x * (x - f32(1.0)) * (x - f32(2.0)) / f32(6.0)
            q = (x + f32(1.0)) * (x - f32(1.0)) * (x - f32(2.0)) / f32(2.0)
            r = -(x + f32(1.0)) * x * (x - f32(2.0)) / f32(2.0)
            s = (x + f32(1.0)) * x * (x - f32(1.0)) / f32(6.0)
            start = f32(point > 0)
            for t in range(stride - 1):
                volts = (p * one[t] + q * two[t]) + (r * three[t] + s * four[t])
                out[t] = start * out[t] + f32(1.0 / _POINTS) * _soft(volts, clip, inverse)


@jit
def amplify(
    input_v: Float32,
    taps: Float32,
    finer_taps: Float32,
    gain: Float32,
    clip: Float32,
    leak: Float32,
    noise_v: Float32,
    seeds: UInt32,
    first: int,
    frame: int,
    history: Float32,
    finer_history: Float32,
    state: Float32,
    tail: Float32,
    drive: Float32,
) -> None:
    """AC-couple, interpolate, amplify with soft clipping, convert to current and average over each substep.

    The voltage between samples is their band-limited interpolation; the current that it drives is tanh(c tanh(g v / c))
    in units of the tail current, averaged over every substep of the filters, which is all that their equation needs
    of it. Level decides how finely a frame is averaged, so frames must be whole.

    Args:
        input_v: (B, T) microphone voltage, T a multiple of `frame`.
        taps: (factor, n) polyphase filter from the samples to the steps, n a multiple of 8.
        finer_taps: (phases, m) from there to the substeps, of which a step has `phases`, m a multiple of 8.
        gain: (B,) gain from the input to the transconductors' linear range, 1/V.
        clip: (B,) output swing of the amplifier in linear ranges.
        leak: (B,) fraction per sample by which the AC coupling follows the input.
        noise_v: (B,) rms input noise per sample, in V; 0 switches it off.
        seeds: (B,) noise seed of each row.
        first: index of the first sample since the stream began.
        frame: samples per frame.
        history: (B, n - 1) last coupled inputs, updated in place.
        finer_history: (B, m - 1) last of them interpolated to the steps, updated in place.
        state: (B,) AC-coupling state, updated in place.
        tail: (B, phases) last interpolated inputs, updated in place.
        drive: (>= B, >= T * factor * phases) written, in units of the tail current.
    """
    rows, samples = input_v.shape
    factor, count = taps.shape
    phases, finer_count = finer_taps.shape
    steps = frame * factor
    filled, finer_filled = filled_eights(taps), filled_eights(finer_taps)
    line = np.empty(count - 1 + frame, dtype=np.float32)
    finer = np.empty(finer_count - 1 + steps, dtype=np.float32)
    between = np.zeros(steps, dtype=np.float32)
    wide = np.zeros(phases * (1 + steps), dtype=np.float32)
    current = np.empty_like(wide)
    mean = np.empty(phases * steps, dtype=np.float32)
    for row in range(rows):
        scale = noise_v[row] * NOISE_UNIT * f32(np.sqrt(0.5))
        rate = leak[row]
        slope = gain[row] * (f32(1.0) - f32(0.5) * rate)
        coupled = state[row]
        line[: count - 1] = history[row]
        finer[: finer_count - 1] = finer_history[row]
        wide[:: 1 + steps] = tail[row]
        for begin in range(0, samples, frame):
            fresh = line[count - 1 :]
            fresh[:] = input_v[row, begin : begin + frame]
            if scale > 0:
                add_input_noise(fresh, scale, seeds[row], first + begin)
            for t in range(frame):
                v = fresh[t] - coupled
                coupled += rate * v
                fresh[t] = slope * v
            interpolate(line, taps, filled, 0, between)
            at_steps = finer[finer_count - 1 :]
            for phase in range(factor):
                for t in range(frame):
                    at_steps[t * factor + phase] = between[phase * frame + t]
            interpolate(finer, finer_taps, finer_filled, 1, wide)
            _mean_drive(wide, phases, clip[row], current, mean)
            out = drive[row, begin * factor * phases :]
            for t in range(steps):
                for phase in range(phases):
                    out[t * phases + phase] = mean[phase * steps + t]
            shift(line, count - 1)
            shift(finer, finer_count - 1)
            for phase in range(phases):
                wide[phase * (1 + steps)] = wide[phase * (1 + steps) + steps]
        state[row] = coupled
        history[row] = line[: count - 1]
        finer_history[row] = finer[: finer_count - 1]
        tail[row] = wide[:: 1 + steps]
