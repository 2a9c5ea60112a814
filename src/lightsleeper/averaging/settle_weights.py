"""The weights that `Settle` moves: the parameters w, where gradients are taken, and the fast weights z.

A network of a few thousand weights trains in steps of a fraction of a millisecond, of which calls into torch, not
arithmetic, take the most. Its fast weights therefore lie in one vector, and its gradient is made one for the moment of
a step, so that norms and sums take one call each. A larger network, one of several types or rates, or one that got a
gradient for some parameters only, is moved tensor by tensor, without any temporary copy.
"""

from collections.abc import MutableMapping, Sequence
from operator import is_
from typing import Any, Protocol

import torch
from torch import Tensor

from lightsleeper.averaging.settle_rule import BLEND

__all__ = ["FLAT_LIMIT", "Move", "Weights", "average", "norm"]

FLAT_LIMIT = 1 << 16
"""Weights up to which a network's fast weights lie in one vector: a temporary gradient of 256 KiB at most."""

_State = MutableMapping[Tensor, dict[str, Any]]


class Move(Protocol):
    """One step of z and w along one gradient g."""

    square: float
    """|g|^2; infinite or NaN where g is not finite."""

    def away(self) -> float:
        """``<g, x - z>``; since w - z = b (x - z), x need not be made."""

    def make(self, step: float, share: float) -> None:
        """``z -= e g; w = lerp(w, z, k) - (1-k)(1-b) e g``, which moves x = (w - (1-b) z)/b by ``k (z - x)``."""


class Weights:
    """w and z of one set of parameters; z lies in the optimizer's state as ``"fast"``.

    Args:
        parameters: each once; where one has no fast weights yet, they begin at the parameter.
        state: the optimizer's.
    """

    def __init__(self, parameters: list[Tensor], state: _State) -> None:
        self.parameters = parameters
        self._vector: Tensor | None = None
        fast = [state[p].get("fast", p.detach()) for p in parameters]
        if _fits_one_vector(parameters):
            # Others may have been in one vector with these, which their views would keep from being freed.
            for values in state.values():
                if "fast" in values:
                    values["fast"] = values["fast"].clone()
            self._vector = torch._C._nn.flatten_dense_tensors(fast).clone()
            parts = torch.split(self._vector, [p.numel() for p in parameters])
            self.fast = [part.view_as(p) for part, p in zip(parts, parameters, strict=True)]
        else:
            self.fast = [z.clone() for z in fast]
        for parameter, z in zip(parameters, self.fast, strict=True):
            state[parameter]["fast"] = z

    def are_of(self, parameters: Sequence[Tensor]) -> bool:
        """Whether these are the parameters, in this order."""
        return len(parameters) == len(self.parameters) and all(map(is_, parameters, self.parameters))

    def size(self) -> float:
        """|z|."""
        return norm(self.fast)

    def move(self, *, decay: float) -> Move | None:
        """The step along the parameters' gradients, all at one rate; None where none has any.

        Args:
            decay: times which the parameters are added to their gradients.
        """
        gradients = [g for p in self.parameters if (g := p.grad) is not None and not g.is_sparse]
        count = len(self.parameters)
        if self._vector is None or len(gradients) < count:
            return self.move_of_groups([1.0] * count, [decay] * count)
        if decay:
            gradients = list(torch._foreach_add(gradients, self.parameters, alpha=decay))
        return _VectorMove(self.parameters, self.fast, self._vector, gradients)

    def move_of_groups(self, rates: Sequence[float], decays: Sequence[float]) -> Move | None:
        """As `move`, tensor by tensor.

        Args:
            rates: of each parameter, over the first one's.
            decays: of each parameter.
        """
        places = [i for i, p in enumerate(self.parameters) if p.grad is not None]
        if not places:
            return None
        gradients = [g.to_dense() if g.is_sparse else g for p in self.parameters if (g := p.grad) is not None]
        if any(decays):
            gradients = [g.add(self.parameters[i], alpha=decays[i]) for i, g in zip(places, gradients, strict=True)]
        return _ListMove(self.parameters, self.fast, places, gradients, [rates[i] for i in places])


def _fits_one_vector(parameters: list[Tensor]) -> bool:
    if not parameters:
        return False
    first = parameters[0]
    alike = all(p.dtype == first.dtype and p.device == first.device for p in parameters)
    return alike and sum(p.numel() for p in parameters) <= FLAT_LIMIT


def average(parameters: list[Tensor], fast: list[Tensor]) -> list[Tensor]:
    """``x = z + (w - z)/b``."""
    if not parameters:
        return []
    with torch.no_grad():
        return list(torch._foreach_add(fast, torch._foreach_sub(parameters, fast), alpha=1.0 / BLEND))


def norm(tensors: list[Tensor]) -> float:
    """Euclidean norm of all of them together."""
    return float(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(tensors))))


class _VectorMove:
    __slots__ = ("_fast", "_gradient", "_gradients", "_parameters", "_vector", "square")

    def __init__(self, parameters: list[Tensor], fast: list[Tensor], vector: Tensor, gradients: list[Tensor]) -> None:
        self._parameters, self._fast, self._vector, self._gradients = parameters, fast, vector, gradients
        self._gradient = torch._C._nn.flatten_dense_tensors(gradients)
        self.square = torch.dot(self._gradient, self._gradient).item()

    def away(self) -> float:
        ahead = torch._C._nn.flatten_dense_tensors(self._parameters) - self._vector
        return torch.dot(self._gradient, ahead).item() / BLEND

    def make(self, step: float, share: float) -> None:
        self._vector.add_(self._gradient, alpha=-step)
        torch._foreach_lerp_(self._parameters, self._fast, share)
        torch._foreach_add_(self._parameters, self._gradients, alpha=-(1.0 - share) * (1.0 - BLEND) * step)


class _ListMove:
    """Tensor by tensor; all come nearer to their average, those without a gradient too."""

    def __init__(
        self,
        parameters: list[Tensor],
        fast: list[Tensor],
        places: list[int],
        gradients: list[Tensor],
        rates: list[float],
    ) -> None:
        self._all, self._all_fast = parameters, fast
        self._parameters = [parameters[i] for i in places]
        self._fast = [fast[i] for i in places]
        self._gradients, self._rates = gradients, rates
        self.square = norm(gradients) ** 2

    def away(self) -> float:
        ahead = torch._foreach_sub(self._parameters, self._fast)
        products = [torch.dot(g.reshape(-1), d.reshape(-1)) for g, d in zip(self._gradients, ahead, strict=True)]
        return float(torch.stack(products).sum()) / BLEND

    def make(self, step: float, share: float) -> None:
        self._add(self._fast, -step)
        torch._foreach_lerp_(self._all, self._all_fast, share)
        self._add(self._parameters, -(1.0 - share) * (1.0 - BLEND) * step)

    def _add(self, targets: list[Tensor], factor: float) -> None:
        if len(set(self._rates)) == 1:
            torch._foreach_add_(targets, self._gradients, alpha=factor * self._rates[0])
            return
        for target, gradient, rate in zip(targets, self._gradients, self._rates, strict=True):
            target.add_(gradient, alpha=factor * rate)
