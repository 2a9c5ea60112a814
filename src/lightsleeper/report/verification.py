"""Page of a verification: its table, and the waveforms of simulator and ngspice on top of each other."""

from pathlib import Path
from typing import Any

from markupsafe import Markup
from plotly.offline import get_plotlyjs

from lightsleeper.circuits.spice import Overlay, Row, Verification
from lightsleeper.report.rendering import render, script_json
from lightsleeper.report.run_folder import write_whole
from lightsleeper.report.style import BLUE, ORANGE, VERMILION, Figure, axis, escaped, figure, rounded, thinned

__all__ = ["verification_lines", "write_verification"]

HEADING = ("block", "level", "analysis", "error", "limit", "passed")
"""Columns of `verification_lines`."""
_POINTS = 3000


def verification_lines(verification: Verification) -> list[tuple[str, ...]]:
    """The table, one line a row, as text in the columns of `HEADING`."""
    return [_line(row) for row in verification.rows]


def write_verification(path: Path, verification: Verification) -> None:
    """Write one self-contained HTML page; InputError where it cannot be written."""
    lines = zip(verification_lines(verification), verification.rows, strict=True)
    html = render(
        "verification.html.jinja",
        heading=HEADING,
        lines=[(line, row.passed) for line, row in lines],
        engine=verification.engine,
        conditions={name: _text(value) for name, value in verification.conditions.items()},
        plots=[(plot.title, script_json(_overlay(plot))) for plot in verification.overlays],
        plotly_js=Markup(get_plotlyjs()),
    )
    write_whole(path, html)


def _line(row: Row) -> tuple[str, ...]:
    return (
        row.block,
        row.level,
        row.analysis,
        f"{row.error:.3g} {row.unit}",
        f"{row.limit:g} {row.unit}",
        "yes" if row.passed else "NO",
    )


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{name} {part:.3g}" for name, part in value.items())
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _overlay(plot: Overlay) -> Figure:
    """Pairs of one quantity share a colour where there are many; the reference is the wide line behind."""
    traces = []
    names = list(plot.curves)
    groups = list(dict.fromkeys(name.rpartition(", ")[0] for name in names))
    for name, (x, y) in plot.curves.items():
        group, _, kind = name.rpartition(", ")
        reference = kind in ("ngspice", "transistors")
        colour = BLUE if reference else ORANGE if kind == "naive" else VERMILION
        shown_x, shown_y = thinned(x, y, points=_POINTS)
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": escaped(name),
                "x": rounded(shown_x, 7),
                "y": rounded(shown_y, 5),
                "line": {
                    "color": colour,
                    "width": 3 if reference else 1.2,
                    "dash": "dot" if kind == "naive" else "solid",
                },
                "legendgroup": escaped(kind),
                "showlegend": group in groups[:2],
            }
        )
    logarithmic = {"type": "log", "dtick": 1} if plot.axis.startswith("Frequency") else {}
    return figure(traces, height=380, xaxis=axis(plot.axis, **logarithmic), yaxis=axis(plot.unit))
