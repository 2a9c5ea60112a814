"""One picture of a run as SVG: a minute of the stream becoming wakes, and what that does for the battery."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray

from lightsleeper.errors import InputError
from lightsleeper.report.energy_figures import RIVAL_COLOURS, systems
from lightsleeper.report.figures import band_order
from lightsleeper.report.run_folder import RunFolder, read_run, write_whole
from lightsleeper.report.style import thinned
from lightsleeper.report.timeline import block_peaks, level_db
from lightsleeper.report.values import format_value, resolve

__all__ = ["write_picture"]

_ARRAYS = ("time_s", "pressure_low_pa", "pressure_high_pa", "fast_v", "integral_v")
_KEYS = (
    "first_stage.threshold_v",
    "energy.curve.wakes_per_hour",
    "energy.curve.analyse_first.battery_days",
    "energy.analyse_first.wakes_per_hour",
    "energy.analyse_first.battery_days",
)
# Cividis (Nunez 2018) from quiet to loud, in as many steps as the heat strip has colours.
_HEAT = (
    *("#00224e", "#0a2e6b", "#2a3f6d", "#434e6c", "#575c6d", "#696a70"),
    *("#7c7b78", "#908c78", "#a59c74", "#bbae6d", "#d2c060", "#ead34d", "#fee838"),
)
_COLUMNS = 280


@dataclass(frozen=True)
class _Box:
    """Where a panel stands, in the picture's units."""

    left: float
    top: float
    width: float
    height: float

    @property
    def right(self) -> float:
        return self.left + self.width

    @property
    def bottom(self) -> float:
        return self.top + self.height


_PRESSURE = _Box(70, 78, 530, 92)
_HEATS = _Box(70, 184, 530, 112)
_INTEGRAL = _Box(70, 310, 530, 100)
_LIFE = _Box(690, 78, 280, 332)


def write_picture(run: Path, out: Path) -> None:
    """Write the run's one picture to `out`, an SVG on its own white ground; the same bytes for the same run.

    Left one minute of the stream: pressure, band envelopes, integrator with threshold, wakes. Right battery life over
    wakes per hour with the digitise-first systems.

    Raises:
        InputError: run folder missing or truncated, without what the picture shows, or `out` not writable.
    """
    folder = read_run(run)
    lacks = folder.missing(*(f"timeline_{name}" for name in _ARRAYS))
    lacks += [key for key in _KEYS if resolve(folder.summary, key) is None]
    if lacks:
        raise InputError(f"{run}: holds no {', '.join(lacks)}, which the picture shows; repeat the run")
    environment = Environment(
        loader=PackageLoader("lightsleeper.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    context = {**_heading(folder), **_minute(folder), **_battery(folder.summary["energy"])}
    write_whole(out, environment.get_template("picture.svg.jinja").render(context))


def _heading(run: RunFolder) -> dict[str, Any]:
    first = run.summary["first_stage"]
    figures = {
        "wake": format_value(resolve(run.summary, "task.wake"), "text").replace("_", " "),
        "synthetic": bool(resolve(run.summary, "task.synthetic")),
    }
    styles = {"recall": "share", "false_wakes_per_hour": "rate", "power_w": "power"}
    return figures | {name: format_value(first.get(name), style) for name, style in styles.items()}


def _minute(run: RunFolder) -> dict[str, Any]:
    time_s = np.asarray(run.traces["timeline_time_s"], dtype=np.float64)
    integral_v, threshold_v = run.traces["timeline_integral_v"], run.summary["first_stage"]["threshold_v"]
    x = _linear(float(time_s[0]), float(time_s[-1]), _INTEGRAL.left, _INTEGRAL.right)
    low_v, high_v = min(0.0, float(np.min(integral_v))), max(float(np.max(integral_v)), threshold_v)
    y = _linear(low_v, high_v + 0.12 * (high_v - low_v), _INTEGRAL.bottom, _INTEGRAL.top)
    line_s, line_v = thinned(time_s, integral_v, 900)
    _, bands = band_order(run, len(run.traces["timeline_fast_v"]))
    return {
        "boxes": {"pressure": _PRESSURE, "heat": _HEATS, "integral": _INTEGRAL},
        "pressure": _pressure(run),
        "heat": _heat(run),
        "band_low": bands[0],
        "band_high": bands[-1],
        "integral": _polyline([x(t) for t in line_s], [y(v) for v in line_v]),
        "threshold_y": round(y(threshold_v), 1),
        "threshold": format_value(threshold_v, "voltage"),
        "events": _events(run, x),
        "wakes": [round(x(wake), 1) for wake in run.traces.get("timeline_wakes_s", np.empty(0)).tolist()],
        "seconds": [(f"{tick:g}", round(x(float(time_s[0]) + tick), 1)) for tick in _ticks(time_s)],
    }


def _ticks(time_s: NDArray[np.float64]) -> list[float]:
    length_s = float(time_s[-1] - time_s[0])
    step = next((step for step in (1.0, 2.0, 5.0, 10.0, 20.0, 60.0) if length_s / step <= 8), length_s)
    return np.arange(0.0, length_s + 1e-6, step).tolist()


def _events(run: RunFolder, x: Callable[[float], float]) -> list[dict[str, Any]]:
    names = [f"timeline_event_{name}" for name in ("onset_s", "end_s", "wake", "label")]
    if run.missing(*names):
        return []
    return [
        {"x": round(x(onset), 1), "width": round(x(end) - x(onset), 1), "wake": wake, "label": label.replace("_", " ")}
        for onset, end, wake, label in zip(*(run.traces[name].tolist() for name in names), strict=True)
    ]


def _pressure(run: RunFolder) -> str:
    high = block_peaks(run.traces["timeline_pressure_high_pa"], 530)
    low = -block_peaks(-run.traces["timeline_pressure_low_pa"], 530)
    peak = max(float(np.abs(high).max()), float(np.abs(low).max()), 1e-12)
    y = _linear(-peak, peak, _PRESSURE.bottom, _PRESSURE.top)
    x = np.linspace(_PRESSURE.left, _PRESSURE.right, high.size)
    return _polyline([*x, *x[::-1]], [*(y(v) for v in high), *(y(v) for v in low[::-1])]) + "z"


def _heat(run: RunFolder) -> list[tuple[str, str]]:
    """(colour, path) of the heat strip: one path a colour, neighbours of one colour joined into one rectangle."""
    fast_v = run.traces["timeline_fast_v"]
    order, _ = band_order(run, len(fast_v))
    level = level_db(block_peaks(fast_v[order[::-1]], _COLUMNS), range_db=50)
    step = (level - level.min()) / max(float(np.ptp(level)), 1e-9) * (len(_HEAT) - 1)
    shades = np.rint(step).astype(int)
    rows, columns = shades.shape
    wide, tall = _HEATS.width / columns, _HEATS.height / rows
    paths: dict[int, list[str]] = {}
    for row in range(rows):
        starts = [0, *(np.flatnonzero(np.diff(shades[row])) + 1).tolist(), columns]
        for start, end in pairwise(starts):
            left, right = round(_HEATS.left + start * wide, 1), round(_HEATS.left + end * wide, 1)
            top = round(_HEATS.top + row * tall, 1)
            cell = f"M{left:g} {top:g}h{right - left:.1f}v{tall:.1f}H{left:g}z"
            paths.setdefault(int(shades[row, start]), []).append(cell)
    return [(_HEAT[shade], "".join(cells)) for shade, cells in sorted(paths.items())]


def _battery(energy: Mapping[str, Any]) -> dict[str, Any]:
    rate = np.asarray(energy["curve"]["wakes_per_hour"], dtype=np.float64)
    days = np.asarray(energy["curve"]["analyse_first"]["battery_days"], dtype=np.float64)
    rate, days = rate[rate > 0], days[rate > 0]
    rivals = [(name, entry["battery_days"]) for name, _, entry in systems(energy)[1:] if entry.get("battery_days")]
    top = 1.12 * max(float(days.max()), *(life for _, life in rivals))
    log_x = _linear(math.log10(rate[0]), math.log10(rate[-1]), _LIFE.left, _LIFE.right)
    y = _linear(0.0, top, _LIFE.bottom, _LIFE.top)
    ours = energy["analyse_first"]
    decades = range(math.ceil(math.log10(rate[0]) - 1e-9), math.floor(math.log10(rate[-1]) + 1e-9) + 1)
    extension = energy.get("battery_life_extension_percent") or {}
    return {
        "life_box": _LIFE,
        "life": _polyline([log_x(math.log10(value)) for value in rate], [y(value) for value in days]),
        "life_rates": [(f"{10.0**decade:g}", round(log_x(decade), 1)) for decade in decades],
        "life_days": [(f"{tick:g}", round(y(tick), 1)) for tick in _round_ticks(top)],
        "life_x": round(log_x(math.log10(max(ours["wakes_per_hour"], rate[0]))), 1),
        "life_y": round(y(ours["battery_days"]), 1),
        "life_text": format_value(ours["battery_days"], "days"),
        "battery": format_value(resolve(energy, "battery.name"), "text"),
        "rivals": [
            {
                "y": round(y(life), 1),
                "label_y": label_y,
                "colour": RIVAL_COLOURS[number % len(RIVAL_COLOURS)],
                "name": name.replace("_", " "),
                "extension": format_value(extension.get(name), "percent"),
            }
            for number, ((name, life), label_y) in enumerate(
                zip(rivals, _spread([y(life) - 5 for _, life in rivals]), strict=True)
            )
        ],
    }


def _spread(lines: Sequence[float], apart: float = 16) -> list[float]:
    """Heights of labels, moved up where they would stand in each other."""
    placed: dict[int, float] = {}
    last = math.inf
    for index in sorted(range(len(lines)), key=lines.__getitem__, reverse=True):
        last = min(lines[index], last - apart)
        placed[index] = round(last, 1)
    return [placed[index] for index in range(len(lines))]


def _round_ticks(top: float) -> list[float]:
    decade = 10 ** math.floor(math.log10(top))
    step = next(step * decade for step in (0.1, 0.2, 0.5, 1.0, 2.0) if top / (step * decade) <= 6)
    return [step * number for number in range(math.floor(top / step) + 1)]


def _linear(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    span = (high - low) or 1.0
    return lambda value: start + (float(value) - low) / span * (end - start)


def _polyline(x: Sequence[float], y: Sequence[float]) -> str:
    return "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(x, y, strict=True))
