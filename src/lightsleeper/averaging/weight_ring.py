"""The last few copies of a set of weights, and their mean."""

import itertools
from collections import deque
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lightsleeper.averaging.running_mean import same_tensors
from lightsleeper.averaging.sampling import mixed
from lightsleeper.averaging.storage import MixedSums, StorageChoice, selected

__all__ = ["WeightRing"]


class WeightRing:
    """Ring of the last ``capacity`` copies; it begins anew when the set of parameters changes (frozen, thawed, added).

    Args:
        capacity: copies kept, at least 1.
        choice: which of the weights are copied, and in which storage.
    """

    def __init__(self, capacity: int, choice: StorageChoice) -> None:
        self.choice = choice
        self.parameters: list[Tensor] = []
        self._copies: deque[MixedSums] = deque(maxlen=capacity)
        self._pushes = 0

    @property
    def nbytes(self) -> int:
        """Bytes of the copies."""
        return sum(t.numel() * t.element_size() for copy in self._copies for t in copy.held())

    @torch.no_grad()
    def push(self, parameters: Sequence[Tensor], values: Sequence[Tensor]) -> None:
        """Copy ``values``, one for each of ``parameters``; the oldest copy makes room, in its own memory."""
        chosen, _ = selected(self.choice, parameters)
        if not same_tensors(chosen, self.parameters):
            self.parameters = chosen
            self._copies.clear()
        full = len(self._copies) == self._copies.maxlen
        copy = self._copies.popleft() if full else self._empty()
        value_of = {id(parameter): value for parameter, value in zip(parameters, values, strict=True)}
        copy.write([value_of[id(parameter)].detach() for parameter in chosen])
        self._copies.append(copy)

    def _empty(self) -> MixedSums:
        # A seed of its own for each copy, or their rounding errors would be alike and not average out.
        self._pushes += 1
        return MixedSums(self.parameters, self.choice.select(self.parameters)[1], seed=mixed(0, self._pushes) >> 1)

    @torch.no_grad()
    def mean(self, newest: list[Tensor] | None = None) -> list[tuple[Tensor, Tensor]]:
        """Return each parameter with the mean of its copies, in float32 or float64; nothing while there is no copy.

        Args:
            newest: values to count as if they had been pushed just now.
        """
        copies = list(self._copies)
        if newest is not None:
            copies = copies[max(0, len(copies) + 1 - (self._copies.maxlen or 0)) :]
        # One copy at a time, as those of small storage are read into float32.
        total: list[Tensor] = []
        for values in itertools.chain((copy.read() for copy in copies), () if newest is None else (newest,)):
            if total:
                torch._foreach_add_(total, values)
            else:
                total = [t.to(torch.promote_types(t.dtype, torch.float32), copy=True) for t in values]
        if not total:
            return []
        torch._foreach_div_(total, float(len(copies) + (newest is not None)))
        return list(zip(self.parameters, total, strict=True))

    def state_dict(self, parameters: list[Tensor]) -> dict[str, Any]:
        """Return the copies, by reference, and the places of their parameters in ``parameters``."""
        places = {id(p): index for index, p in enumerate(parameters)}
        return {
            "parameters": [places[id(p)] for p in self.parameters],
            "copies": [copy.state_dict() for copy in self._copies],
            "pushes": self._pushes,
        }

    def load_state_dict(self, state: dict[str, Any], parameters: list[Tensor]) -> None:
        """Continue from saved copies."""
        self.parameters = [parameters[index] for index in state["parameters"]]
        self._copies.clear()
        for saved in state["copies"]:
            copy = self._empty()
            copy.load_state_dict(saved)
            self._copies.append(copy)
        self._pushes = state["pushes"]
