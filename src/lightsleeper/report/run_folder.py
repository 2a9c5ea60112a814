"""The plain files of a finished run: read as one, and written whole or not at all."""

import json
import os
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightsleeper.errors import InputError

__all__ = ["RunFolder", "read_run", "write_whole"]

_TIMELINE_ROWS = ("fast_v", "slow_v", "floor_v", "hidden_v")
_TIMELINE_LINES = ("pressure_low_pa", "pressure_high_pa", "score_v", "integral_v")
_SAME_LENGTH = (
    ("det_false_wakes_per_hour", "det_recall"),
    ("timeline_time_s", *(f"timeline_{name}" for name in (*_TIMELINE_LINES, *_TIMELINE_ROWS))),
    tuple(f"timeline_event_{name}" for name in ("onset_s", "end_s", "wake", "label")),
    ("response_frequency_hz", "response_db"),
    *(
        tuple(f"training_{stage}_{name}" for name in ("step", "loss", "averaged_loss", "sgd_loss"))
        for stage in ("wake_stage", "digital_stage")
    ),
)


@dataclass(frozen=True)
class RunFolder:
    """What a report needs of a run.

    Attributes:
        summary: summary.json, every headline figure.
        traces: arrays of traces.npz by name.
        frontend: frontend.json, circuit parameters with units in their names.
    """

    summary: Mapping[str, Any]
    traces: Mapping[str, NDArray[Any]]
    frontend: Mapping[str, Any]

    def missing(self, *names: str) -> list[str]:
        """Those of the named arrays that traces.npz lacks or holds empty."""
        return [name for name in names if name not in self.traces or self.traces[name].size == 0]


def read_run(run: Path) -> RunFolder:
    """Read summary.json, traces.npz and frontend.json of a run folder.

    Raises:
        InputError: the folder or a file is missing, truncated or not what its name says.
    """
    if not run.is_dir():
        raise InputError(f"{run}: no such run folder; make one with `lightsleeper design --out {run}`")
    traces = _arrays(run / "traces.npz")
    for names in _SAME_LENGTH:
        lengths = {name: traces[name].shape[-1] for name in names if name in traces and traces[name].ndim}
        if len(set(lengths.values())) > 1:
            raise InputError(f"{run / 'traces.npz'}: arrays of one axis differ in length ({lengths}); repeat the run")
    return RunFolder(_object(run / "summary.json"), traces, _object(run / "frontend.json"))


def write_whole(path: Path, text: str) -> None:
    """Write a text under a temporary name, then rename: a reader finds the old file or the new one, never a part."""
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
                file.write(text)
            umask = os.umask(0)
            os.umask(umask)
            os.chmod(name, 0o666 & ~umask)  # mkstemp gives 0600, which nobody else could open
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); choose a folder you may write to") from None


def _object(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); repeat the run") from None
    except ValueError as error:
        raise InputError(f"{path}: truncated or not JSON ({error}); repeat the run") from None
    if not isinstance(data, dict):
        raise InputError(f"{path}: holds a {type(data).__name__}, not an object; repeat the run")
    return data


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise InputError(f"{path}: not an archive of arrays; repeat the run")
            return {name: archive[name] for name in archive.files}
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); repeat the run") from None
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path}: truncated or not an archive of arrays ({error}); repeat the run") from None
