"""What a verification says: rows of errors against limits, overlays of waveforms, and how the errors are measured."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Overlay", "Row", "Verification", "around_peak", "means_between", "nrmse_percent"]

Floats = NDArray[np.float64]
SHOWN_PERIODS = 40.0


@dataclass(frozen=True)
class Row:
    """One error against its limit.

    Attributes:
        block: what was compared, with the worst band where there are several.
        level: "behavioural" or "transistor".
        analysis: operating point, AC, noise or transient, with the signal's level.
        error, limit: in `unit`.
        by_band: error of every band that was compared, empty where there are no bands.
    """

    block: str
    level: str
    analysis: str
    error: float
    limit: float
    unit: str
    by_band: dict[str, float] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether the error is a number within the limit."""
        return bool(self.error <= self.limit)

    @classmethod
    def worst(cls, block: str, level: str, analysis: str, errors: dict[str, float], limit: float, unit: str) -> "Row":
        """The row of the band with the largest error."""
        band = max(errors, key=errors.__getitem__)
        name = f"{block}, {band}" if len(errors) > 1 else block
        return cls(name, level, analysis, errors[band], limit, unit, errors)

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "block": self.block,
            "level": self.level,
            "analysis": self.analysis,
            "error": self.error,
            "limit": self.limit,
            "unit": self.unit,
            "passed": self.passed,
            "by_band": self.by_band,
        }


@dataclass(frozen=True, eq=False)
class Overlay:
    """Curves over one axis, to be drawn on top of each other.

    Attributes:
        title: what is shown.
        axis: name of the horizontal axis, "Time (s)" or "Frequency (Hz)".
        unit: of the vertical axis.
        curves: name -> horizontal and vertical values, both (points,).
    """

    title: str
    axis: str
    unit: str
    curves: dict[str, tuple[Floats, Floats]]


@dataclass(frozen=True, eq=False)
class Verification:
    """All rows and overlays of one stage, the engine they were measured with, and the conditions."""

    engine: str
    rows: Sequence[Row]
    overlays: Sequence[Overlay]
    conditions: dict[str, Any]

    @property
    def passed(self) -> bool:
        """Whether every row did."""
        return all(row.passed for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON: engine, rows and conditions."""
        return {"engine": self.engine, "rows": [row.to_dict() for row in self.rows], "conditions": self.conditions}


def nrmse_percent(values: NDArray[np.floating], reference: Floats, *, rest: float = 0.0) -> float:
    """Rms difference over the rms of the reference about its resting value, in percent."""
    scale = np.sqrt(np.mean((reference - rest) ** 2))
    return float(100.0 * np.sqrt(np.mean((values - reference) ** 2)) / scale)


def means_between(time_s: Floats, values: Floats, edges_s: Floats) -> Floats:
    """Means of a piecewise linear waveform between successive edges: (N,), (N,), (F + 1,) -> (F,)."""
    knots_s = np.union1d(time_s, edges_s)
    at_knots = np.interp(knots_s, time_s, values)
    area = np.concatenate([[0.0], np.cumsum(np.diff(knots_s) * (at_knots[1:] + at_knots[:-1]) / 2.0)])
    return np.asarray(np.diff(area[np.searchsorted(knots_s, edges_s)]) / np.diff(edges_s))


def around_peak(curves: dict[str, tuple[Floats, Floats]], center_hz: float) -> dict[str, tuple[Floats, Floats]]:
    """The curves within `SHOWN_PERIODS` of the centre frequency around the peak of the first: single waves are seen."""
    time_s, values = next(iter(curves.values()))
    peak_s = float(time_s[int(np.abs(values).argmax())])
    reach_s = SHOWN_PERIODS / 2.0 / center_hz
    cut = {}
    for name, (x, y) in curves.items():
        shown = np.abs(x - peak_s) < reach_s
        cut[name] = (x[shown], y[shown])
    return cut
