"""Figures of the first stage: band responses, DET, recall over SNR, false wakes by class, training curves."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lightsleeper.report.run_folder import RunFolder
from lightsleeper.report.style import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    VERMILION,
    Figure,
    axis,
    band_colours,
    escaped,
    figure,
    rounded,
    thinned,
)
from lightsleeper.report.values import format_value, resolve

__all__ = ["band_order", "classes", "det", "responses", "snr", "training"]

_CLASSES = 20


def band_order(run: RunFolder, bands: int) -> tuple[list[int], list[str]]:
    """Order of the bands from low to high, and their names in that order ("310 Hz")."""
    rows = resolve(run.summary, "first_stage.bands")
    centres = [row["center_hz"] for row in rows or [] if isinstance(row.get("center_hz"), int | float)]
    if len(centres) != bands:
        return list(range(bands)), [f"band {band + 1}" for band in range(bands)]
    order = sorted(range(bands), key=centres.__getitem__)
    return order, [format_value(centres[band], "frequency") for band in order]


def responses(run: RunFolder) -> Figure:
    """Gain of every band over frequency."""
    frequency_hz, gain_db = run.traces["response_frequency_hz"], run.traces["response_db"]
    order, names = band_order(run, len(gain_db))
    traces = [
        _line(rounded(frequency_hz), rounded(gain_db[band], 3), name, colour)
        | {"hovertemplate": "%{x:.3s}Hz: %{y:.1f} dB<extra>" + name + "</extra>"}
        for band, name, colour in zip(order, names, band_colours(len(order)), strict=True)
    ]
    peak = float(np.nanmax(gain_db))
    return figure(
        traces,
        height=360,
        xaxis=axis("Frequency (Hz)", type="log", dtick=1, tickformat="~s", minor={"ticks": "outside"}),
        yaxis=axis("Gain (dB)", range=[peak - 45, peak + 3]),
    )


def det(run: RunFolder) -> Figure:
    """Missed events over false wakes per hour, with the operating point and its intervals.

    Both axes are logarithmic; a threshold without misses is drawn at half an event, one without false wakes not at all.
    """
    rate, recall = run.traces["det_false_wakes_per_hour"], run.traces["det_recall"]
    events = resolve(run.summary, "first_stage.events")
    least = 50 / events if events else 0.1
    shown = np.isfinite(rate) & (rate > 0) & np.isfinite(recall)
    order = np.lexsort((recall[shown], rate[shown]))
    rate, missed = rate[shown][order], np.maximum(100 * (1 - recall[shown][order]), least)
    traces = [
        _line(rounded(rate), rounded(missed), "all thresholds, test recordings", BLUE)
        | {"hovertemplate": "%{x:.3g} false wakes/h: %{y:.3g} % missed<extra></extra>"},
        *_operating_point(run, least),
    ]
    return figure(
        traces,
        height=380,
        xaxis=axis("False wakes per hour", type="log", dtick=1, minor={"ticks": "outside"}),
        yaxis=axis("Missed events (%)", type="log", dtick=1, minor={"ticks": "outside"}),
    )


def _operating_point(run: RunFolder, least: float) -> list[Figure]:
    first = run.summary.get("first_stage") or {}
    rate, recall = first.get("false_wakes_per_hour"), first.get("recall")
    if not rate or recall is None:
        return []
    missed = max(100 * (1 - recall), least)
    low_rate, high_rate = first.get("false_wakes_per_hour_interval") or (rate, rate)
    low_recall, high_recall = first.get("recall_interval") or (recall, recall)
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "name": "this design, 95 % intervals",
            "x": rounded([rate]),
            "y": rounded([missed]),
            "marker": {"color": VERMILION, "size": 11, "symbol": "diamond"},
            "error_x": _error([high_rate - rate], [rate - low_rate]),
            "error_y": _error([100 * (1 - low_recall) - missed], [missed - max(100 * (1 - high_recall), least / 2)]),
            "hovertemplate": "%{x:.3g} false wakes/h: %{y:.3g} % missed<extra>this design</extra>",
        }
    ]


def snr(run: RunFolder) -> Figure:
    """Recall over signal-to-noise ratio, with intervals."""
    by_snr = run.summary["first_stage"]["recall_by_snr_db"]
    rows = [(float(level), row) for level, row in by_snr.items() if (row or {}).get("recall") is not None]
    rows.sort(key=lambda item: item[0])
    recall = [row["recall"] for _, row in rows]
    intervals = [row.get("interval") or (row["recall"], row["recall"]) for _, row in rows]
    return figure(
        [
            {
                "type": "scatter",
                "mode": "lines+markers",
                "x": [level for level, _ in rows],
                "y": rounded([100 * value for value in recall]),
                "line": {"color": BLUE, "width": 2},
                "marker": {"size": 9},
                "error_y": _error(
                    [100 * (high - value) for value, (_, high) in zip(recall, intervals, strict=True)],
                    [100 * (value - low) for value, (low, _) in zip(recall, intervals, strict=True)],
                ),
                "text": [f"{row.get('events', '-')} events" for _, row in rows],
                "hovertemplate": "%{x} dB: %{y:.1f} % of %{text}<extra></extra>",
            }
        ],
        height=340,
        showlegend=False,
        xaxis=axis("Wake event over background (dB)", tickvals=[level for level, _ in rows]),
        yaxis=axis("Recall (%)", range=[0, 104]),
    )


def classes(run: RunFolder) -> Figure:
    """Share of the sounds of a foreign class that woke the device, for the most troublesome, worst on top."""
    rows = []
    for label, row in run.summary["first_stage"]["false_wakes_by_label"].items():
        if row and row.get("sounds") and row.get("wakes") is not None:
            rows.append((row["wakes"] / row["sounds"], label, row["wakes"], row["sounds"]))
    rows = sorted(rows, key=lambda row: (row[0], row[1]))[-_CLASSES:]
    names = [escaped(label.replace("_", " ")) for _, label, _, _ in rows]
    return figure(
        [
            {
                "type": "bar",
                "orientation": "h",
                "x": rounded([100 * share for share, *_ in rows]),
                "y": names,
                "text": [f"{wakes} of {sounds}" for _, _, wakes, sounds in rows],
                "textposition": "outside",
                "cliponaxis": False,
                "marker": {"color": BLUE},
                "hovertemplate": "%{y}: %{text} sounds<extra></extra>",
            }
        ],
        height=90 + 24 * len(rows),
        showlegend=False,
        bargap=0.35,
        margin={"l": 56, "r": 70, "t": 12, "b": 48},
        xaxis=axis("Share of its sounds that woke (%)", rangemode="tozero"),
        yaxis=axis("", type="category", ticks="", gridcolor="#ffffff"),
    )


def training(run: RunFolder, stage: str) -> Figure:
    """Loss over steps of one stage: the weights as they step, their average, and plain SGD beside them."""
    step = run.traces[f"training_{stage}_step"]
    loss = [run.traces[f"training_{stage}_{name}"] for name in ("loss", "averaged_loss", "sgd_loss")]
    names, colours = ("weights as they step", "averaged weights", "plain SGD"), (GREY, BLUE, ORANGE)
    traces = []
    for values, name, colour in zip(loss, names, colours, strict=True):
        measured = np.isfinite(values)
        x, y = thinned(step[measured], values[measured])
        traces.append(
            _line(rounded(x, 6), rounded(y), name, colour) | {"hovertemplate": "step %{x}: %{y:.3g}<extra></extra>"}
        )
    positive = all((values[np.isfinite(values)] > 0).all() for values in loss)
    return figure(
        traces,
        height=300,
        xaxis=axis("Step"),
        yaxis=axis("Loss (no unit)", tickformat="~g", **({"type": "log", "dtick": "D2"} if positive else {})),
    )


def _line(x: Sequence[Any], y: Sequence[Any], name: str, colour: str = INK) -> Figure:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": list(x),
        "y": list(y),
        "line": {"color": colour, "width": 2},
    }


def _error(above: list[float], below: list[float]) -> Figure:
    return {
        "type": "data",
        "symmetric": False,
        "array": rounded([max(0.0, value) for value in above]),
        "arrayminus": rounded([max(0.0, value) for value in below]),
        "thickness": 1.5,
        "width": 5,
    }
