"""The last few copies of a set of weights, and their mean."""

from collections import deque
from typing import Any

import torch
from torch import Tensor

from lightsleeper.averaging.running_mean import same_tensors

__all__ = ["WeightRing"]


class WeightRing:
    """Ring of the last ``capacity`` copies; it begins anew when the set of parameters changes (frozen, thawed, added).

    Args:
        capacity: copies kept, at least 1.
    """

    def __init__(self, capacity: int) -> None:
        self.parameters: list[Tensor] = []
        self._copies: deque[list[Tensor]] = deque(maxlen=capacity)

    @property
    def nbytes(self) -> int:
        """Bytes of the copies."""
        return sum(t.numel() * t.element_size() for copy in self._copies for t in copy)

    @torch.no_grad()
    def push(self, parameters: list[Tensor], values: list[Tensor]) -> None:
        """Copy ``values``, one for each of ``parameters``; the oldest copy makes room, in its own memory."""
        if not same_tensors(parameters, self.parameters):
            self.parameters = parameters
            self._copies.clear()
        if len(self._copies) == self._copies.maxlen:
            oldest = self._copies.popleft()
            torch._foreach_copy_(oldest, values)
            self._copies.append(oldest)
        else:
            self._copies.append([value.detach().clone() for value in values])

    @torch.no_grad()
    def mean(self, newest: list[Tensor] | None = None) -> list[tuple[Tensor, Tensor]]:
        """Return each parameter with the mean of its copies, in float32 or float64; nothing while there is no copy.

        Args:
            newest: values to count as if they had been pushed just now.
        """
        copies = list(self._copies)
        if newest is not None:
            copies = [*copies[max(0, len(copies) + 1 - (self._copies.maxlen or 0)) :], newest]
        if not copies:
            return []
        total = [t.to(torch.promote_types(t.dtype, torch.float32), copy=True) for t in copies[0]]
        for copy in copies[1:]:
            torch._foreach_add_(total, copy)
        torch._foreach_div_(total, float(len(copies)))
        return list(zip(self.parameters, total, strict=True))

    def state_dict(self, parameters: list[Tensor]) -> dict[str, Any]:
        """Return the copies, by reference, and the places of their parameters in ``parameters``."""
        places = {id(p): index for index, p in enumerate(parameters)}
        return {
            "parameters": [places[id(p)] for p in self.parameters],
            "copies": [list(copy) for copy in self._copies],
        }

    def load_state_dict(self, state: dict[str, Any], parameters: list[Tensor]) -> None:
        """Continue from saved copies."""
        self.parameters = [parameters[index] for index in state["parameters"]]
        self._copies.clear()
        for copy in state["copies"]:
            pairs = zip(copy, self.parameters, strict=True)
            self._copies.append([value.to(parameter.device, copy=True) for value, parameter in pairs])
