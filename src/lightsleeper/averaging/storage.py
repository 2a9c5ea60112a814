"""Which tensors are averaged and how each one's running sums are stored: one choice for all, or one for each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from lightsleeper.averaging.sums import CompactSums, FullSums, Storage
from lightsleeper.errors import InputError

__all__ = ["MixedSums", "OneStorage", "StorageChoice", "TensorStorage", "selected"]

_BYTES = {"bfloat16": 2, "float16": 2, "int8": 1}
_SCALE_BYTES = 4


class TensorStorage(NamedTuple):
    """How the sums of one tensor are kept between samples.

    ``error_feedback`` counts for the small types only: one byte a weight more, see :class:`WeightDistribution`.
    """

    storage: Storage = "float32"
    error_feedback: bool = True

    def nbytes(self, tensor: Tensor) -> int:
        """Bytes that one copy of ``tensor`` takes."""
        if self.storage == "float32":
            return tensor.numel() * torch.promote_types(tensor.dtype, torch.float32).itemsize
        scale = _SCALE_BYTES if self.storage == "int8" else 0
        return tensor.numel() * (_BYTES[self.storage] + self.error_feedback) + scale


class StorageChoice(Protocol):
    """Says which of the trainable weights are averaged, and in which storage."""

    def select(self, trainable: Sequence[Tensor]) -> tuple[list[Tensor], list[TensorStorage]]:
        """Return the tensors to average, in order, and the storage of each."""

    def options(self) -> object:
        """Return what a checkpoint must share with the optimizer that continues from it, in plain types."""


@dataclass(frozen=True)
class OneStorage:
    """Every trainable weight, all in one storage."""

    storage: Storage = "float32"

    def __post_init__(self) -> None:
        if self.storage not in ("float32", *_BYTES):
            raise InputError(f'storage is {self.storage!r}: give "float32", "bfloat16", "float16" or "int8"')

    def select(self, trainable: Sequence[Tensor]) -> tuple[list[Tensor], list[TensorStorage]]:
        """Return all of them."""
        return list(trainable), [TensorStorage(self.storage)] * len(trainable)

    def options(self) -> object:
        """Return the storage's name."""
        return self.storage


def selected(choice: StorageChoice, trainable: Sequence[Tensor]) -> tuple[list[Tensor], list[TensorStorage]]:
    """Return what the choice averages of the trainable weights.

    Raises:
        InputError: that is nothing.
    """
    averaged, storages = choice.select(trainable)
    if not averaged:
        raise InputError(
            "every parameter of the optimizer is frozen, or left out by its plan: there is nothing to average"
        )
    return averaged, storages


class MixedSums:
    """Zeros shaped as ``like``, each in its own storage.

    Args:
        like: tensors that give shapes and devices.
        storages: one for each.
        seed: of the small types' stochastic rounding.
    """

    def __init__(self, like: Sequence[Tensor], storages: Sequence[TensorStorage], *, seed: int) -> None:
        self._count = len(like)
        self._places: dict[TensorStorage, list[int]] = {}
        for index, (_, storage) in enumerate(zip(like, storages, strict=True)):
            self._places.setdefault(storage, []).append(index)
        self._groups = [
            _sums([like[index] for index in places], storage, seed=seed + 2 * number)
            for number, (storage, places) in enumerate(self._places.items())
        ]

    def read(self) -> list[Tensor]:
        """Return the sums; those in float32 or float64 are the memory itself, the others copies in float32."""
        if len(self._groups) == 1:
            return self._groups[0].read()
        values: list[Tensor] = [torch.empty(0)] * self._count
        for group, places in zip(self._groups, self._places.values(), strict=True):
            for index, value in zip(places, group.read(), strict=True):
                values[index] = value
        return values

    def write(self, values: Sequence[Tensor]) -> None:
        """Keep ``values``, rounded where the storage is small."""
        if len(self._groups) == 1:
            self._groups[0].write(values)
            return
        for group, places in zip(self._groups, self._places.values(), strict=True):
            group.write([values[index] for index in places])

    def held(self) -> list[Tensor]:
        """Return every tensor that takes memory."""
        return [tensor for group in self._groups for tensor in group.held()]

    def state_dict(self) -> dict[str, Any]:
        """Return the memory by reference."""
        return {"groups": [group.state_dict() for group in self._groups]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from saved memory of the same shapes and storages."""
        if len(state["groups"]) != len(self._groups):
            raise InputError("the saved sums are kept in other storages: build with the same storage or plan")
        for group, saved in zip(self._groups, state["groups"], strict=True):
            group.load_state_dict(saved)


def _sums(like: list[Tensor], storage: TensorStorage, *, seed: int) -> FullSums | CompactSums:
    if storage.storage == "float32":
        return FullSums(like)
    return CompactSums(like, storage=storage.storage, error_feedback=storage.error_feedback, seed=seed)
