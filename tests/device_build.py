"""Compiles C for the tests of `lightsleeper.device`."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from lightsleeper.device import build_library

C_OF_TESTS = Path(__file__).parent / "c"
STRICT = ("-std=c99", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-pedantic", "-Werror")
SANITIZED = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def compile_c(out: Path, *arguments: str | Path, compiler: str = "gcc") -> Path:
    """Compile to `out`; skips where there is no such compiler."""
    if shutil.which(compiler) is None:
        pytest.skip(f"needs {compiler}")
    done = subprocess.run([compiler, *arguments, "-o", out, "-lm"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out


def tiny_library(folder: Path) -> Path:
    """The hand-written model of the tests as a library."""
    for name in ("tiny_model.h", "tiny_model.c"):
        shutil.copy(C_OF_TESTS / name, folder)
    return build_library(folder / "tiny_model.h", folder / "tiny.so")


def tiny_samples(path: Path, *, rows: int = 300, bad: int = 0) -> Path:
    """Three classes of four numbers; the first `bad` rows hold NaN."""
    random = np.random.default_rng(5)
    x = random.standard_normal((rows, 4)).astype(np.float32)
    y = (np.abs(x[:, 0]) > 0.7).astype(np.int32) + (x[:, 1] > x[:, 2])
    x[:bad, 2] = np.nan
    np.savez(path, x=x, y=y.astype(np.int32))
    return path
