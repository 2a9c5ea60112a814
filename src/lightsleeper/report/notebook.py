"""The same run as an executable notebook, the same bytes for the same run."""

import html
import json
import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from lightsleeper.report.run_folder import read_run, write_whole
from lightsleeper.report.values import format_value, resolve

__all__ = ["write_notebook"]

_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def write_notebook(run: Path) -> Path:
    """Write RUN/demo.ipynb, a notebook (format 4.5) that reads the run's files beside it, and return its path.

    Raises:
        InputError: run folder missing or truncated, or not writable.
    """
    folder = read_run(run)
    # Without escaping: the text is code. The label stands in a heading only, and is escaped for that here.
    environment = Environment(
        loader=PackageLoader("lightsleeper.report", "."),
        autoescape=False,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    wake = " ".join(format_value(resolve(folder.summary, "task.wake"), "text").split())
    text = environment.get_template("demo.py.jinja").render(wake=html.escape(wake))
    notebook = {"cells": _cells(text), "metadata": _METADATA, "nbformat": 4, "nbformat_minor": 5}
    path = run / "demo.ipynb"
    write_whole(path, json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")
    return path


def _cells(text: str) -> list[dict[str, Any]]:
    """Cells of a script in percent format: "# %%" opens code, "# %% [markdown]" a text in comments."""
    cells: list[dict[str, Any]] = []
    for number, block in enumerate(re.split(r"^# %%", text, flags=re.MULTILINE)[1:]):
        kind, _, body = block.partition("\n")
        lines = body.rstrip("\n").split("\n")
        identity: dict[str, Any] = {"id": f"cell-{number:02d}", "metadata": {}}
        if kind.strip() == "[markdown]":
            lines = [line.removeprefix("#").removeprefix(" ") for line in lines]
            cells.append({"cell_type": "markdown", **identity, "source": _source(lines)})
        else:
            cells.append(
                {"cell_type": "code", **identity, "execution_count": None, "outputs": [], "source": _source(lines)}
            )
    return cells


def _source(lines: list[str]) -> list[str]:
    return [f"{line}\n" for line in lines[:-1]] + lines[-1:]
