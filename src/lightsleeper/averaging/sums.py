"""Where running sums live between updates: in full precision, or in one to three bytes a weight.

A running mean kept in bfloat16 stops moving as soon as its increments fall below half of its last place
(reference/weight_averaging.md section 5.1). Two remedies are used, each in its textbook form: *stochastic rounding*,
which keeps the expected value right, and *error feedback*, which keeps what rounding cut off, here in a signed byte of
1/252 of the last place.
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from lightsleeper.averaging.sampling import mixed
from lightsleeper.errors import InputError

__all__ = ["CompactSums", "FullSums", "Storage"]

Storage = Literal["float32", "bfloat16", "float16", "int8"]

# Half a place is 126 of these, which rounded up still fits a signed byte; cut there instead, a sum would stick.
_FRACTION = 252.0
_DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "int8": torch.int8}


class FullSums:
    """Zeros shaped as ``like``, in float32, or in float64 for float64: what is read is the memory itself."""

    def __init__(self, like: Sequence[Tensor]) -> None:
        self.tensors = [torch.zeros_like(t, dtype=torch.promote_types(t.dtype, torch.float32)) for t in like]

    def read(self) -> list[Tensor]:
        """Return the sums; changes to them are kept."""
        return self.tensors

    def write(self, values: Sequence[Tensor]) -> None:
        """Keep ``values``: nothing to do for those that :meth:`read` gave."""
        if values is self.tensors:
            return
        for tensor, value in zip(self.tensors, values, strict=True):
            if value is not tensor:
                tensor.copy_(value)

    def held(self) -> list[Tensor]:
        """Return every tensor that takes memory."""
        return self.tensors

    def state_dict(self) -> dict[str, Any]:
        """Return the memory by reference."""
        return {"tensors": self.held()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from saved memory of the same shapes and types."""
        _load(self.held(), state["tensors"])


class CompactSums:
    """Zeros shaped as ``like``, in a small type, with or without a byte of error feedback a weight.

    int8 values share a scale in each tensor, so their error is to be seen against the tensor's largest weight.

    Args:
        like: tensors that give shapes and devices.
        storage: type of the values.
        error_feedback: keep what rounding cut off in a byte more; what that cuts off is rounded stochastically. Without
            it the value itself is.
        seed: of the stochastic rounding, which depends on it and the number of writes alone.
    """

    def __init__(self, like: Sequence[Tensor], *, storage: Storage, error_feedback: bool, seed: int) -> None:
        if storage not in _DTYPES:
            raise InputError(f'storage is {storage!r}: give "float32", "bfloat16", "float16" or "int8"')
        self.dtype = _DTYPES[storage]
        self._values = [torch.zeros_like(t, dtype=self.dtype) for t in like]
        self._rests = [torch.zeros_like(t, dtype=torch.int8) for t in like] if error_feedback else None
        self._scales = [torch.zeros((), device=t.device) for t in like] if self.dtype == torch.int8 else []
        self._seed = seed
        self._writes = 0

    def read(self) -> list[Tensor]:
        """Return the sums in float32, as copies."""
        values = [v.to(torch.float32) for v in self._values]
        if self._rests is not None:
            places = self._places(values)
            values = [v + r * (p / _FRACTION) for v, r, p in zip(values, self._rests, places, strict=True)]
        if self._scales:
            values = [v * s for v, s in zip(values, self._scales, strict=True)]
        return values

    def write(self, values: Sequence[Tensor]) -> None:
        """Keep ``values``, rounded."""
        if self._scales:
            self._rescale(values)
            values = [
                v / s.clamp_min(torch.finfo(torch.float32).tiny) for v, s in zip(values, self._scales, strict=True)
            ]
        if self._rests is None:
            self._write_rounded(values)
        else:
            self._write_with_rest(values, self._rests)
        self._writes += 1

    def _write_rounded(self, values: Sequence[Tensor]) -> None:
        for index, (value, place) in enumerate(zip(values, self._places(values), strict=True)):
            rounded = torch.floor(value / place + self._noise(value, index)) * place
            self._values[index].copy_(self._limited(rounded))

    def _write_with_rest(self, values: Sequence[Tensor], rests: list[Tensor]) -> None:
        for kept, value in zip(self._values, values, strict=True):
            kept.copy_(self._limited(value if self.dtype.is_floating_point else value.round()))
        near = [kept.to(torch.float32) for kept in self._values]
        for index, (value, kept, place) in enumerate(zip(values, near, self._places(near), strict=True)):
            cut_off = (value - kept) / place * _FRACTION
            rests[index].copy_(torch.floor(cut_off + self._noise(value, index)).clamp_(-128, 127))

    def _places(self, values: Sequence[Tensor]) -> list[Tensor]:
        """The last place of each value: 1 for int8, else a power of two."""
        if self.dtype == torch.int8:
            return [torch.ones((), device=v.device) for v in values]
        info = torch.finfo(self.dtype)
        # eps is the last place at 1, where frexp's exponent is 1; under the smallest normal number places stay alike.
        exponents = [torch.frexp(v.abs().clamp_min(info.tiny)).exponent - 1 for v in values]
        return [torch.ldexp(torch.full_like(v, info.eps), e) for v, e in zip(values, exponents, strict=True)]

    def _limited(self, value: Tensor) -> Tensor:
        return value if self.dtype.is_floating_point else value.clamp(-127, 127)

    def _rescale(self, values: Sequence[Tensor]) -> None:
        """Give a tensor a new scale when its largest value no longer fits, or would waste over half of the range."""
        for index, value in enumerate(values):
            largest = value.abs().max() if value.numel() else torch.zeros(())
            used = largest / self._scales[index]
            if not 60.0 <= float(used) <= 126.5:
                self._scales[index] = largest / 120.0

    def _noise(self, like: Tensor, index: int) -> Tensor:
        generator = torch.Generator(device=like.device)
        # Seeds that follow one another give related first draws, which would add up over the writes: hence mixed.
        generator.manual_seed(mixed(self._seed, self._writes * len(self._values) + index) >> 1)
        return torch.rand(like.shape, generator=generator, device=like.device)

    def held(self) -> list[Tensor]:
        """Return every tensor that takes memory."""
        return [*self._values, *(self._rests or []), *self._scales]

    def state_dict(self) -> dict[str, Any]:
        """Return the memory by reference, and the place in the random draws."""
        return {"tensors": self.held(), "writes": self._writes, "seed": self._seed}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from saved memory of the same shapes and types."""
        _load(self.held(), state["tensors"])
        self._writes, self._seed = state["writes"], state["seed"]


def _load(own: Sequence[Tensor], saved: Sequence[Tensor]) -> None:
    if [(t.shape, t.dtype) for t in own] != [(t.shape, t.dtype) for t in saved]:
        raise InputError(
            "the saved weight distribution is of tensors with other shapes or types: load it for the same model"
        )
    for tensor, value in zip(own, saved, strict=True):
        tensor.copy_(value)
