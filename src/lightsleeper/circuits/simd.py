"""What the compiled loops share: how they are compiled, their column stride, the rational tanh and the noise words.

Every quantity of a column lies in one flat float32 buffer with the constant stride `LANES`, because only then can LLVM
prove that the rows do not alias and turn a loop over columns into SIMD code; branches are arithmetic on absolute values
for the same reason. A loop over columns starts at 0 or counts in unsigned numbers: an index of unknown sign is guarded
against being negative, which keeps the loop scalar (a tenth of the speed).
"""

# mypy: disable-error-code="untyped-decorator"
import numba
import numpy as np
from numpy.typing import NDArray

__all__ = [
    "BLOCK",
    "FASTMATH",
    "LANES",
    "NOISE_UNIT",
    "Float32",
    "UInt32",
    "f32",
    "halves",
    "inline",
    "jit",
    "tanh",
    "tracked",
    "u32",
    "u64",
    "within",
]

BLOCK = 8
"""Columns are padded to a multiple of this: one AVX2 vector."""
LANES = 144
"""Stride of a quantity's columns. Forty rows of it must fit into the first-level cache of 32 KiB: at twice the
stride every load misses, and the loop takes twice as long a column."""

Float32 = NDArray[np.float32]
UInt32 = NDArray[np.uint32]
# No reassociation and no reciprocal estimates: the same bits whatever the chunk, the batch or the vector width.
FASTMATH = {"contract", "nnan", "ninf", "nsz"}
jit = numba.njit(fastmath=FASTMATH, nogil=True, cache=True, error_model="numpy")
within = numba.njit(fastmath=FASTMATH, forceinline=True, nogil=True, error_model="numpy")
"""For what a time loop calls at every step: LLVM puts the body in place of the call, and literal arguments into it."""
inline = numba.njit(fastmath=FASTMATH, inline="always", error_model="numpy")

f32 = np.float32
u32 = np.uint32
u64 = np.uint64
NOISE_UNIT = np.float32(np.sqrt(6.0) / 65536.0)
"""A word's two 16-bit halves, subtracted, are triangular with variance 2 * 65536^2 / 12; this scales it to 1."""


@inline
def tanh(x):  # type: ignore[no-untyped-def]
    """Pade [5/4] approximant of tanh, clamped where it nears 1: at most 1.3e-3 off everywhere."""
    # Absolute values would clamp as well, but round small signals to multiples of 2e-7.
    y = min(max(x, f32(-3.6)), f32(3.6))
    s = y * y
    return y * (f32(945.0) + s * (f32(105.0) + s)) / (f32(945.0) + s * (f32(420.0) + s * f32(15.0)))


@inline
def tracked(level, heard, mean, half):  # type: ignore[no-untyped-def]
    """Next level of an asymmetric one-pole with the rates mean + half upwards and mean - half downwards.

    The rate times the lag e is mean e + half |e|: no branch.
    """
    e = heard - level
    return (level + mean * e) + half * abs(e)


@inline
def halves(word):  # type: ignore[no-untyped-def]
    """Triangular draw from the two halves of a word."""
    return f32(np.int32(word & u32(0xFFFF))) - f32(np.int32(word >> u32(16)))
