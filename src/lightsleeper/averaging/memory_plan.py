"""From a byte budget to a plan: which tensors are averaged, each in which storage, and how often they are sampled.

What averaging a tensor is worth cannot be known beforehand, so the rule keeps all tensors alike for as long as it can.
Each copy of a tensor is stored in one of four ways, and the budget is met by the worst of them being as good as
possible:

1. float32, 4 bytes a weight;
2. float16 (bfloat16 where weights are large) with error feedback, 3 bytes;
3. int8 with error feedback, 2 bytes;
4. int8 without, 1 byte, where a window is sampled at most 16 times, as the rounding adds up over the samples.

Only where all in the fourth way do not fit are whole layers left out, the first ones first; they keep the weights of
the steps. What is left of the budget then betters single tensors, the last ones first. What each step down costs is
measured in docs/averaging.md.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, NamedTuple

from torch import Tensor, nn

from lightsleeper.averaging.storage import TensorStorage
from lightsleeper.errors import InputError

__all__ = ["MemoryPlan", "PlannedTensor", "plan_memory"]

# Rounding of about 0.4 of a last place at each write adds up to sqrt(n/3) of that in a mean of n: here one last place.
_MOST_SAMPLES_WITHOUT_FEEDBACK = 16
# A sixty-fourth of float16's largest number: room for the weights to grow.
_LARGEST_FOR_FLOAT16 = 1024.0


@dataclass(frozen=True, kw_only=True)
class PlannedTensor:
    """What a plan does with one tensor: ``storage`` is None where it is left out; ``nbytes`` are of all its copies."""

    name: str
    tensor: Tensor = field(repr=False, compare=False)
    storage: TensorStorage | None
    nbytes: int


@dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """A plan for the extra copies of weights, made by :func:`plan_memory`; ``print`` it, then give it as ``plan=``.

    It holds the tensors themselves, so the groups of the optimizer may have any order.
    """

    tensors: tuple[PlannedTensor, ...]
    budget_bytes: int
    copies: int

    @property
    def nbytes(self) -> int:
        """Bytes of all copies between steps, once each has been made: at most the budget."""
        return sum(planned.nbytes for planned in self.tensors)

    @property
    def most_samples(self) -> int | None:
        """Samples that a window may have at most; None where any number is fine."""
        noisy = any(p.storage is not None and _noisy(p.storage) for p in self.tensors)
        return _MOST_SAMPLES_WITHOUT_FEEDBACK if noisy else None

    def select(self, trainable: Sequence[Tensor]) -> tuple[list[Tensor], list[TensorStorage]]:
        """Return the tensors to average, in order, and the storage of each.

        Raises:
            InputError: a trainable tensor is not in the plan.
        """
        storage_of = {id(planned.tensor): planned.storage for planned in self.tensors}
        averaged, storages = [], []
        for tensor in trainable:
            if id(tensor) not in storage_of:
                raise InputError(
                    f"a trainable parameter shaped {list(tensor.shape)} is not in the memory plan: "
                    "plan from all parameters that the optimizer trains"
                )
            storage = storage_of[id(tensor)]
            if storage is not None:
                averaged.append(tensor)
                storages.append(storage)
        return averaged, storages

    def options(self) -> object:
        """Return the storages in order, for a checkpoint."""
        return "plan of " + ", ".join(_called(planned.storage) for planned in self.tensors)

    def __str__(self) -> str:
        rows = [("tensor", "shape", "weights", "storage", "bytes")] + [
            (p.name, _shape(p.tensor), f"{p.tensor.numel():,}", _called(p.storage), f"{p.nbytes:,}")
            for p in self.tensors
        ]
        widths = [max(len(row[column]) for row in rows) for column in range(5)]
        name, shape, weights, storage, size = widths
        lines = [
            f"{row[0]:<{name}}  {row[1]:<{shape}}  {row[2]:>{weights}}  {row[3]:<{storage}}  {row[4]:>{size}}"
            for row in rows
        ]
        copies = "1 copy" if self.copies == 1 else f"{self.copies} copies"
        often = "as often as the optimizer says"
        if self.most_samples is not None:
            often = f"at most {self.most_samples} times in a window"
        return "\n".join(
            [*lines, f"{copies}: {self.nbytes:,} of {self.budget_bytes:,} bytes; sampled {often}"],
        )


def plan_memory(
    weights: nn.Module | Iterable[Tensor] | Iterable[tuple[str, Tensor]],
    *,
    budget_bytes: int,
    copies: int = 1,
) -> MemoryPlan:
    """Choose what to average within a number of bytes.

    The budget is for what is held between steps. A sample or a write-back of the small types works on float32 copies of
    all averaged tensors and takes more for that moment; so does ``averaged()``, which holds the weights of the steps.

    Args:
        weights: a module, named tensors such as ``model.named_parameters()``, or tensors, in the order of the layers.
            Frozen ones are left out of the plan, tied ones counted once.
        budget_bytes: bytes that all copies may take together.
        copies: 1 for PSWA and PSWM; for PWALKS ``last``, and one more with ``of="periods"``.

    Raises:
        InputError: an option is out of range, nothing is trainable, or the last layer alone does not fit.
    """
    for name, value, least in (("budget_bytes", budget_bytes, 0), ("copies", copies, 1)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise InputError(f"{name} is {value!r}: give a whole number of at least {least}")
    named = _trainable(weights)
    ladders = [_ladder(tensor, copies) for _, tensor in named]
    kept = _kept_at_the_lowest([name for name, _ in named], ladders, budget_bytes)
    rungs = {index: len(ladders[index]) - 1 for index in kept}
    left = budget_bytes - sum(ladders[index][rung].nbytes for index, rung in rungs.items())
    for rung in range(max(map(len, ladders)) - 2, -1, -1):
        for index in reversed(kept):
            if rungs[index] != rung + 1:
                continue
            more = ladders[index][rung].nbytes - ladders[index][rung + 1].nbytes
            if more <= left:
                rungs[index] = rung
                left -= more
    tensors = []
    for index, (name, tensor) in enumerate(named):
        way = ladders[index][rungs[index]] if index in rungs else _Way(None, 0)
        tensors.append(PlannedTensor(name=name, tensor=tensor, storage=way.storage, nbytes=way.nbytes))
    return MemoryPlan(tensors=tuple(tensors), budget_bytes=budget_bytes, copies=copies)


class _Way(NamedTuple):
    """A way to keep all copies of a tensor, and its bytes."""

    storage: TensorStorage | None
    nbytes: int


def _trainable(weights: nn.Module | Iterable[Tensor] | Iterable[tuple[str, Tensor]]) -> list[tuple[str, Tensor]]:
    entries: Iterable[Any] = weights.named_parameters() if isinstance(weights, nn.Module) else weights
    found: dict[int, tuple[str, Tensor]] = {}
    for index, entry in enumerate(entries):
        name, tensor = (str(index), entry) if isinstance(entry, Tensor) else entry
        if tensor.requires_grad:
            found.setdefault(id(tensor), (name, tensor))
    if not found:
        raise InputError("there is no trainable tensor to plan for: give a model, or its named_parameters()")
    return list(found.values())


def _ladder(tensor: Tensor, copies: int) -> list[_Way]:
    """Ways to store a tensor, each worse than the one before it and smaller."""
    large = tensor.numel() > 0 and float(tensor.detach().abs().max()) > _LARGEST_FOR_FLOAT16
    storages = [
        TensorStorage("float32"),
        TensorStorage("bfloat16" if large else "float16"),
        TensorStorage("int8"),
        TensorStorage("int8", error_feedback=False),
    ]
    ladder: list[_Way] = []
    for storage in storages:
        way = _Way(storage, copies * storage.nbytes(tensor))
        # The scale of an int8 tensor makes it no smaller where it has but a few weights.
        if not ladder or way.nbytes < ladder[-1].nbytes:
            ladder.append(way)
    return ladder


def _kept_at_the_lowest(names: list[str], ladders: list[list[_Way]], budget_bytes: int) -> list[int]:
    """Return the tensors left when the first layers have gone until the rest, at their smallest, fit."""
    layers = [list(run) for _, run in groupby(range(len(names)), lambda index: _layer(names[index]))]

    def size() -> int:
        return sum(ladders[index][-1].nbytes for layer in layers for index in layer)

    while size() > budget_bytes and len(layers) > 1:
        layers.pop(0)
    if size() > budget_bytes:
        raise InputError(
            f"budget_bytes is {budget_bytes:,}: the smallest plan, the last layer ({_layer(names[-1])}) alone in its "
            f"smallest storage, takes {size() - budget_bytes:,} bytes more"
        )
    return [index for layer in layers for index in layer]


def _layer(name: str) -> str:
    return name.rpartition(".")[0] or name


def _noisy(storage: TensorStorage) -> bool:
    return storage.storage != "float32" and not storage.error_feedback


def _called(storage: TensorStorage | None) -> str:
    if storage is None:
        return "left out"
    if storage.storage == "float32":
        return "float32"
    return f"{storage.storage} + 1 byte" if storage.error_feedback else storage.storage


def _shape(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "1"
