"""Errors that a person can mend: one clear line that names the thing at fault and the way out."""

__all__ = ["InputError", "LightsleeperError", "MissingToolError", "VerificationError"]


class LightsleeperError(Exception):
    """Base of every error that lightsleeper raises on purpose."""


class InputError(LightsleeperError):
    """What was given cannot be used: a file, a label, a number. The message names it and the mend."""


class MissingToolError(LightsleeperError):
    """An external program is not installed. The message names the package that holds it."""


class VerificationError(LightsleeperError):
    """A simulated circuit strays from its reference by more than a limit. The message counts the rows."""
