"""How long work tells that it goes on."""

from typing import Protocol

__all__ = ["Progress", "Silent"]


class Progress(Protocol):
    """Receives the advance of named steps."""

    def begin(self, step: str, total: int) -> None:
        """A step of `total` units begins; the one before it is done."""

    def advance(self, units: int = 1) -> None:
        """Units of the current step are done; may be called from several threads."""


class Silent:
    """Says nothing."""

    def begin(self, step: str, total: int) -> None:
        """Ignored."""

    def advance(self, units: int = 1) -> None:
        """Ignored."""
