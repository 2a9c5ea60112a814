"""Where the columns of the compiled bank lie: bands of equal substeps together, rows side by side."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from lightsleeper.circuits.rates import SUBSTEPS
from lightsleeper.circuits.simd import BLOCK, LANES
from lightsleeper.errors import InputError

__all__ = ["MOST_COLUMNS", "Columns"]

MOST_COLUMNS = 128
"""Rows x bands that one call carries."""


def _padded(count: int) -> int:
    return -(-count // BLOCK) * BLOCK


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Places of `rows` x `bands` columns in the kernel's buffers.

    Attributes:
        rows, bands: as simulated; the user's column of a row and a band is row * bands + band.
        lanes: rows that lie side by side: 1, or a multiple of 8, or 0 where rows and bands are packed as they come.
        counts: columns with one, two and three substeps, padded to multiples of 8, in this order.
        place: (rows x bands,) the kernel's column of each of the user's.
        row_of: (width,) row whose drive a column hears; idle columns hear row 0.
    """

    rows: int
    bands: int
    lanes: int
    counts: tuple[int, ...]
    place: NDArray[np.int64]
    row_of: NDArray[np.int64]

    @classmethod
    def of(cls, rows: int, substeps: NDArray[np.int64]) -> Self:
        """Columns of `rows` signals through bands that take 1 to 3 `substeps` (bands,) a step."""
        bands = len(substeps)
        if rows * bands > MOST_COLUMNS:
            raise InputError(f"{rows} signals x {bands} bands exceed {MOST_COLUMNS} columns; give fewer signals a call")
        lanes = 1 if rows == 1 else _padded(rows)
        if lanes * bands > LANES:
            lanes = 0
        place = np.zeros((rows, bands), dtype=np.int64)
        counts, start = [], 0
        for n in range(1, SUBSTEPS + 1):
            of_group = np.flatnonzero(substeps == n)
            if lanes > 1:
                place[:, of_group] = start + np.arange(rows)[:, None] + lanes * np.arange(of_group.size)
                count = lanes * of_group.size
            else:
                place[:, of_group] = start + np.arange(rows * of_group.size).reshape(rows, -1)
                count = _padded(rows * of_group.size)
            counts.append(count)
            start += count
        row_of = np.zeros(start, dtype=np.int64)
        row_of[place] = np.arange(rows)[:, None]
        return cls(rows, bands, lanes, tuple(counts), place.reshape(-1), row_of)

    @property
    def width(self) -> int:
        """Columns of the kernel, idle ones included."""
        return sum(self.counts)

    @property
    def drive_rows(self) -> int:
        """Rows of the kernel's drive."""
        return max(self.lanes, self.rows)

    def spread(self, values: NDArray[np.floating]) -> NDArray[np.float32]:
        """(n, rows x bands) -> (n, width) float32, idle columns 0."""
        wide = np.zeros((values.shape[0], self.width), dtype=np.float32)
        wide[:, self.place] = values
        return wide

    def collect(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """(..., width) -> (..., rows x bands)."""
        return values[..., self.place]
