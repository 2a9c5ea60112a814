"""Page of a Monte Carlo over chips: its tables, every chip as a point, and what each effect costs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup
from plotly.offline import get_plotlyjs

from lightsleeper.report.rendering import render, script_json
from lightsleeper.report.run_folder import write_whole
from lightsleeper.report.style import BLUE, GREY, PALETTE, VERMILION, Figure, axis, figure, rounded

__all__ = ["HEADING", "write_yield", "yield_lines"]

Figures = Mapping[str, Any]

HEADING = (
    "chips",
    "made",
    "good, %",
    "95 % interval",
    "recall lost, points",
    "worst of 20, points",
    "more false wakes of 100",
    "recall at nominal false wakes, %",
)
"""Columns of `yield_lines`."""


def yield_lines(figures: Figures) -> list[tuple[str, list[tuple[str, ...]]]]:
    """Titles and lines of the tables, text in the columns of `HEADING`."""
    nominal = figures["nominal"]
    conditions = figures["conditions"]
    title = (
        f"nominal recall {nominal['recall']:.3f} at {nominal['false_wakes_per_100_foreign']:.1f} false wakes of 100; "
        f"{conditions['wake_events']} wake events, {conditions['foreign_sounds']} foreign sounds a test"
    )
    lines = [
        _line("nominal, another noise", figures["noise_alone"]),
        _line("before calibration", figures["before_calibration"]),
        *(_line(f"calibrated, {t} C", part) for t, part in figures["after_calibration"].items()),
    ]
    tables = [(title, lines)]
    if figures["effects_in_full"]:
        ranked = sorted(figures["effects_in_full"].items(), key=lambda item: item[1]["yield"])
        tables.append(("each effect alone, not calibrated", [_line(name, part) for name, part in ranked]))
    return tables


def write_yield(path: Path, figures: Figures) -> None:
    """Write one self-contained HTML page; InputError where it cannot be written."""
    plots = [("Every chip", script_json(_scatter(figures)))]
    if figures["effects_in_full"]:
        plots.append(("What each effect costs alone", script_json(_bars(figures["effects_in_full"]))))
    html = render(
        "yield.html.jinja",
        heading=HEADING,
        tables=yield_lines(figures),
        good=f"{100 * figures['yield']:.1f} %",
        interval=" to ".join(f"{100 * end:.1f}" for end in figures["yield_interval"]),
        chips=figures["chips"],
        conditions=figures["conditions"],
        worst=figures["worst_chips"],
        plots=plots,
        plotly_js=Markup(get_plotlyjs()),
    )
    write_whole(path, html)


def _line(name: str, part: Figures) -> tuple[str, ...]:
    return (
        name,
        str(part["chips"]),
        f"{100 * part['yield']:.1f}",
        " to ".join(f"{100 * end:.1f}" for end in part["yield_interval"]),
        f"{100 * part['loss_of_recall']:.2f}",
        f"{100 * part['loss_of_recall_95_percent']:.1f}",
        f"{part['false_wakes_per_100_foreign_rise']:+.2f}",
        f"{100 * part['recall_at_nominal_false_wakes']:.1f}",
    )


def _scatter(figures: Figures) -> Figure:
    """Loss of recall over rise of false wakes, a colour for each condition, and the limits."""
    points = figures["points"]
    groups: dict[str, list[tuple[float, float]]] = {}
    for stage, temperature_c, loss, rise in points:
        name = "before calibration" if stage == "before" else f"calibrated, {temperature_c:g} C"
        groups.setdefault(name, []).append((rise, 100.0 * loss))
    traces = []
    for index, (name, pairs) in enumerate(groups.items()):
        colour = GREY if name == "before calibration" else PALETTE[(2 * index - 2) % len(PALETTE)]
        rises, losses = zip(*pairs, strict=True)
        marker = {"color": colour, "size": 7, "opacity": 0.6}
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": name,
                "x": rounded(rises),
                "y": rounded(losses),
                "marker": marker,
            }
        )
    limits = figures["conditions"]
    line = {"color": VERMILION, "width": 1, "dash": "dash"}
    shapes = [
        {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": y, "y1": y, "line": line}
        for y in (limits["recall_points"],)
    ] + [
        {"type": "line", "yref": "paper", "y0": 0, "y1": 1, "x0": x, "x1": x, "line": line}
        for x in (limits["false_wake_points"],)
    ]
    return figure(
        traces,
        height=420,
        xaxis=axis("More false wakes than nominal, of 100 foreign sounds"),
        yaxis=axis("Recall lost against nominal (points)"),
        shapes=shapes,
    )


def _bars(effects: Figures) -> Figure:
    ranked = sorted(effects.items(), key=lambda item: -item[1]["yield"])
    bar = {
        "type": "bar",
        "orientation": "h",
        "x": rounded([100.0 * (1.0 - part["yield"]) for _, part in ranked]),
        "y": [name.replace("_", " ") for name, _ in ranked],
        "marker": {"color": BLUE},
    }
    return figure(
        [bar],
        height=120 + 24 * len(ranked),
        xaxis=axis("Chips that fail with this effect alone, not calibrated (%)"),
        yaxis=axis(""),
    )
