"""The mean of an optimizer's trainable weights over one window, which can be read until the next window begins."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from lightsleeper.averaging.statistics import WeightDistribution
from lightsleeper.averaging.storage import StorageChoice, TensorStorage, selected

__all__ = ["RunningMean", "same_tensors"]


class RunningMean:
    """Mean of the trainable weights since the window began.

    A finished mean stays readable, in the same memory, until the first sample of the next window takes its place. Which
    weights are trainable is read at that sample: what was frozen, thawed or added during a window joins or leaves at
    the next.

    Args:
        choice: which of the trainable weights are averaged, and in which storage.
    """

    def __init__(self, choice: StorageChoice) -> None:
        self.choice = choice
        self.parameters: list[Tensor] = []
        self.finished = True
        self._distribution: WeightDistribution | None = None
        self._carry = 0.0

    @property
    def open(self) -> bool:
        """Whether the present window has a sample."""
        return not self.finished

    @property
    def nbytes(self) -> int:
        """Bytes of the mean."""
        return 0 if self._distribution is None else self._distribution.nbytes

    def sample(self, trainable: Callable[[], list[Tensor]]) -> None:
        """Take one sample; ``trainable`` says of what, and is asked at the first of a window."""
        if self.finished or self._distribution is None:
            self._begin(trainable())
        assert self._distribution is not None
        self._distribution.update()

    def finish(self, *, carry: float = 0.0) -> None:
        """End the window. The next mean starts empty, or from this one as a sample that counts ``carry`` times."""
        self.finished = True
        self._carry = carry

    def values(self) -> list[tuple[Tensor, Tensor]]:
        """Return each parameter with its mean; nothing where no sample was ever taken."""
        if self._distribution is None:
            return []
        return list(zip(self.parameters, self._distribution.mean(), strict=True))

    def _begin(self, trainable: list[Tensor]) -> None:
        averaged, storages = selected(self.choice, trainable)
        if self._distribution is not None and same_tensors(averaged, self.parameters):
            self._distribution.reset(mean_weight=self._carry)
        else:
            self.parameters = averaged
            self._distribution = self._build(storages)
        self.finished = False

    def _build(self, storages: list[TensorStorage]) -> WeightDistribution:
        return WeightDistribution(self.parameters, variance=False, storage=storages)

    def state_dict(self, parameters: list[Tensor]) -> dict[str, Any]:
        """Return the state, with the averaged parameters by their place in ``parameters``."""
        places = {id(p): index for index, p in enumerate(parameters)}
        return {
            "finished": self.finished,
            "carry": self._carry,
            "parameters": [places[id(p)] for p in self.parameters],
            "distribution": None if self._distribution is None else self._distribution.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any], parameters: list[Tensor]) -> None:
        """Continue from a saved state."""
        self.finished = state["finished"]
        self._carry = state["carry"]
        self.parameters = [parameters[index] for index in state["parameters"]]
        self._distribution = None
        if state["distribution"] is not None:
            self._distribution = self._build(self.choice.select(self.parameters)[1])
            self._distribution.load_state_dict(state["distribution"])


def same_tensors(left: list[Tensor], right: list[Tensor]) -> bool:
    """Whether both lists hold the same tensor objects in the same order."""
    return len(left) == len(right) and all(a is b for a, b in zip(left, right, strict=True))
