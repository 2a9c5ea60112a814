"""Errors that are the same on every chip: what the transistors of the filters do that the equations do not."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lightsleeper.errors import InputError

__all__ = ["FilterErrors"]

Float64 = NDArray[np.float64]
Rows = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class FilterErrors:
    """Systematic errors of the transconductors Gin, Gd, G1, G2 of B band-passes, four rows of B values each.

    `circuits.spice.identify_filters` finds them for transistors.

    Attributes:
        ratios: transconductances over their nominal values, 0.1 to 10.
        offset_v: input offsets, within +/-0.1 V.
    """

    ratios: Rows
    offset_v: Rows

    def __post_init__(self) -> None:
        for name, low, high, unit in (("ratios", 0.1, 10.0, ""), ("offset_v", -0.1, 0.1, " V")):
            rows = getattr(self, name)
            if len(rows) != 4 or len({len(row) for row in rows}) != 1:
                raise InputError(f"filter errors: {name} needs four rows of a value a band")
            for value in (value for row in rows for value in row):
                if not (math.isfinite(value) and low <= value <= high):
                    raise InputError(
                        f"filter errors: {name} holds {value:g}{unit}; keep it within {low:g} to {high:g}{unit}"
                    )
        if len(self.ratios[0]) != self.bands:
            raise InputError(f"filter errors: ratios of {len(self.ratios[0])} bands, offset_v of {self.bands}")

    @property
    def bands(self) -> int:
        """Number of bands."""
        return len(self.offset_v[0])

    def arrays(self, bands: int) -> tuple[Float64, Float64]:
        """Ratios and offsets in V, both (4, bands).

        Raises:
            InputError: these are of another number of bands.
        """
        if self.bands != bands:
            raise InputError(f"filter errors of {self.bands} bands on a stage of {bands}")
        return np.array(self.ratios), np.array(self.offset_v)
