"""Page of the averaging benchmark: score over rate and over steps for every task, and the table; loads nothing."""

import json
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from lightsleeper.benchmarks.printed import SUMMARY_HEADING, SUMMARY_NOTES, summary_tables, task_title
from lightsleeper.report.run_folder import write_whole
from lightsleeper.report.style import INK, PALETTE, VERMILION, Figure, axis, escaped, figure, rounded

__all__ = ["curves_over_steps", "scores_over_rates", "write_page"]

_DASHES = {"plain": "dot", "decay": "dash", "side copy": "longdash", "write-back": "dashdot", "tuning-free": "solid"}

Row = dict[str, Any]


def write_page(path: Path, rows: Sequence[Row]) -> Path:
    """Write one self-contained HTML page of a benchmark's rows (see `summarise`): plots and table of every task."""
    sections = [_section(list(of_task)) for _, of_task in groupby(rows, key=_group)]
    html = (
        Environment(
            loader=PackageLoader("lightsleeper.benchmarks", "."),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        .get_template("averaging.html.jinja")
        .render(sections=sections, heading=SUMMARY_HEADING, notes=SUMMARY_NOTES, plotly_js=Markup(get_plotlyjs()))
    )
    write_whole(path, html)
    return path


def _group(row: Row) -> tuple[Any, ...]:
    return row["task"], row["scenario"], row["batch"], row["steps"]


def _section(rows: Sequence[Row]) -> dict[str, Any]:
    name = "-".join(str(part) for part in _group(rows[0]))
    return {
        "title": task_title(rows[0]),
        "lines": summary_tables(rows)[0][1],
        "plots": [
            {"name": f"{name}-rates", "json": _script_json(scores_over_rates(rows))},
            {"name": f"{name}-steps", "json": _script_json(curves_over_steps(rows))},
        ],
    }


def scores_over_rates(rows: Sequence[Row]) -> Figure:
    """Last score of each method of one task over its rate, mean over seeds with 95 % intervals."""
    traces = []
    for position, row in enumerate(rows):
        scores = [rate["score"] for rate in row["rates"]]
        tops = [(rate["score_interval"] or [rate["score"]] * 2)[1] for rate in row["rates"]]
        traces.append(
            _line([rate["rate"] for rate in row["rates"]], scores, row, position)
            | {
                "mode": "lines+markers",
                "error_y": {
                    "type": "data",
                    "array": rounded([top - score for top, score in zip(tops, scores, strict=True)]),
                    "thickness": 1,
                    "width": 3,
                },
            }
        )
    title = "Rate: effective learning rate lr/(1 - momentum); of DoG the first distance, of Prodigy the multiplier"
    return _titled(rows[0], traces, axis(title, type="log", dtick=1))


def curves_over_steps(rows: Sequence[Row]) -> Figure:
    """Score of each method of one task over steps, at its best rate, mean over seeds."""
    traces = []
    for position, row in enumerate(rows):
        best = next(rate for rate in row["rates"] if rate["rate"] == row["best_rate"])
        traces.append(_line(best["at_steps"], best["curve"], row, position) | {"mode": "lines"})
    return _titled(rows[0], traces, axis("Steps, each method at its best rate"))


def _line(x: Sequence[float], y: Sequence[float], row: Row, position: int) -> Figure:
    own = row["method"] == "settle"
    colour = VERMILION if own else INK if row["method"] == "one_cycle" else PALETTE[position % len(PALETTE)]
    return {
        "type": "scatter",
        "name": escaped(row["method_title"]),
        "x": list(x),
        "y": rounded(y),
        "line": {"color": colour, "width": 3 if own else 1.5, "dash": _DASHES[row["kind"]]},
    }


def _titled(row: Row, traces: Sequence[Figure], xaxis: dict[str, Any]) -> Figure:
    return figure(
        traces,
        height=520,
        title={"text": escaped(task_title(row)), "font": {"size": 13}, "x": 0},
        margin={"l": 56, "r": 16, "t": 44, "b": 48},
        legend={"orientation": "v", "font": {"size": 12}},
        xaxis=xaxis,
        yaxis=axis(f"Test {row['measure']}"),
    )


def _script_json(data: Figure) -> Markup:
    """JSON that cannot end the script element it stands in."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"), ensure_ascii=True)
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))
