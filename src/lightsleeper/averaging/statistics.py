"""Streaming mean and variance of weights over the updates of a training run."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from lightsleeper.averaging.lean_step import without_gradient
from lightsleeper.averaging.storage import MixedSums, OneStorage, TensorStorage
from lightsleeper.averaging.sums import Storage
from lightsleeper.errors import InputError

__all__ = ["WeightDistribution"]


class WeightDistribution:
    """Running mean and variance of each weight, by Welford's recurrence in West's weighted form (CACM 22, 1979).

    ``E[x^2] - E[x]^2``, which SWAG uses, loses the variance of trained weights to cancellation in float32
    (reference/weight_averaging.md section 5.4). The recurrence adds up squared deviations and so does not::

        W += q;  d = x - mean;  mean += d*q/W;  M2 += q*d*(x - mean);  variance = M2/(W - 1)

    The mean takes 4 bytes a weight in float32 (8 for float64 weights), 3 in bfloat16 and float16, 2 in int8; without
    error feedback the small types take one less. The squared deviations take as many again, those of the small types
    as bfloat16. With error feedback the mean of 1,000 bfloat16 weights is right to 1e-3 (int8: to 2e-3 of the tensor's
    largest weight); without it the mean is unbiased but noisy. An update works on small types in float32, which for
    that moment takes more memory.

    Args:
        weights: the tensors to watch, for example ``model.parameters()``; each is read at every :meth:`update`.
        variance: keep the squared deviations too.
        storage: type of the sums between updates, or one :class:`TensorStorage` for each tensor. ``"float16"`` holds
            weights up to 65,504.
        error_feedback: for the small types, keep what rounding cuts off in one byte more. A :class:`TensorStorage` has
            its own.
        seed: of the small types' stochastic rounding.

    Raises:
        InputError: no tensors, one that is not of a real floating type, or an unknown storage.
    """

    def __init__(
        self,
        weights: Iterable[Tensor],
        *,
        variance: bool = True,
        storage: Storage | Sequence[TensorStorage] = "float32",
        error_feedback: bool = True,
        seed: int = 0,
    ) -> None:
        self.weights = list(weights)
        if not self.weights:
            raise InputError("there are no weights to watch: give at least one tensor")
        for index, weight in enumerate(self.weights):
            if not weight.is_floating_point():
                raise InputError(f"weight {index} is {weight.dtype}: only real floating types have a mean here")

        if isinstance(storage, str):
            one = OneStorage(storage).storage
            storages = [TensorStorage(one, error_feedback)] * len(self.weights)
        else:
            storages = list(storage)
            if len(storages) != len(self.weights):
                raise InputError(
                    f"there are {len(storages)} storages for {len(self.weights)} weights: give one for each"
                )
        self.count = 0.0
        self._mean = MixedSums(self.weights, storages, seed=seed)
        self._one_type = {t.dtype for t in (*self.weights, *self._mean.read())} == {self.weights[0].dtype}
        self._m2: MixedSums | None = None
        if variance:
            # Squared deviations span too many decades for float16, or for one scale a tensor.
            wide = [s if s.storage == "float32" else s._replace(storage="bfloat16") for s in storages]
            self._m2 = MixedSums(self.weights, wide, seed=seed + 1)

    @property
    def nbytes(self) -> int:
        """Bytes held between updates."""
        held = self._mean.held() + (self._m2.held() if self._m2 else [])
        return sum(t.numel() * t.element_size() for t in held)

    @without_gradient
    def update(self, weight: float = 1.0) -> None:
        """Take the watched tensors' present values as one sample, which counts ``weight`` (above 0) times."""
        if not weight > 0.0:
            raise InputError(f"a sample's weight is {weight!r}: give a number above 0")
        self.count += weight
        share = weight / self.count
        mean = self._mean.read()
        values = self.weights
        if not self._one_type:
            values = [w.to(m.dtype) for w, m in zip(self.weights, mean, strict=True)]
        if self._m2 is not None:
            m2 = self._m2.read()
            before = torch._foreach_sub(values, mean)
            torch._foreach_add_(mean, before, alpha=share)
            torch._foreach_addcmul_(m2, before, torch._foreach_sub(values, mean), value=weight)
            self._m2.write(m2)
        elif share == 1.0:
            torch._foreach_copy_(mean, values)
        else:
            torch._foreach_lerp_(mean, values, share)
        self._mean.write(mean)

    @torch.no_grad()
    def reset(self, *, mean_weight: float = 0.0) -> None:
        """Start again: from nothing, or from the present mean as a sample that counts ``mean_weight`` times."""
        if self.count == 0.0:
            return
        self.count = mean_weight
        if mean_weight == 0.0:
            torch._foreach_zero_(self._mean.held())
        if self._m2 is not None:
            torch._foreach_zero_(self._m2.held())

    def mean(self) -> list[Tensor]:
        """Return the mean of each tensor; of float32 storage the sums themselves, which the next update changes.

        Raises:
            InputError: there is no sample yet.
        """
        if self.count == 0.0:
            raise InputError("a mean needs a sample, there are 0: call update() first")
        return self._mean.read()

    def variance(self) -> list[Tensor]:
        """Return the unbiased variance of each weight over the samples.

        Raises:
            InputError: there are under two samples, or the variance is not kept.
        """
        if self._m2 is None:
            raise InputError("the variance is not kept: build with variance=True")
        if self.count < 2.0:
            raise InputError(f"a variance needs 2 samples or more, there are {self.count:g}: call update() first")
        return list(torch._foreach_div(self._m2.read(), self.count - 1.0))

    def state_dict(self) -> dict[str, Any]:
        """Return count and sums, by reference, for :meth:`load_state_dict`."""
        m2 = None if self._m2 is None else self._m2.state_dict()
        return {"count": self.count, "mean": self._mean.state_dict(), "m2": m2}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a saved state of a distribution over tensors of the same shapes and with the same options.

        Raises:
            InputError: the state is of other tensors or of other options.
        """
        if (state["m2"] is None) != (self._m2 is None):
            raise InputError("the saved weight distribution differs in variance=: build with the same option")
        self._mean.load_state_dict(state["mean"])
        if self._m2 is not None:
            self._m2.load_state_dict(state["m2"])
        self.count = state["count"]
