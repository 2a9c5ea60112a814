"""Packages that only the benchmarks need: found, or an error that says how to install them."""

import importlib
from typing import Any

from lightsleeper.errors import MissingToolError

__all__ = ["optional_package"]


def optional_package(module: str, *, distribution: str, extra: str = "bench") -> Any:
    """Import a module that an extra of this package brings.

    Raises:
        MissingToolError: it is not installed; names the distribution and the extra.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.split(".", maxsplit=1)[0]:
            raise
        raise MissingToolError(
            f"{distribution} is not installed: pip install 'lightsleeper[{extra}]', or leave out what needs it"
        ) from error
