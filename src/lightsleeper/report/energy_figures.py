"""Figures of the energy block: power by part of every system, battery life over wakes per hour."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightsleeper.report.run_folder import RunFolder
from lightsleeper.report.style import (
    BLUE,
    INK,
    MUTED,
    PALETTE,
    VERMILION,
    Figure,
    axis,
    escaped,
    figure,
    rounded,
    tinted,
)

__all__ = ["RIVAL_COLOURS", "life", "part_colours", "parts", "systems"]

RIVAL_COLOURS = ("#CC6677", "#E69F00", "#AA4499", "#117733")
RIVAL_DASHES = ("dash", "dot", "dashdot", "longdash")


def systems(energy: Mapping[str, Any]) -> list[tuple[str, str, Mapping[str, Any]]]:
    """(key below "energy", name for people, entry) of every system, ours first."""
    rivals = energy.get("digitise_first") or {}
    found = [("analyse_first", "analyse first (this design)", energy.get("analyse_first") or {})]
    found += [(name, f"digitise first: {name.replace('_', ' ')}", entry or {}) for name, entry in rivals.items()]
    return found


def part_colours(run: RunFolder) -> dict[str, str]:
    """Colour of every part and state, in the order in which the systems name them."""
    rows = [row for _, _, entry in systems(run.summary.get("energy") or {}) for row in entry.get("parts") or []]
    titles = dict.fromkeys(_title(row) for row in rows if row.get("power_w") is not None)
    return {title: PALETTE[number % len(PALETTE)] for number, title in enumerate(titles)}


def parts(run: RunFolder) -> Figure:
    """Mean power of every system, stacked by part and state."""
    found = systems(run.summary["energy"])
    names = [escaped(name).replace(": ", ":<br>").replace(" (", "<br>(") for _, name, _ in found]
    colours = part_colours(run)
    power = {title: [0.0] * len(found) for title in colours}
    for column, (_, _, entry) in enumerate(found):
        for row in entry.get("parts") or []:
            if row.get("power_w") is not None:
                power[_title(row)][column] += float(row["power_w"])
    traces = [
        {
            "type": "bar",
            "orientation": "h",
            "x": rounded([1e6 * value for value in power[title]]),
            "y": names,
            "marker": {"color": colour, "line": {"color": "#ffffff", "width": 0.5}},
            "hovertemplate": f"{escaped(title)}: %{{x:.3g}} µW<extra></extra>",
        }
        for title, colour in colours.items()
    ]
    return figure(
        traces,
        height=70 + 62 * len(found),
        showlegend=False,
        barmode="stack",
        bargap=0.4,
        xaxis=axis("Mean power (µW)", rangemode="tozero"),
        yaxis=axis("", autorange="reversed", ticks="", gridcolor="#ffffff"),
    )


def _title(row: Mapping[str, Any]) -> str:
    return f"{row.get('part', '-')}, {str(row.get('state', '-')).replace('_', ' ')}"


def life(run: RunFolder) -> Figure:
    """Battery life over wakes per hour, the measured rate with its interval, and where a rival draws even."""
    energy = run.summary["energy"]
    curve = energy["curve"]
    rate = np.asarray(curve["wakes_per_hour"], dtype=np.float64)
    drawn = rate > 0
    traces: list[Figure] = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": "analyse first (this design)",
            "x": rounded(rate[drawn]),
            "y": rounded(np.asarray(curve["analyse_first"]["battery_days"])[drawn]),
            "line": {"color": BLUE, "width": 3},
            "hovertemplate": "%{x:.3g} wakes/h: %{y:.3g} days<extra></extra>",
        }
    ]
    even = energy.get("break_even_wakes_per_hour") or {}
    for number, (key, name, entry) in enumerate(systems(energy)[1:]):
        if entry.get("battery_days") is not None:
            traces.append(_rival(number, name, entry["battery_days"], rate[drawn]))
            traces += _break_even(number, key, entry["battery_days"], even.get(key))
    traces += _measured(energy["analyse_first"])
    low, high = np.log10(rate[drawn][[0, -1]])
    return figure(
        traces,
        height=400,
        shapes=_interval(energy["analyse_first"]),
        xaxis=axis(
            "Wakes per hour, true and false",
            type="log",
            dtick=1,
            minor={"ticks": "outside"},
            range=rounded([low, high + 0.03]),
        ),
        yaxis=axis("Battery life (days)", rangemode="tozero"),
    )


def _rival(number: int, name: str, days: float, rate: NDArray[np.float64]) -> Figure:
    dash = RIVAL_DASHES[number % len(RIVAL_DASHES)]
    return {
        "type": "scatter",
        "mode": "lines",
        "name": escaped(name),
        "x": rounded([rate[0], rate[-1]]),
        "y": rounded([days] * 2),
        "line": {"color": RIVAL_COLOURS[number % len(RIVAL_COLOURS)], "width": 2, "dash": dash},
        "hovertemplate": "%{y:.3g} days<extra></extra>",
    }


def _break_even(number: int, key: str, days: float, even: float | None) -> list[Figure]:
    if not even:
        return []
    outline = {"color": RIVAL_COLOURS[number % len(RIVAL_COLOURS)], "width": 2}
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "showlegend": False,
            "x": rounded([even]),
            "y": rounded([days]),
            "marker": {"color": "#ffffff", "size": 10, "line": outline},
            "hovertemplate": f"break-even with {escaped(key.replace('_', ' '))}: %{{x:.3g}} wakes/h<extra></extra>",
        }
    ]


def _measured(ours: Mapping[str, Any]) -> list[Figure]:
    if not ours.get("wakes_per_hour") or ours.get("battery_days") is None:
        return []
    low, high = ours.get("battery_days_interval") or (ours["battery_days"],) * 2
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "name": "measured rate, 95 % interval",
            "x": rounded([ours["wakes_per_hour"]]),
            "y": rounded([ours["battery_days"]]),
            "error_y": {
                "type": "data",
                "symmetric": False,
                "array": rounded([high - ours["battery_days"]]),
                "arrayminus": rounded([ours["battery_days"] - low]),
                "color": INK,
            },
            "marker": {"color": VERMILION, "size": 11, "symbol": "diamond"},
            "hovertemplate": "measured: %{x:.3g} wakes/h, %{y:.3g} days<extra></extra>",
        }
    ]


def _interval(ours: Mapping[str, Any]) -> list[Figure]:
    interval = ours.get("wakes_per_hour_interval")
    if not interval:
        return []
    low, high = rounded(interval)
    band = {"fillcolor": tinted(MUTED, 0.15), "line": {"width": 0}, "layer": "below"}
    return [{"type": "rect", "xref": "x", "yref": "paper", "x0": low, "x1": high, "y0": 0, "y1": 1} | band]
