"""Circuit parameters of frontend.json as table rows."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lightsleeper.report.values import format_value, style_for

__all__ = ["Parameter", "parameters"]

_LONG = 12


@dataclass(frozen=True)
class Parameter:
    """One row: block, name, value as text, and the rows of a matrix or long list that is folded away."""

    block: str
    name: str
    text: str
    folded: tuple[str, ...] = ()


def parameters(frontend: Mapping[str, Any]) -> list[Parameter]:
    """Every parameter with its unit, in the file's order; blocks within blocks are joined by a slash."""
    return list(_rows(frontend, ""))


def _rows(block: Mapping[str, Any], path: str) -> Iterator[Parameter]:
    for name, value in block.items():
        if isinstance(value, Mapping):
            yield from _rows(value, f"{path} / {name}" if path else name)
        elif isinstance(value, list):
            yield _listed(path, name, value)
        else:
            yield Parameter(path, name, _text(value, name))


def _listed(path: str, name: str, value: list[Any]) -> Parameter:
    rows = value if any(isinstance(row, list) for row in value) else [value]
    texts = tuple(", ".join(_text(item, name) for item in (row if isinstance(row, list) else [row])) for row in rows)
    if len(rows) == 1 and len(value) <= _LONG:
        return Parameter(path, name, texts[0] or "-")
    size = f"{len(value)} values" if rows[0] is value else f"{len(rows)} rows of {len(rows[0])} values"
    return Parameter(path, name, size, texts)


def _text(value: Any, name: str) -> str:
    numeric = isinstance(value, int | float) and not isinstance(value, bool)
    return format_value(value, style_for(name) if numeric else "plain")
