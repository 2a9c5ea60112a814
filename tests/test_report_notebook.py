"""The run as a notebook: valid, the same every time, and it runs."""

import ast
import json
from pathlib import Path

import nbclient
import nbformat
import pytest

from lightsleeper.report import write_notebook
from report_run import summary, write_run


def test_a_valid_notebook_without_outputs(tmp_path: Path):
    path = write_notebook(write_run(tmp_path / "run"))
    assert path.name == "demo.ipynb"
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert {cell.cell_type for cell in notebook.cells} == {"markdown", "code"}
    assert all(not cell.outputs and cell.execution_count is None for cell in notebook.cells if cell.cell_type == "code")
    assert notebook.cells[0].source.startswith("# A sensor that wakes on glass_breaking\n")
    for cell in notebook.cells:
        if cell.cell_type == "code":
            ast.parse(cell.source)


def test_the_same_run_gives_the_same_bytes(tmp_path: Path):
    first, second = (write_notebook(write_run(tmp_path / name)).read_bytes() for name in ("one", "two"))
    assert first == second
    cells = json.loads(first)["cells"]
    assert len({cell["id"] for cell in cells}) == len(cells)


def test_a_label_cannot_add_cells_or_tags(tmp_path: Path):
    figures = summary()
    figures["task"]["wake"] = "bang\n# %%\nimport os <b>{{ 1 }}"
    notebook = json.loads(write_notebook(write_run(tmp_path / "run", figures=figures)).read_text(encoding="utf-8"))
    plain = json.loads(write_notebook(write_run(tmp_path / "plain")).read_text(encoding="utf-8"))
    assert len(notebook["cells"]) == len(plain["cells"])
    assert [cell["source"] for cell in notebook["cells"][1:]] == [cell["source"] for cell in plain["cells"][1:]]
    assert "<b>" not in "".join(notebook["cells"][0]["source"])


@pytest.mark.slow
def test_it_runs_and_prints_the_summary(tmp_path: Path):
    run = write_run(tmp_path / "run")
    notebook = nbformat.read(write_notebook(run), as_version=4)
    nbclient.NotebookClient(notebook, timeout=60, resources={"metadata": {"path": str(run)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    printed = "".join(output.text for output in outputs if output.output_type == "stream" and output.name == "stdout")
    assert "recall: 0.95, interval [0.878, 0.98]" in printed
    assert "digitise first, catalogue: +521 %" in printed
    assert "lightsleeper design --recordings" in printed
    drawn = [output for output in outputs if "application/vnd.plotly.v1+json" in output.get("data", {})]
    assert len(drawn) == 4
