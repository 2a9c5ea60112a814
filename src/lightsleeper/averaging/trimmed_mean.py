"""A streaming mean that leaves out each weight's extreme samples."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from lightsleeper.averaging.sums import FullSums
from lightsleeper.errors import InputError

__all__ = ["TrimmedMean"]

_Pick = Callable[[Tensor, Tensor], Tensor]


class TrimmedMean:
    """Mean of each weight without its ``trim`` lowest and ``trim`` highest samples, in one pass.

    The extremes so far stand aside; only what a new sample displaces from among them enters the mean. So a wild sample
    never touches the mean, where subtracting it afterwards would leave its rounding error. It takes ``1 + 2*trim``
    copies of the weights.

    Args:
        weights: the tensors to watch; each is read at every :meth:`update`.
        trim: samples left out at each end, at least 1.

    Raises:
        InputError: no tensors, or ``trim`` is out of range.
    """

    def __init__(self, weights: Iterable[Tensor], *, trim: int = 1) -> None:
        if isinstance(trim, bool) or not isinstance(trim, int) or trim < 1:
            raise InputError(f"trim is {trim!r}: give a whole number of at least 1")
        self.weights = list(weights)
        if not self.weights:
            raise InputError("there are no weights to watch: give at least one tensor")
        self.trim = trim
        self.count = 0
        self._mean = FullSums(self.weights).read()
        self._lowest: list[list[Tensor]] = []
        self._highest: list[list[Tensor]] = []

    @property
    def nbytes(self) -> int:
        """Bytes held between updates."""
        return sum(t.numel() * t.element_size() for row in [self._mean, *self._lowest, *self._highest] for t in row)

    @torch.no_grad()
    def update(self) -> None:
        """Take the watched tensors' present values as one sample."""
        self.count += 1
        values = [w.detach().to(m.dtype, copy=True) for w, m in zip(self.weights, self._mean, strict=True)]
        for lowest in self._lowest:
            values = _exchange(lowest, values, keep=torch.minimum, pass_on=torch.maximum)
        if len(self._lowest) < self.trim:
            self._lowest.append(values)
            return
        for highest in self._highest:
            values = _exchange(highest, values, keep=torch.maximum, pass_on=torch.minimum)
        if len(self._highest) < self.trim:
            self._highest.append(values)
            return
        torch._foreach_lerp_(self._mean, values, 1.0 / (self.count - 2 * self.trim))

    def mean(self) -> list[Tensor]:
        """Return the trimmed mean of each tensor, by reference.

        Raises:
            InputError: nothing is left: there are no more than ``2*trim`` samples.
        """
        if self.count <= 2 * self.trim:
            raise InputError(
                f"a mean trimmed by {self.trim} needs over {2 * self.trim} samples, there are {self.count}"
            )
        return self._mean


def _exchange(row: list[Tensor], values: list[Tensor], *, keep: _Pick, pass_on: _Pick) -> list[Tensor]:
    """Put the more extreme of each pair into ``row`` and return the others."""
    passed = [pass_on(held, value) for held, value in zip(row, values, strict=True)]
    for index, value in enumerate(values):
        row[index] = keep(row[index], value)
    return passed
