"""Rows of the averaging benchmark as tables of text, for the terminal and the page."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

__all__ = ["COST_HEADING", "SUMMARY_HEADING", "SUMMARY_NOTES", "cost_tables", "summary_tables", "task_title"]

Row = dict[str, Any]

SUMMARY_HEADING = ("method", "kind", "score (95 %)", "at rate", "range", "to target", "drop", "failed")
COST_HEADING = ("method", "step, ms", "over plain SGD", "quartiles", "over its SGD", "extra bytes", "a weight")

SUMMARY_NOTES = (
    "score: mean over seeds at the best rate of the grid, chosen on the test set for every method alike; interval 95 % "
    "over seeds (Student's t). !: best at the grid's edge.",
    "range: largest over smallest rate around the best whose score is within 2 points of it; >: it ends at the grid's "
    "edge. Rates of SGD are lr/(1 - momentum), of DoG the first distance, of Prodigy the multiplier.",
    "to target: share of the run until the mean score reaches one-cycle's last score at its best rate. drop: worst "
    "loss of score over an epoch (at most a quarter of the run), in points. failed: runs that diverged + runs at "
    "chance, of all.",
)
"""What the columns mean."""


def summary_tables(rows: Iterable[Row]) -> list[tuple[str, list[tuple[str, ...]]]]:
    """For each task, scenario and batch size its title, which holds the sizes of its sets, and its lines of cells."""
    return [(title, [_summary_line(row) for row in of_task]) for title, of_task in groupby(rows, key=task_title)]


def task_title(row: Row) -> str:
    """Title of a task's table and plots; holds the size of its training set."""
    scenario = "" if row["scenario"] == "clean" else f", {row['scenario']}"
    return (
        f"{row['title']}{scenario}: {row['train_size']} training examples, batch {row['batch']}, {row['steps']} steps; "
        f"test {row['measure']} on {row['test_size']} (s.e. up to {100 * row['task_standard_error']:.1f} points)"
    )


def _summary_line(row: Row) -> tuple[str, ...]:
    share = row["share_to_target"]
    return (
        row["method_title"],
        row["kind"],
        f"{row['score']:.3f}{_half_width(row)}",
        f"{row['best_rate']:g}{' !' if row['at_grid_edge'] else ''}",
        f"{'>' if row['range_at_grid_edge'] else ''}{row['usable_range']:,.0f}x",
        "-" if row["target"] is None else "never" if share is None else f"{share:.2f}",
        f"{100 * row['worst_drop_epoch']:.1f}",
        f"{row['diverged']}+{row['at_chance']} of {row['runs']}",
    )


def _half_width(row: Row) -> str:
    interval: Sequence[float] | None = row["score_interval"]
    return "" if interval is None else f" +-{(interval[1] - interval[0]) / 2:.3f}"


def cost_tables(rows: Iterable[Row]) -> list[tuple[str, list[tuple[str, ...]]]]:
    """For each setting its title and its lines of cells under `COST_HEADING`."""
    return [(title, [_cost_line(row) for row in of_setting]) for title, of_setting in groupby(rows, key=_setting)]


def _setting(row: Row) -> str:
    return f"{row['setting']}, {row['weights']} weights, medians of {row['rounds']} interleaved rounds"


def _cost_line(row: Row) -> tuple[str, ...]:
    quartiles = row["ratio_quartiles"]
    return (
        row["method_title"],
        f"{1e3 * row['step_s']:.3f}",
        f"{row['ratio']:.3f}",
        "-" if quartiles is None else " to ".join(f"{ratio:.2f}" for ratio in quartiles),
        f"{row['own_ratio']:.3f}",
        str(row["extra_bytes"]),
        f"{row['bytes_per_weight']:.2f}",
    )
