"""What the page's figures share: colours, axes, and arrays made small enough for a page."""

import html
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "BLUE",
    "GREEN",
    "GREY",
    "INK",
    "MUTED",
    "ORANGE",
    "PALETTE",
    "VERMILION",
    "Figure",
    "axis",
    "band_colours",
    "escaped",
    "figure",
    "rounded",
    "thinned",
    "tinted",
]

Figure = dict[str, Any]

# Okabe and Ito 2008, colours that all kinds of colour vision tell apart.
BLUE, ORANGE, GREEN, VERMILION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
INK, MUTED, GREY = "#1f2933", "#5b6672", "#9aa5b1"
# Paul Tol's "muted" scheme, for the many parts of an energy budget.
PALETTE = ("#332288", "#DDCC77", "#88CCEE", "#CC6677", "#44AA99", "#AA4499", "#117733", "#999933", "#882255", "#BBBBBB")
# Cividis (Nunez 2018) at nine even steps, its pale end left out: lines stand on white.
_CIVIDIS = ((0, 34, 78), (26, 56, 111), (61, 78, 108), (87, 97, 110), (113, 118, 117), (141, 139, 117), (173, 161, 106))


def tinted(colour: str, alpha: float) -> str:
    """A "#rrggbb" colour with an opacity."""
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha:g})"


def band_colours(bands: int) -> list[str]:
    """One colour per band, dark for low to light for high."""
    at = np.linspace(0, len(_CIVIDIS) - 1, bands)
    channels = [np.interp(at, range(len(_CIVIDIS)), [step[c] for step in _CIVIDIS]) for c in range(3)]
    return ["#{:02x}{:02x}{:02x}".format(*(round(float(channel[i])) for channel in channels)) for i in range(bands)]


def rounded(values: Any, digits: int = 4) -> list[Any]:
    """Numbers at a few significant digits, nested as given; null for what is not finite."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim > 1:
        return [rounded(row, digits) for row in array]
    return [float(f"{value:.{digits}g}") if math.isfinite(value) else None for value in array.tolist()]


def thinned(
    time_s: NDArray[Any], values: NDArray[Any], points: int = 1500
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """At most about `points` points of a waveform (N,), the least and the greatest of every block: peaks survive."""
    time_s, values = np.asarray(time_s, dtype=np.float64), np.asarray(values, dtype=np.float64)
    block = math.ceil(2 * values.size / points)
    if block <= 2:
        return time_s, values
    keep: set[int] = {0, values.size - 1}
    for start in range(0, values.size, block):
        part = values[start : start + block]
        keep |= {start + int(part.argmin()), start + int(part.argmax())}
    index = np.array(sorted(keep))
    return time_s[index], values[index]


def escaped(text: object) -> str:
    """Text for a label: plotly.js reads tags in its labels."""
    return html.escape(str(text), quote=False)


def axis(title: str, **more: Any) -> dict[str, Any]:
    """An axis with its title; `more` are plotly.js attributes."""
    return {
        "title": {"text": title, "standoff": 8},
        "automargin": True,
        "gridcolor": "#e6e9ed",
        "linecolor": GREY,
        "showline": True,
        "zeroline": False,
        "ticks": "outside",
        "tickcolor": GREY,
        "ticklen": 4,
    } | more


def figure(traces: Sequence[Figure], *, height: int, **layout: Any) -> Figure:
    """A plotly.js figure in the page's clothes; `layout` are plotly.js attributes, `xaxis` and `yaxis` among them."""
    base: Figure = {
        "height": height,
        "margin": {"l": 56, "r": 16, "t": 12, "b": 48},
        "font": {"family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", "size": 13, "color": INK},
        "paper_bgcolor": "#ffffff",
        "plot_bgcolor": "#ffffff",
        "hoverlabel": {"font": {"size": 13}, "align": "left"},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "font": {"size": 12}},
        "dragmode": "zoom",
    }
    return {"data": list(traces), "layout": base | layout}
