"""How verbs print: progress on standard error, JSON, tables."""

import json
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

__all__ = ["print_figures", "print_json", "print_power", "print_tables", "progress_bar"]


class _Bar:
    """Shows the current step on standard error."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._task: Any = None
        self._lock = threading.Lock()

    def begin(self, step: str, total: int) -> None:
        """A new step."""
        with self._lock:
            if self._task is not None:
                self._bar.update(self._task, total=1, completed=1)
            self._task = self._bar.add_task(step, total=total or None)

    def advance(self, units: int = 1) -> None:
        """Units of the step are done."""
        with self._lock:
            self._bar.advance(self._task, units)


@contextmanager
def progress_bar() -> Iterator[_Bar]:
    """Progress of long work, on standard error."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        yield _Bar(bar)


def print_json(data: Any) -> None:
    """Figures on standard output, as JSON."""
    print(json.dumps(data, indent=2, allow_nan=False))


def print_tables(heading: Sequence[str], tables: Sequence[tuple[str, Sequence[Sequence[str]]]]) -> None:
    """Tables of one heading, each with its title and lines."""
    # Into a pipe rich writes 80 columns, which would break the lines of cells.
    console = Console() if sys.stdout.isatty() else Console(width=130)
    for title, lines in tables:
        table = Table(*heading, title=title)
        for line in lines:
            table.add_row(*line)
        console.print(table)


def print_figures(summary: dict[str, Any]) -> None:
    """Headline figures of a summary with their intervals and conditions."""
    task, first, system, energy = (summary[key] for key in ("task", "first_stage", "system", "energy"))
    kind = " (synthetic recordings)" if task["synthetic"] else ""
    title = f"{task['wake']}: {task['recordings']}{kind}"
    table = Table("figure", "value", "95 % interval", title=title)
    rows: list[tuple[str, float | None, str, list[float] | None]] = [
        ("first stage: recall", first["recall"], ".3f", first["recall_interval"]),
        (
            "first stage: false wakes per hour",
            first["false_wakes_per_hour"],
            ".2f",
            first["false_wakes_per_hour_interval"],
        ),
        (
            "first stage: false wakes per hour, bare floor",
            first["false_wakes_per_hour_floor"],
            ".2f",
            first["false_wakes_per_hour_floor_interval"],
        ),
        ("first stage: power, uW", first["power_w"] * 1e6, ".2f", None),
        ("both stages: miss rate", system["miss_rate"], ".3f", system["miss_rate_interval"]),
        (
            "both stages: false accepts per hour",
            system["false_accepts_per_hour"],
            ".2f",
            system["false_accepts_per_hour_interval"],
        ),
        (
            "battery life, days",
            energy["analyse_first"]["battery_days"],
            ".0f",
            energy["analyse_first"]["battery_days_interval"],
        ),
    ]
    for name, extension in energy["battery_life_extension_percent"].items():
        interval = energy["battery_life_extension_percent_interval"][name]
        rows.append((f"battery life against digitise-first ({name}), %", extension, "+.0f", interval))
    for label, value, style, interval in rows:
        table.add_row(
            label, _number(value, style), "" if interval is None else " to ".join(_number(v, style) for v in interval)
        )
    console = Console()
    console.print(table)
    console.print(
        f"{task['test_events']} events, {task['test_foreign']} foreign sounds, {task['test_hours']:.1f} h of streams "
        f"from {task['test_clips']} unseen clips of {task['test_sources']} sources; "
        f"wake events {task['snr_db']:g} dB over the floor",
        highlight=False,
    )


def _number(value: float | None, style: str) -> str:
    return "-" if value is None else format(value, style)


def print_power(energy: dict[str, Any]) -> None:
    """Energy by part and state of every system, and the extensions of battery life."""
    table = Table("system", "part", "state", "uW", "source", title=f"battery {energy['battery']['name']}")
    systems = {"analyse_first": energy["analyse_first"], **energy["digitise_first"]}
    for name, system in systems.items():
        for part in system["parts"]:
            table.add_row(name, part["part"], part["state"], f"{part['power_w'] * 1e6:.2f}", part["source"])
        table.add_row(
            name, "total", "", f"{system['power_w'] * 1e6:.2f}", f"{system['battery_days']:.0f} days", end_section=True
        )
    console = Console()
    console.print(table)
    for name, extension in energy["battery_life_extension_percent"].items():
        even = energy["break_even_wakes_per_hour"][name]
        where = "no rate" if even is None else f"{even:.1f} wakes an hour"
        console.print(f"against {name}: {extension:+.0f} % battery life; break-even at {where}", highlight=False)
