"""Compiles C for the tests of `lightsleeper.device`."""

import shutil
import subprocess
from functools import cache
from pathlib import Path

import numpy as np

from lightsleeper.device import build_library
from lightsleeper.device.tools import require
from lightsleeper.errors import MissingToolError

C_OF_TESTS = Path(__file__).parent / "c"
STRICT = ("-std=c99", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-pedantic", "-Werror")
SANITIZED = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def compile_c(out: Path, *arguments: str | Path, compiler: str = "gcc") -> Path:
    """Compile to `out`; `MissingToolError` where there is no such compiler."""
    done = subprocess.run(
        [require(compiler), *arguments, "-o", out, "-lm"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return out


@cache
def sanitizing(compiler: str) -> str:
    """Path of a compiler; `MissingToolError` where it or its sanitizers' library, a package of its own, is missing."""
    command = [require(compiler), *SANITIZED, "-x", "c", "-", "-o", "/dev/null"]
    done = subprocess.run(command, input="int main(void) { return 0; }", capture_output=True, text=True, check=False)
    if done.returncode:
        raise MissingToolError(
            f"{compiler} has no sanitizers: apt-get install its runtime (of clang: libclang-rt-VERSION-dev)"
        )
    return command[0]


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
