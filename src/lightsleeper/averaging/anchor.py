"""The last good average of `Settle`: in memory, or in a file where memory is scarce (flash)."""

import os
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from lightsleeper.errors import LightsleeperError

__all__ = ["Anchor", "FileAnchor", "MemoryAnchor"]

_State = MutableMapping[Tensor, dict[str, Any]]


class Anchor(Protocol):
    """Keeps one value for each parameter."""

    name: str

    @property
    def nbytes(self) -> int:
        """Bytes of memory held."""

    def join(self, parameters: list[Tensor]) -> None:
        """Begin with the parameters' own values; they are new here."""

    def read(self, parameters: list[Tensor]) -> list[Tensor]:
        """Return the values, perhaps by reference."""

    def replace(self, parameters: list[Tensor], values: list[Tensor]) -> None:
        """Take new values."""

    def follow(self, state: _State) -> None:
        """Go on with an optimizer's state that was loaded."""


class MemoryAnchor:
    """One copy of the weights, in the optimizer's state."""

    name = "memory"

    def __init__(self, state: _State) -> None:
        self._state = state

    @property
    def nbytes(self) -> int:
        """Bytes of memory held."""
        held = [values["anchor"] for values in self._state.values() if "anchor" in values]
        return sum(t.numel() * t.element_size() for t in held)

    def join(self, parameters: list[Tensor]) -> None:
        """Begin with the parameters' own values."""
        for parameter in parameters:
            self._state[parameter]["anchor"] = parameter.detach().clone()

    def read(self, parameters: list[Tensor]) -> list[Tensor]:
        """Return the values, by reference."""
        return [self._state[p]["anchor"] for p in parameters]

    def replace(self, parameters: list[Tensor], values: list[Tensor]) -> None:
        """Take new values."""
        torch._foreach_copy_(self.read(parameters), values)

    def follow(self, state: _State) -> None:
        """Go on with an optimizer's state that was loaded."""
        self._state = state


class FileAnchor:
    """One file, replaced as a whole: a power failure leaves the old one or the new one.

    Args:
        path: of the file; it is made with the first parameters that join.
    """

    name = "a file"
    nbytes = 0

    def __init__(self, path: Path) -> None:
        self.path = path
        self._places: dict[int, int] = {}

    def join(self, parameters: list[Tensor]) -> None:
        """Begin with the parameters' own values."""
        values = [*(self._load() if self._places else []), *(p.detach() for p in parameters)]
        self._places |= {id(p): len(self._places) + index for index, p in enumerate(parameters)}
        self._save(values)

    def read(self, parameters: list[Tensor]) -> list[Tensor]:
        """Return the values from the file."""
        values = self._load()
        return [values[self._places[id(p)]].to(p.device) for p in parameters]

    def replace(self, parameters: list[Tensor], values: list[Tensor]) -> None:
        """Take new values."""
        kept = self._load() if len(parameters) < len(self._places) else [torch.empty(0)] * len(parameters)
        for parameter, value in zip(parameters, values, strict=True):
            kept[self._places[id(parameter)]] = value
        self._save(kept)

    def follow(self, state: _State) -> None:
        """Go on with an optimizer's state that was loaded: its file is that of the checkpoint's optimizer."""
        self._places = {id(p): index for index, p in enumerate(state)}

    def _load(self) -> list[Tensor]:
        try:
            values: list[Tensor] = torch.load(self.path, weights_only=True)
        except (OSError, RuntimeError, EOFError) as error:
            raise LightsleeperError(f"{self.path}: the anchor cannot be read ({error}); restore the file") from error
        return values

    def _save(self, values: list[Tensor]) -> None:
        beside = self.path.with_name(self.path.name + ".part")
        try:
            with beside.open("wb") as file:
                torch.save(values, file)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self.path)
        except OSError as error:
            raise LightsleeperError(f"{self.path}: the anchor cannot be written ({error.strerror})") from error
