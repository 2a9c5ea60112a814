"""Streaming mean and variance of weights over the updates of a training run."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from lightsleeper.errors import InputError

__all__ = ["WeightDistribution"]


class WeightDistribution:
    """Running mean and variance of each weight, by Welford's recurrence in West's weighted form (CACM 22, 1979).

    ``E[x^2] - E[x]^2``, which SWAG uses, loses the variance of trained weights to cancellation in float32
    (reference/weight_averaging.md section 5.4). The recurrence adds up squared deviations and so does not::

        W += q;  d = x - mean;  mean += d*q/W;  M2 += q*d*(x - mean);  variance = M2/(W - 1)

    Sums are kept in float32, or in float64 for float64 weights, whatever smaller type the weights have: a bfloat16
    running mean stops moving (section 5.1). They take one copy of the weights, two with the variance.

    Args:
        weights: the tensors to watch, for example ``model.parameters()``; each is read at every :meth:`update`.
        variance: keep the squared deviations too.

    Raises:
        InputError: no tensors, or one that is not of a real floating type.
    """

    def __init__(self, weights: Iterable[Tensor], *, variance: bool = True) -> None:
        self.weights = list(weights)
        if not self.weights:
            raise InputError("there are no weights to watch: give at least one tensor")
        for index, weight in enumerate(self.weights):
            if not weight.is_floating_point():
                raise InputError(f"weight {index} is {weight.dtype}: only real floating types have a mean here")
        self.count = 0.0
        self._mean = [torch.zeros_like(w, dtype=_sum_type(w)) for w in self.weights]
        self._m2 = [torch.zeros_like(m) for m in self._mean] if variance else None

    @property
    def nbytes(self) -> int:
        """Bytes held between updates."""
        return sum(t.numel() * t.element_size() for t in [*self._mean, *(self._m2 or [])])

    @torch.no_grad()
    def update(self, weight: float = 1.0) -> None:
        """Take the watched tensors' present values as one sample, which counts ``weight`` (above 0) times."""
        if not weight > 0.0:
            raise InputError(f"a sample's weight is {weight!r}: give a number above 0")
        values = [w.detach().to(m.dtype) for w, m in zip(self.weights, self._mean, strict=True)]
        self.count += weight
        share = weight / self.count
        if self._m2 is None:
            if share == 1.0:
                torch._foreach_copy_(self._mean, values)
            else:
                torch._foreach_lerp_(self._mean, values, share)
            return
        before = torch._foreach_sub(values, self._mean)
        torch._foreach_add_(self._mean, before, alpha=share)
        torch._foreach_addcmul_(self._m2, before, torch._foreach_sub(values, self._mean), value=weight)

    def reset(self, *, mean_weight: float = 0.0) -> None:
        """Start again: from nothing, or from the present mean as a sample that counts ``mean_weight`` times."""
        if self.count == 0.0:
            return
        self.count = mean_weight
        if mean_weight == 0.0:
            torch._foreach_zero_(self._mean)
        if self._m2 is not None:
            torch._foreach_zero_(self._m2)

    def mean(self) -> list[Tensor]:
        """Return the mean of each tensor: the running sums themselves, which the next update changes.

        Raises:
            InputError: there is no sample yet.
        """
        self._require(1.0, "mean")
        return self._mean

    def variance(self) -> list[Tensor]:
        """Return the unbiased variance of each weight over the samples.

        Raises:
            InputError: there are under two samples, or the variance is not kept.
        """
        if self._m2 is None:
            raise InputError("the variance is not kept: build with variance=True")
        self._require(2.0, "variance")
        return list(torch._foreach_div(self._m2, self.count - 1.0))

    def _require(self, count: float, what: str) -> None:
        if self.count < count and not (count == 1.0 and self.count > 0.0):
            raise InputError(f"a {what} needs {count:g} samples or more, there are {self.count:g}: call update() first")

    def state_dict(self) -> dict[str, Any]:
        """Return count and sums, by reference, for :meth:`load_state_dict`."""
        return {"count": self.count, "mean": list(self._mean), "m2": None if self._m2 is None else list(self._m2)}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a saved state of a distribution over tensors of the same shapes.

        Raises:
            InputError: the state is of other tensors or of other options.
        """
        if (state["m2"] is None) != (self._m2 is None):
            raise InputError(
                "the saved weight distribution and this one differ in variance=: build with the same option"
            )
        sums, saved = [*self._mean, *(self._m2 or [])], [*state["mean"], *(state["m2"] or [])]
        if [(t.shape, t.dtype) for t in sums] != [(t.shape, t.dtype) for t in saved]:
            raise InputError(
                "the saved weight distribution is of tensors with other shapes or types: load it for the same model"
            )
        torch._foreach_copy_(sums, saved)
        self.count = state["count"]


def _sum_type(weight: Tensor) -> torch.dtype:
    return torch.promote_types(weight.dtype, torch.float32)
