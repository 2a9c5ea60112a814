"""One minute of the stream through the chain: pressure, band envelopes, neurons, score, integrator, wakes."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightsleeper.report.figures import band_order
from lightsleeper.report.run_folder import RunFolder
from lightsleeper.report.style import (
    BLUE,
    GREEN,
    GREY,
    INK,
    VERMILION,
    Figure,
    axis,
    band_colours,
    escaped,
    figure,
    rounded,
    thinned,
    tinted,
)

__all__ = ["NETS", "block_peaks", "level_db", "timeline"]

NETS = (("fast", "fast envelope"), ("slow", "slow envelope"), ("floor", "noise floor"))
_COLUMNS = 900
_RANGE_DB = 60.0
# Share of the figure's height, from the top: events, pressure, bands, neurons, score, integrator.
_ROWS = {"events": 0.05, "pressure": 0.16, "bands": 0.24, "neurons": 0.16, "score": 0.13, "integrator": 0.16}
_GAP = 0.02


def block_peaks(values: NDArray[Any], columns: int) -> NDArray[np.float64]:
    """Greatest value of every block along the last axis, (..., N) to (..., at most `columns`)."""
    values = np.asarray(values, dtype=np.float64)
    block = max(1, math.ceil(values.shape[-1] / columns))
    starts = np.arange(0, values.shape[-1], block)
    return np.maximum.reduceat(values, starts, axis=-1)


def level_db(values_v: NDArray[Any], range_db: float = _RANGE_DB) -> NDArray[np.float64]:
    """Voltage in dB re 1 V, cut off at `range_db` below its greatest."""
    values = np.abs(np.asarray(values_v, dtype=np.float64))
    peak = max(float(values.max(initial=0.0)), 1e-12)
    return np.asarray(20 * np.log10(np.maximum(values, peak * 10 ** (-range_db / 20))))


def timeline(run: RunFolder) -> Figure:
    """Waveforms of the chain over a shared time axis; events shaded, wakes as vertical lines."""
    spans = _row_spans()
    time_s = np.asarray(run.traces["timeline_time_s"], dtype=np.float64)
    traces = [*_events(run), *_pressure(run, time_s), *_bands(run, time_s)]
    traces += [*_neurons(run, time_s), *_score(run, time_s), *_integrator(run, time_s)]
    layout: dict[str, Any] = {
        "xaxis": axis(
            "Time (s)", range=rounded([time_s[0], time_s[-1]]), anchor=f"y{len(_ROWS)}", showgrid=False, showline=False
        ),
        "yaxis": axis("", domain=spans["events"], visible=False, range=[-0.5, 0.5], fixedrange=True),
    }
    titles = ("Pressure (Pa)", "Band", "Neurons (V)", "Score (V)", "Integral (V)")
    for number, (row, title) in enumerate(zip(list(_ROWS)[1:], titles, strict=True), start=2):
        layout[f"yaxis{number}"] = axis(title, domain=spans[row], nticks=5, fixedrange=True)
    _, names = band_order(run, len(run.traces["timeline_fast_v"]))
    layout["yaxis3"] |= {"tickvals": list(range(len(names))), "ticktext": names, "title": {"text": ""}, "ticks": ""}
    return figure(
        traces,
        height=840,
        margin={"l": 64, "r": 12, "t": 44, "b": 48},
        showlegend=False,
        barmode="overlay",
        shapes=_shapes(run),
        updatemenus=[_net_buttons(len(_events(run)) + 2, len(traces))],
        **layout,
    )


def _row_spans() -> dict[str, list[float]]:
    spans, top = {}, 1.0
    for row, share in _ROWS.items():
        spans[row] = [round(max(0.0, top - share), 4), round(top, 4)]
        top -= share + _GAP
    return spans


def _events(run: RunFolder) -> list[Figure]:
    traces = []
    for wake, colour in ((True, GREEN), (False, GREY)):
        chosen = run.traces["timeline_event_wake"].astype(bool) == wake
        onset, end = run.traces["timeline_event_onset_s"][chosen], run.traces["timeline_event_end_s"][chosen]
        labels = run.traces["timeline_event_label"][chosen].tolist()
        kind = "wake event" if wake else "foreign sound"
        traces.append(
            {
                "type": "bar",
                "orientation": "h",
                "name": kind,
                "base": rounded(onset, 5),
                "x": rounded(end - onset, 5),
                "y": [0] * len(labels),
                "width": 0.8,
                "marker": {"color": colour},
                "text": [escaped(label.replace("_", " ")) for label in labels],
                "textposition": "none",
                "hovertemplate": f"%{{text}}<br>from %{{base:.2f}} s<extra>{kind}</extra>",
            }
        )
    return traces


def _pressure(run: RunFolder, time_s: NDArray[np.float64]) -> list[Figure]:
    low = -block_peaks(-run.traces["timeline_pressure_low_pa"], 2 * _COLUMNS)
    high = block_peaks(run.traces["timeline_pressure_high_pa"], 2 * _COLUMNS)
    x = rounded(np.linspace(time_s[0], time_s[-1], low.size), 5)
    line = {"color": INK, "width": 0.7}
    common = {"type": "scatter", "mode": "lines", "x": x, "yaxis": "y2", "line": line}
    return [
        common | {"y": rounded(low, 3), "hoverinfo": "skip"},
        common
        | {
            "y": rounded(high, 3),
            "fill": "tonexty",
            "fillcolor": tinted(INK, 0.75),
            "hovertemplate": "%{x:.2f} s: %{y:.3g} Pa<extra>pressure, peak</extra>",
        },
    ]


def _bands(run: RunFolder, time_s: NDArray[np.float64]) -> list[Figure]:
    order, _ = band_order(run, len(run.traces["timeline_fast_v"]))
    levels = {net: level_db(block_peaks(run.traces[f"timeline_{net}_v"][order], _COLUMNS)) for net, _ in NETS}
    top = max(float(level.max()) for level in levels.values())
    bottom = max(top - _RANGE_DB, min(float(level.min()) for level in levels.values()))
    traces = []
    for net, title in NETS:
        level = levels[net]
        traces.append(
            {
                "type": "heatmap",
                "x": rounded(np.linspace(time_s[0], time_s[-1], level.shape[1]), 5),
                "y": list(range(len(order))),
                "z": rounded(level, 3),
                "zmin": round(bottom, 1),
                "zmax": round(top, 1),
                "colorscale": "Cividis",
                "showscale": False,
                "yaxis": "y3",
                "visible": net == NETS[0][0],
                "hovertemplate": f"%{{x:.2f}} s, %{{y}}: %{{z:.0f}} dBV<extra>{title}</extra>",
            }
        )
    return traces


def _neurons(run: RunFolder, time_s: NDArray[np.float64]) -> list[Figure]:
    hidden = run.traces["timeline_hidden_v"]
    colours = band_colours(len(hidden))
    return [
        _waveform(time_s, values, "y4", f"neuron {number + 1}", colour, width=0.9, points=900)
        for number, (values, colour) in enumerate(zip(hidden, colours, strict=True))
    ]


def _score(run: RunFolder, time_s: NDArray[np.float64]) -> list[Figure]:
    return [_waveform(time_s, run.traces["timeline_score_v"], "y5", "score", BLUE)]


def _integrator(run: RunFolder, time_s: NDArray[np.float64]) -> list[Figure]:
    traces = [_waveform(time_s, run.traces["timeline_integral_v"], "y6", "integral", BLUE, width=1.6)]
    threshold = (run.summary.get("first_stage") or {}).get("threshold_v")
    if threshold is not None:
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "x": rounded([time_s[0], time_s[-1]]),
                "y": rounded([threshold] * 2),
                "yaxis": "y6",
                "line": {"color": VERMILION, "width": 1.5, "dash": "dash"},
                "hovertemplate": "%{y:.4g} V<extra>threshold</extra>",
            }
        )
    wakes = run.traces.get("timeline_wakes_s", np.empty(0))
    height = float(np.max(run.traces["timeline_integral_v"])) if threshold is None else threshold
    traces.append(
        {
            "type": "scatter",
            "mode": "markers",
            "x": rounded(wakes, 5),
            "y": rounded([height] * len(wakes)),
            "yaxis": "y6",
            "marker": {"color": VERMILION, "size": 10, "symbol": "triangle-up"},
            "hovertemplate": "%{x:.2f} s<extra>wake</extra>",
        }
    )
    return traces


def _waveform(
    time_s: NDArray[np.float64],
    values: NDArray[Any],
    row: str,
    name: str,
    colour: str,
    *,
    width: float = 1.2,
    points: int = 1800,
) -> Figure:
    x, y = thinned(time_s, values, points)
    return {
        "type": "scatter",
        "mode": "lines",
        "x": rounded(x, 5),
        "y": rounded(y),
        "yaxis": row,
        "line": {"color": colour, "width": width},
        "hovertemplate": f"%{{x:.2f}} s: %{{y:.4g}} V<extra>{name}</extra>",
    }


def _shapes(run: RunFolder) -> list[Figure]:
    events = zip(
        run.traces["timeline_event_onset_s"].tolist(),
        run.traces["timeline_event_end_s"].tolist(),
        run.traces["timeline_event_wake"].tolist(),
        strict=True,
    )
    common = {"xref": "x", "yref": "paper", "y0": 0, "y1": 1, "layer": "below"}
    shading = [
        common
        | {
            "type": "rect",
            "x0": round(onset, 3),
            "x1": round(end, 3),
            "fillcolor": tinted(GREEN if wake else GREY, 0.22 if wake else 0.16),
            "line": {"width": 0},
        }
        for onset, end, wake in events
    ]
    wakes = run.traces.get("timeline_wakes_s", np.empty(0)).tolist()
    line = {"color": VERMILION, "width": 1.2}
    return shading + [
        common | {"type": "line", "layer": "above", "x0": round(wake, 3), "x1": round(wake, 3), "line": line}
        for wake in wakes
    ]


def _net_buttons(first: int, count: int) -> Figure:
    buttons = []
    for chosen, (_, title) in enumerate(NETS):
        visible = [not first <= index < first + len(NETS) or index == first + chosen for index in range(count)]
        buttons.append({"label": title, "method": "restyle", "args": ["visible", visible]})
    return {
        "type": "buttons",
        "direction": "right",
        "buttons": buttons,
        "x": 0,
        "xanchor": "left",
        "y": 1.01,
        "yanchor": "bottom",
        "pad": {"b": 2},
        "font": {"size": 12},
        "bgcolor": "#ffffff",
        "bordercolor": "#cbd2d9",
    }
