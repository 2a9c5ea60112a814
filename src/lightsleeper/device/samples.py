"""Labelled samples of an .npz file, ready for a model."""

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightsleeper.device.library import TrainerLibrary
from lightsleeper.errors import InputError

__all__ = ["Samples", "bytes_needed", "read_samples"]

_MOST_ROWS = 2**30
_CHUNK_ROWS = 4096
_READ_HEADER = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


@dataclass(frozen=True, eq=False, kw_only=True)
class Samples:
    """What a model trains on.

    Attributes:
        x: (rows, inputs) float32, C order.
        labels: (rows,) int32, or (rows, outputs) float32 where targets are numbers.
        bad_rows: rows with NaN or infinity, which the model skips and counts.
    """

    x: NDArray[np.float32]
    labels: NDArray[Any]
    bad_rows: int

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return self.x.nbytes + self.labels.nbytes


def read_samples(path: Path, library: TrainerLibrary) -> Samples:
    """Read ``x``, (rows, ...) numbers, and ``y``, (rows,) labels or (rows, outputs) targets, from an .npz file.

    Raises:
        InputError: the file or an array is missing, shapes do not fit the model, or a label is unknown to it.
    """
    x, y = _arrays(path)
    rows = len(x) if x.ndim else 0
    if rows == 0 or rows > _MOST_ROWS:
        raise InputError(f"{path}: x has {rows} samples: give 1 to 2^30")
    if x.size // rows != library.inputs or x.dtype.kind not in "fiu":
        raise InputError(
            f"{path}: x is {_shown(x)}: the model takes samples of {library.inputs} numbers, so give "
            f"{rows} x {library.inputs}"
        )
    samples = np.ascontiguousarray(x.reshape(rows, -1), np.float32)
    labels = _classes(path, y, rows, library.classes) if library.classes else _targets(path, y, rows, library.outputs)
    bad = sum(int((~np.isfinite(samples[i : i + _CHUNK_ROWS]).all(axis=1)).sum()) for i in range(0, rows, _CHUNK_ROWS))
    if bad == rows:
        raise InputError(f"{path}: every sample holds NaN or infinity; there is nothing to train on")
    return Samples(x=samples, labels=labels, bad_rows=bad)


def _arrays(path: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    if not path.is_file():
        raise InputError(f"{path}: no such file; give an .npz with arrays x and y")
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = [name for name in ("x", "y") if name not in file]
            if missing:
                raise InputError(f"{path}: has no array {missing[0]}; it holds {', '.join(file.files) or 'nothing'}")
            return file["x"], file["y"]
    except (OSError, ValueError, EOFError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: cannot be read as .npz ({error}); write it with numpy.savez") from error


def _classes(path: Path, y: NDArray[Any], rows: int, classes: int) -> NDArray[np.int32]:
    if y.shape != (rows,) or y.dtype.kind not in "iub":
        raise InputError(f"{path}: y is {_shown(y)}: give {rows} whole numbers, one label a sample")
    strange = np.flatnonzero((y < 0) | (y >= classes))
    if strange.size:
        raise InputError(
            f"{path}: y[{strange[0]}] is {y[strange[0]]}: the model knows labels 0 to {classes - 1} "
            f"({strange.size} samples are outside)"
        )
    return np.ascontiguousarray(y, np.int32)


def _targets(path: Path, y: NDArray[Any], rows: int, outputs: int) -> NDArray[np.float32]:
    if y.dtype.kind not in "fiu" or y.shape not in {(rows, outputs)} | ({(rows,)} if outputs == 1 else set()):
        raise InputError(f"{path}: y is {_shown(y)}: give {rows} x {outputs} numbers")
    targets = np.ascontiguousarray(y.reshape(rows, outputs), np.float32)
    if not np.isfinite(targets).all(axis=1).any():
        raise InputError(f"{path}: every target holds NaN or infinity; there is nothing to train on")
    return targets


def _shown(array: NDArray[Any]) -> str:
    return f"{' x '.join(map(str, array.shape)) or 'one number'} of {array.dtype}"


def bytes_needed(path: Path) -> int:
    """Memory that `read_samples` will take at most, without reading the arrays; 0 where it would refuse the file."""
    needed = 0
    try:
        with zipfile.ZipFile(path) as archive:
            for name, wanted in (("x.npy", (np.float32,)), ("y.npy", (np.float32, np.int32))):
                with archive.open(name) as file:
                    shape, _, kind = _READ_HEADER[np.lib.format.read_magic(file)](file)
                count = int(np.prod(shape, dtype=np.int64))
                needed += count * kind.itemsize + (0 if kind in wanted else 4 * count)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return 0
    return needed
