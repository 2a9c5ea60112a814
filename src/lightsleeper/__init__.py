"""Design, train, verify and deploy sensors that sleep until something matters and learn while they rest."""

from importlib.metadata import version

__all__ = ["__version__"]

__version__ = version("lightsleeper")
