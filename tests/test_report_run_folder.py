"""Reading a run folder, and writing whole files into it."""

import os
from pathlib import Path

import numpy as np
import pytest

from lightsleeper.errors import InputError
from lightsleeper.report import write_notebook, write_picture, write_report
from lightsleeper.report.run_folder import read_run, write_whole
from report_run import traces, write_run


def test_a_run_is_read_whole(tmp_path: Path):
    folder = read_run(write_run(tmp_path / "run"))
    assert folder.summary["task"]["wake"] == "glass_breaking"
    assert folder.frontend["process"]["supply_v"] == 1.8
    assert folder.traces["timeline_event_label"].tolist()[0] == "glass_breaking"
    assert folder.missing("det_recall", "det_speed") == ["det_speed"]


def test_an_empty_array_counts_as_missing(tmp_path: Path):
    folder = read_run(write_run(tmp_path / "run", arrays={"det_recall": np.empty(0)}))
    assert folder.missing("det_recall") == ["det_recall"]


@pytest.mark.parametrize("name", ["summary.json", "traces.npz", "frontend.json"])
@pytest.mark.parametrize("damage", ["missing", "truncated", "empty", "folder"])
def test_a_damaged_run_is_one_line_that_names_the_file(tmp_path: Path, name: str, damage: str):
    run = write_run(tmp_path / "run")
    whole = (run / name).read_bytes()
    (run / name).unlink()
    if damage == "folder":
        (run / name).mkdir()
    elif damage != "missing":
        (run / name).write_bytes(whole[: len(whole) // 2] if damage == "truncated" else b"")
    before = sorted(run.iterdir())
    for write in (write_report, write_notebook, lambda run: write_picture(run, run / "picture.svg")):
        with pytest.raises(InputError, match=name) as caught:
            write(run)
        assert "\n" not in str(caught.value)
    assert sorted(run.iterdir()) == before


def test_flipped_bytes_in_the_traces_are_found(tmp_path: Path):
    run = write_run(tmp_path / "run")
    data = bytearray((run / "traces.npz").read_bytes())
    middle = len(data) // 2
    data[middle : middle + 64] = bytes(64)
    (run / "traces.npz").write_bytes(bytes(data))
    with pytest.raises(InputError, match=r"traces\.npz"):
        read_run(run)


@pytest.mark.parametrize("text", ["[1, 2]", "3", '"text"'])
def test_a_summary_that_is_no_object_is_refused(tmp_path: Path, text: str):
    run = write_run(tmp_path / "run")
    (run / "summary.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="not an object"):
        read_run(run)


def test_pickled_arrays_are_refused(tmp_path: Path):
    run = write_run(tmp_path / "run")
    np.savez(run / "traces.npz", det_recall=np.array([{"a": 1}], dtype=object))
    with pytest.raises(InputError, match=r"traces\.npz"):
        read_run(run)


@pytest.mark.parametrize("name", ["det_recall", "timeline_fast_v", "timeline_event_end_s", "training_wake_stage_loss"])
def test_arrays_of_one_axis_have_one_length(tmp_path: Path, name: str):
    arrays = traces()
    arrays[name] = arrays[name][..., :-1]
    with pytest.raises(InputError, match=f"differ in length.*{name}"):
        read_run(write_run(tmp_path / "run", arrays=arrays))


def test_no_folder_says_how_to_make_one(tmp_path: Path):
    with pytest.raises(InputError, match="no such run folder; make one with `lightsleeper design"):
        write_report(tmp_path / "absent")


def test_writing_replaces_the_old_file_and_leaves_nothing_else(tmp_path: Path):
    path = tmp_path / "page.html"
    write_whole(path, "old")
    write_whole(path, "new µ\n")
    assert path.read_bytes() == "new µ\n".encode()
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_keeps_the_old_file_and_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "page.html"
    write_whole(path, "old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(InputError, match="No space left on device"):
        write_whole(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_others_may_read_what_was_written(tmp_path: Path):
    old = os.umask(0o022)
    try:
        write_whole(tmp_path / "page.html", "text")
        assert os.umask(0o022) == 0o022, "the umask must be as it was"
    finally:
        os.umask(old)
    assert (tmp_path / "page.html").stat().st_mode & 0o777 == 0o644


def test_out_folder_that_is_not_there(tmp_path: Path):
    with pytest.raises(InputError, match=r"picture\.svg: cannot be written"):
        write_picture(write_run(tmp_path / "run"), tmp_path / "absent" / "picture.svg")
