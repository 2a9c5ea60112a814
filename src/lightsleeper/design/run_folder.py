"""A run folder appears whole or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lightsleeper.errors import InputError

__all__ = ["RUN_MARKS", "new_run"]

RUN_MARKS = ("summary.json", "spec.toml", "frontend.json")
"""The files that make a folder a run, which --force may replace."""


@contextmanager
def new_run(out: Path, *, force: bool = False) -> Iterator[Path]:
    """A temporary folder beside `out` that takes its place when the block ends well, and vanishes when it does not.

    An older run in `out` is kept unless `force`; any other folder that is not empty is never touched.
    A killed process may leave a hidden `.NAME.unfinished-*` folder, which no verb takes for a run.

    Raises:
        InputError: `out` holds something, or cannot be written.
    """
    out = out.absolute()
    check_out(out, force=force)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.unfinished-", dir=out.parent))
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror}); choose another --out") from None
    try:
        yield folder
        folder.chmod(0o755)
        _take_place(folder, out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def check_out(out: Path, *, force: bool) -> None:
    """Raise where `out` may not become a run folder."""
    if not out.exists():
        return
    if not out.is_dir():
        raise InputError(f"{out}: is a file; choose another --out")
    if all((out / mark).exists() for mark in RUN_MARKS):
        if not force:
            raise InputError(f"{out}: holds an older run, which is kept; choose another --out or say --force")
    elif any(out.iterdir()):
        raise InputError(f"{out}: is not empty and no run of lightsleeper; choose another --out")


def _take_place(folder: Path, out: Path) -> None:
    """Rename, moving an older run aside first so that at no instant half of each lies there."""
    if not out.exists():
        os.rename(folder, out)
        return
    older = Path(tempfile.mkdtemp(prefix=f".{out.name}.older-", dir=out.parent))
    os.rename(out, older / out.name)
    os.rename(folder, out)
    shutil.rmtree(older)
