"""Figures of summary.json as text: each looked up by its key, formatted by a named style, and marked with both."""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from lightsleeper.errors import InputError

__all__ = ["STYLES", "Facts", "format_value", "key_of", "resolve", "style_for"]

ABSENT = "-"
_PREFIXES = ((-15, "f"), (-12, "p"), (-9, "n"), (-6, "µ"), (-3, "m"), (0, ""), (3, "k"), (6, "M"), (9, "G"))


def key_of(*parts: object) -> str:
    """Key of a figure: parts joined by dots; a dot inside a part (a label, a part's name) is escaped."""
    return ".".join(str(part).replace("\\", "\\\\").replace(".", "\\.") for part in parts)


def resolve(summary: Mapping[str, Any], key: str) -> Any:
    """Value at a key made by `key_of`; list items by their index. None where there is none."""
    value: Any = summary
    for part in _parts(key):
        if isinstance(value, Mapping):
            value = value.get(part)
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value


def format_value(value: Any, style: str) -> str:
    """Value as text; a dash where there is none (missing, null, NaN).

    Two numbers are an interval ("1.0 to 2.0 days"), a longer list is joined by commas.

    Raises:
        InputError: a number was expected and something else found.
    """
    if isinstance(value, list | tuple):
        texts = [format_value(item, style) for item in value]
        if not texts or ABSENT in texts:
            return ABSENT
        return _interval(*texts) if len(texts) == 2 and style not in ("text", "plain") else ", ".join(texts)
    if value is None or (isinstance(value, float) and math.isnan(value)) or value == "":
        return ABSENT
    return STYLES[style](value)


def style_for(name: str) -> str:
    """Style that suits a figure by the unit in its name."""
    stem = name.removesuffix("_interval")
    for suffix, style in _SUFFIXES.items():
        if stem.endswith(suffix):
            return style
    return "plain"


@dataclass(frozen=True)
class Facts:
    """A summary that knows how to show its figures in HTML."""

    summary: Mapping[str, Any]

    def show(self, key: str, style: str | None = None) -> Markup:
        """The figure at a key, in an element that names key and style."""
        style = style or style_for(_parts(key)[-1])
        try:
            text = format_value(resolve(self.summary, key), style)
        except (InputError, TypeError, ValueError, OverflowError) as error:
            raise InputError(f"summary.json: {key} cannot be shown ({error}); repeat the run") from None
        return Markup('<span data-key="{}" data-style="{}">{}</span>').format(key, style, text)

    def get(self, key: str) -> Any:
        """Plain value at a key, None where there is none."""
        return resolve(self.summary, key)

    def items(self, key: str) -> list[tuple[str, str]]:
        """(name, key) of what a dict or list at a key holds; nothing where there is none."""
        value = resolve(self.summary, key)
        names = value if isinstance(value, Mapping) else range(len(value)) if isinstance(value, list) else ()
        return [(str(name), f"{key}.{key_of(name)}") for name in names]

    def leaves(self, key: str) -> list[tuple[str, str]]:
        """(name, key) of every figure below a key, names of nested blocks joined by a slash."""
        return list(self._leaves(key, ""))

    def _leaves(self, key: str, above: str) -> Iterator[tuple[str, str]]:
        for name, below in self.items(key):
            title = f"{above}{name.replace('_', ' ')}"
            if isinstance(resolve(self.summary, below), Mapping):
                yield from self._leaves(below, f"{title} / ")
            else:
                yield title, below


def _interval(low: str, high: str) -> str:
    """Both limits with the unit once, where it is the same."""
    unit = high.partition(" ")[2]
    return f"{low.removesuffix(f' {unit}')} to {high}" if low.partition(" ")[2] == unit else f"{low} to {high}"


def _parts(key: str) -> list[str]:
    return [re.sub(r"\\(.)", r"\1", part) for part in re.findall(r"(?:\\.|[^.\\])+", key)]


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{value!r} is no number")
    return float(value)


def _engineering(unit: str) -> Callable[[Any], str]:
    def text(value: Any) -> str:
        number = float(f"{_number(value):.3g}")
        if number == 0 or math.isinf(number):
            return f"{number:g} {unit}".replace("-", "−")
        decade = math.floor(math.log10(abs(number)))
        exponent, prefix = max((p for p in _PREFIXES if p[0] <= decade), default=_PREFIXES[0])
        decimals = max(0, 2 - (decade - exponent))
        return f"{number / 10**exponent:.{decimals}f} {prefix}{unit}".replace("-", "−")

    return text


def _fixed(unit: str, *, scale: float = 1.0, signed: bool = False) -> Callable[[Any], str]:
    """Three significant digits at most, and no more than two decimals."""

    def text(value: Any) -> str:
        number = scale * _number(value)
        size = abs(number)
        decimals = 0 if size >= 100 else 1 if size >= 10 else 2
        return f"{number:{'+' if signed else ''},.{decimals}f}{unit}".replace("-", "−")

    return text


def _trimmed(unit: str) -> Callable[[Any], str]:
    """Four significant digits at most, without zeros at the end: settings rather than measurements."""
    return lambda value: f"{_number(value):.4g} {unit}".replace("-", "−")


def _count(value: Any) -> str:
    number = _number(value)
    return f"{number:,.0f}" if number == round(number) else f"{number:,g}"


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer() and abs(value) < 1e15):
        return f"{value:.0f}".replace("-", "−")
    return f"{value:.4g}".replace("-", "−") if isinstance(value, float) else str(value)


STYLES: Mapping[str, Callable[[Any], str]] = {
    "text": str,
    "plain": _plain,
    "count": _count,
    "share": lambda value: f"{100 * _number(value):.1f} %",
    "percent": _fixed(" %", signed=True),
    "rate": _fixed(""),
    "hours": _trimmed("h"),
    "days": _fixed(" days"),
    "decibel": _trimmed("dB"),
    "sound_level": _trimmed("dB SPL"),
    "area": _fixed(" mm²"),
    "power": _engineering("W"),
    "energy": _engineering("J"),
    "seconds": _engineering("s"),
    "frequency": _engineering("Hz"),
    "voltage": _engineering("V"),
    "current": _engineering("A"),
    "capacitance": _engineering("F"),
    "charge": _trimmed("mAh"),
}

_SUFFIXES = {
    "_per_hour": "rate",
    "_percent": "percent",
    "_recall": "share",
    "_hours": "hours",
    "_days": "days",
    "_db_spl": "sound_level",
    "_db": "decibel",
    "_mm2": "area",
    "_mah": "charge",
    "_hz": "frequency",
    "_w": "power",
    "_j": "energy",
    "seconds": "seconds",
    "_s": "seconds",
    "_v": "voltage",
    "_a": "current",
    "_f": "capacitance",
}
