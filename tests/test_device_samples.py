"""Samples from .npz files: what fits the model, and one clear line for what does not."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lightsleeper.device.samples import bytes_needed, read_samples
from lightsleeper.errors import InputError

CLASSIFIER: Any = SimpleNamespace(inputs=4, outputs=3, classes=3)
REGRESSION: Any = SimpleNamespace(inputs=4, outputs=2, classes=0)
X = np.arange(24, dtype=np.float32).reshape(6, 4)
Y = np.array([0, 1, 2, 0, 1, 2])


def test_shapes_and_kinds_are_brought_to_the_model(tmp_path: Path):
    path = tmp_path / "d.npz"
    np.savez_compressed(path, x=np.asfortranarray(X.astype(np.float64)).reshape(6, 2, 2), y=Y.astype(np.int64))
    read = read_samples(path, CLASSIFIER)
    assert read.x.dtype == np.float32
    assert read.x.flags.c_contiguous
    assert (read.x == X).all()
    assert (read.labels == Y).all()
    assert read.labels.dtype == np.int32
    assert read.bad_rows == 0
    assert read.nbytes == 24 * 4 + 6 * 4
    assert bytes_needed(path) == 24 * (8 + 4) + 6 * (8 + 4)
    np.savez(path, x=X, y=X[:, :2])
    assert (read_samples(path, REGRESSION).labels == X[:, :2]).all()
    assert bytes_needed(path) == X.nbytes * 3 // 2


def test_bad_rows_are_counted(tmp_path: Path):
    x = np.ones((10_000, 4), np.float32)
    x[[5, 9_999], [0, 3]] = np.nan, -np.inf
    np.savez(tmp_path / "d.npz", x=x, y=np.zeros(10_000, np.int32))
    assert read_samples(tmp_path / "d.npz", CLASSIFIER).bad_rows == 2


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": X}, "has no array y; it holds x"),
        ({"x": X[:0], "y": Y[:0]}, "x has 0 samples"),
        ({"x": np.float32(3), "y": Y}, "x has 0 samples"),
        ({"x": X[:, :3], "y": Y}, "x is 6 x 3 of float32: the model takes samples of 4 numbers, so give 6 x 4"),
        ({"x": X.astype("U3"), "y": Y}, "x is 6 x 4 of <U3"),
        ({"x": X, "y": Y[:5]}, "y is 5 of int64: give 6 whole numbers"),
        ({"x": X, "y": Y.astype(float)}, "y is 6 of float64: give 6 whole numbers"),
        ({"x": X, "y": Y + 1}, "y[2] is 3: the model knows labels 0 to 2 (2 samples are outside)"),
        ({"x": X, "y": Y - 1}, "y[0] is -1"),
        ({"x": X * np.nan, "y": Y}, "every sample holds NaN"),
        ({"x": np.array([{}]), "y": Y}, "cannot be read as .npz"),
    ],
)
def test_bad_classes_are_one_line(tmp_path: Path, arrays: dict[str, Any], words: str):
    np.savez(tmp_path / "d.npz", **arrays)
    with pytest.raises(InputError) as caught:
        read_samples(tmp_path / "d.npz", CLASSIFIER)
    assert str(caught.value).startswith(f"{tmp_path / 'd.npz'}: ")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (Y, "y is 6 of int64: give 6 x 2 numbers"),
        (X[:, :3], "y is 6 x 3 of float32"),
        (X[:, :2] + np.inf, "every target"),
    ],
)
def test_bad_targets_are_one_line(tmp_path: Path, y: Any, words: str):
    np.savez(tmp_path / "d.npz", x=X, y=y)
    with pytest.raises(InputError) as caught:
        read_samples(tmp_path / "d.npz", REGRESSION)
    assert words in str(caught.value)


def test_broken_files_are_one_line(tmp_path: Path):
    path = tmp_path / "d.npz"
    with pytest.raises(InputError, match="no such file; give an"):
        read_samples(path, CLASSIFIER)
    assert bytes_needed(path) == 0
    np.savez(path, x=X, y=Y)
    whole = path.read_bytes()
    for size in (0, 30, len(whole) // 2, len(whole) - 10):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match="cannot be read as"):
            read_samples(path, CLASSIFIER)
        assert bytes_needed(path) == 0
    path.write_bytes(os.urandom(100))
    with pytest.raises(InputError, match="cannot be read as"):
        read_samples(path, CLASSIFIER)
