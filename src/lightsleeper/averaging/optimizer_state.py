"""What happens to the inner optimizer's own state (momentum) when the mean is written back."""

from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim import Optimizer

from lightsleeper.averaging.wrapper import unique_parameters
from lightsleeper.errors import InputError

__all__ = ["StateAtWriteBack", "StatePolicy"]

StateAtWriteBack = Literal["keep", "reset", "average"]


class StatePolicy:
    """Keep, reset or average the inner optimizer's state at a write-back.

    ``keep`` leaves it; ``reset`` empties it, as if the inner optimizer were new (Guo, arXiv:2201.00519); ``average``
    gives its tensors that are shaped as their weights (momentum, second moments) the mean over the same samples, at the
    cost of a copy of each. The papers do not say. Our default is ``keep``: measured, ``average`` was as good and
    ``reset`` as good or worse (docs/averaging.md, "What the choices cost").

    Args:
        base: the inner optimizer.
        kind: the choice.
    """

    def __init__(self, base: Optimizer, kind: StateAtWriteBack) -> None:
        if kind not in ("keep", "reset", "average"):
            raise InputError(f'state is {kind!r}: give "keep", "reset" or "average"')
        self.base = base
        self.kind = kind
        self._means: dict[tuple[int, str], Tensor] = {}
        self._counts: dict[tuple[int, str], int] = {}

    def sample(self) -> None:
        """Take the present state as a sample."""
        if self.kind != "average":
            return
        for key, value in self._entries().items():
            count = self._counts.get(key, 0) + 1
            if count == 1:
                self._means[key] = value.to(torch.promote_types(value.dtype, torch.float32), copy=True)
            else:
                self._means[key].lerp_(value.to(self._means[key].dtype), 1.0 / count)
            self._counts[key] = count

    def write_back(self) -> None:
        """Apply the choice and begin a new window."""
        if self.kind == "reset":
            self.base.state.clear()
        for key, value in self._entries().items() if self._means else ():
            if key in self._means:
                value.copy_(self._means[key])
        self._means.clear()
        self._counts.clear()

    def _entries(self) -> dict[tuple[int, str], Tensor]:
        """State tensors shaped as their parameter, by the parameter's number and the state's name."""
        found = {}
        for index, parameter in enumerate(unique_parameters(self.base.param_groups)):
            for name, value in self.base.state.get(parameter, {}).items():
                if (
                    isinstance(value, Tensor)
                    and value.shape == parameter.shape
                    and value.is_floating_point()
                    and name != "step"
                ):
                    found[index, name] = value
        return found

    def state_dict(self) -> list[dict[str, Any]]:
        """Return the running means, by reference."""
        return [
            {"parameter": key[0], "name": key[1], "count": self._counts[key], "mean": mean}
            for key, mean in self._means.items()
        ]

    def load_state_dict(self, saved: list[dict[str, Any]]) -> None:
        """Continue from saved running means."""
        parameters = unique_parameters(self.base.param_groups)
        self._means = {
            (row["parameter"], row["name"]): row["mean"].to(parameters[row["parameter"]].device, copy=True)
            for row in saved
        }
        self._counts = {(row["parameter"], row["name"]): row["count"] for row in saved}
