"""A run folder appears whole or not at all, and nobody's files are lost."""

import os
import signal
from pathlib import Path

import pytest

from lightsleeper.design import new_run
from lightsleeper.design.run_folder import RUN_MARKS
from lightsleeper.errors import InputError


def make_run(out: Path, content: str = "{}", **options: bool) -> None:
    with new_run(out, **options) as folder:
        for name in RUN_MARKS:
            (folder / name).write_text(content, encoding="utf-8")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_run_appears_whole_at_the_end(tmp_path: Path):
    out = tmp_path / "deep" / "run"
    with new_run(out) as folder:
        (folder / "summary.json").write_text("1", encoding="utf-8")
        assert not out.exists()
        assert names(out.parent)[0].startswith(".run.unfinished-")
    assert names(out.parent) == ["run"]
    assert (out / "summary.json").read_text(encoding="utf-8") == "1"
    assert out.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_exception_leaves_nothing(error: type[BaseException], tmp_path: Path):
    def fail() -> None:
        with new_run(tmp_path / "run") as folder:
            (folder / "summary.json").write_text("half", encoding="utf-8")
            raise error

    with pytest.raises(error):
        fail()
    assert names(tmp_path) == []


def test_a_relative_name_lies_in_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    make_run(Path("run"))
    assert names(tmp_path / "run") == sorted(RUN_MARKS)


def test_an_empty_folder_is_taken(tmp_path: Path):
    (tmp_path / "run").mkdir()
    make_run(tmp_path / "run", "new")
    assert (tmp_path / "run" / "summary.json").read_text(encoding="utf-8") == "new"
    assert names(tmp_path) == ["run"]


def test_an_older_run_is_kept(tmp_path: Path):
    out = tmp_path / "run"
    make_run(out, "old")
    with pytest.raises(InputError, match=r"older run, which is kept.*--force"):
        make_run(out, "new")
    assert (out / "summary.json").read_text(encoding="utf-8") == "old"
    assert names(tmp_path) == ["run"]


def test_force_replaces_an_older_run_whole(tmp_path: Path):
    out = tmp_path / "run"
    make_run(out, "old")
    (out / "report.html").write_text("old", encoding="utf-8")
    make_run(out, "new", force=True)
    assert names(out) == sorted(RUN_MARKS)
    assert (out / "summary.json").read_text(encoding="utf-8") == "new"
    assert names(tmp_path) == ["run"]


def test_a_failure_with_force_keeps_the_older_run(tmp_path: Path):
    out = tmp_path / "run"
    make_run(out, "old")

    def fail() -> None:
        with new_run(out, force=True):
            raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011  whatever the block raises
        fail()
    assert (out / "summary.json").read_text(encoding="utf-8") == "old"
    assert names(tmp_path) == ["run"]


@pytest.mark.parametrize("force", [False, True])
def test_a_foreign_folder_is_never_touched(force: bool, tmp_path: Path):
    out = tmp_path / "letters"
    out.mkdir()
    (out / "letter.txt").write_text("dear", encoding="utf-8")
    with pytest.raises(InputError, match="is not empty and no run"):
        make_run(out, force=force)
    assert (out / "letter.txt").read_text(encoding="utf-8") == "dear"
    assert names(tmp_path) == ["letters"]


@pytest.mark.parametrize("force", [False, True])
def test_a_file_is_never_replaced(force: bool, tmp_path: Path):
    out = tmp_path / "run"
    out.write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match="is a file"):
        make_run(out, force=force)
    assert out.read_text(encoding="utf-8") == "mine"


def test_a_parent_that_is_a_file_is_one_line(tmp_path: Path):
    (tmp_path / "parent").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match=r"run: cannot be written \(.+\); choose another --out"):
        make_run(tmp_path / "parent" / "run")
    assert (tmp_path / "parent").read_text(encoding="utf-8") == "mine"


def test_kill_leaves_no_folder_that_looks_like_a_run(tmp_path: Path):
    out = tmp_path / "run"
    child = os.fork()
    if child == 0:
        with new_run(out) as folder:
            (folder / "summary.json").write_text("{}", encoding="utf-8")
            os.kill(os.getpid(), signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert len(names(tmp_path)) == 1
    assert names(tmp_path)[0].startswith(".run.unfinished-")
    make_run(out)
    assert names(out) == sorted(RUN_MARKS)


def test_a_folder_that_only_holds_a_summary_is_nobodys_run(tmp_path: Path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "summary.json").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match="no run of lightsleeper"):
        make_run(tmp_path / "run", force=True)
    assert (tmp_path / "run" / "summary.json").read_text(encoding="utf-8") == "mine"
