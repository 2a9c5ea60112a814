"""The page that a person opens: one HTML file that loads nothing from anywhere."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from markupsafe import Markup
from plotly.offline import get_plotlyjs

from lightsleeper.report import circuit, energy_figures, figures
from lightsleeper.report.rendering import render, script_json
from lightsleeper.report.run_folder import RunFolder, read_run, write_whole
from lightsleeper.report.style import Figure
from lightsleeper.report.timeline import NETS, timeline
from lightsleeper.report.values import Facts, key_of, resolve

__all__ = ["write_report"]

_TIMELINE = ("time_s", "pressure_low_pa", "pressure_high_pa", "hidden_v", "score_v", "integral_v")
_STAGES = ("wake_stage", "digital_stage")


@dataclass(frozen=True)
class _Drawing:
    """A figure and what it needs: arrays of traces.npz and keys of summary.json."""

    make: Callable[[RunFolder], Figure]
    arrays: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()


_DRAWINGS = {
    "responses": _Drawing(figures.responses, ("response_frequency_hz", "response_db")),
    "det": _Drawing(figures.det, ("det_false_wakes_per_hour", "det_recall")),
    "timeline": _Drawing(
        timeline, tuple(f"timeline_{name}" for name in (*_TIMELINE, *(f"{net}_v" for net, _ in NETS)))
    ),
    "snr": _Drawing(figures.snr, keys=("first_stage.recall_by_snr_db",)),
    "classes": _Drawing(figures.classes, keys=("first_stage.false_wakes_by_label",)),
    "parts": _Drawing(energy_figures.parts, keys=("energy.analyse_first",)),
    "life": _Drawing(
        energy_figures.life,
        keys=("energy.analyse_first", "energy.curve.wakes_per_hour", "energy.curve.analyse_first.battery_days"),
    ),
    **{
        f"training_{stage}": _Drawing(
            partial(figures.training, stage=stage),
            tuple(f"training_{stage}_{name}" for name in ("step", "loss", "averaged_loss", "sgd_loss")),
        )
        for stage in _STAGES
    },
}

# The first stage's figures as rows: key below the block, title, style.
_MEASURES = (
    ("recall", "Recall", "share"),
    ("false_wakes_per_hour", "False wakes per hour, at the stated density of foreign sounds", "rate"),
    ("false_wakes_per_100_foreign", "False wakes per 100 foreign sounds", "rate"),
    ("false_wakes_per_hour_floor", "False wakes per hour on the bare floor", "rate"),
    ("late_hits", "Late hits, counted apart", "count"),
    ("latency_s.median", "Latency, median", "seconds"),
    ("latency_s.p95", "Latency, 95th percentile", "seconds"),
)


def write_report(run: Path) -> Path:
    """Write RUN/report.html from summary.json, traces.npz and frontend.json, and return its path.

    Every figure in the text names its key in summary.json (attribute `data-key`) and how it is written (`data-style`).

    Raises:
        InputError: run folder missing or truncated, or not writable.
    """
    folder = read_run(run)
    path = run / "report.html"
    write_whole(path, _render(folder))
    return path


def _render(run: RunFolder) -> str:
    facts = Facts(run.summary)
    drawings = {name: _draw(run, drawing) for name, drawing in _DRAWINGS.items()}
    return render(
        "page.html.jinja",
        facts=facts,
        show=facts.show,
        key_of=key_of,
        drawings=drawings,
        plotly_js=Markup(get_plotlyjs()),
        measures=_MEASURES,
        stages=_STAGES,
        bands=_order(facts),
        classes=_class_order(facts),
        systems=_systems(facts),
        part_colours=energy_figures.part_colours(run),
        circuit=circuit.parameters(run.frontend),
    )


def _draw(run: RunFolder, drawing: _Drawing) -> dict[str, Any]:
    """Figure as JSON for a script element, or what it lacks."""
    lacks = run.missing(*drawing.arrays) + [key for key in drawing.keys if not resolve(run.summary, key)]
    if lacks:
        return {"lacks": lacks}
    made = drawing.make(run)
    if not any(trace["x"] for trace in made["data"]):
        return {"lacks": [*drawing.arrays, *drawing.keys]}
    return {"lacks": [], "json": script_json(made)}


def _order(facts: Facts) -> list[str]:
    keys = [key for _, key in facts.items("first_stage.bands")]
    return sorted(keys, key=lambda key: facts.get(f"{key}.center_hz") or 0.0)


def _class_order(facts: Facts) -> list[tuple[str, str]]:
    """(label, key) of every foreign class, most wakes per sound first."""

    def share(item: tuple[str, str]) -> float:
        return float((facts.get(f"{item[1]}.wakes") or 0) / (facts.get(f"{item[1]}.sounds") or 1))

    return sorted(facts.items("first_stage.false_wakes_by_label"), key=lambda item: (-share(item), item[0]))


def _systems(facts: Facts) -> Iterable[tuple[str, str]]:
    """(name, key) of every system, ours first."""
    rivals = [(f"digitise first: {name.replace('_', ' ')}", key) for name, key in facts.items("energy.digitise_first")]
    return [("analyse first (this design)", "energy.analyse_first"), *rivals]
