"""Compiles C for the tests of `lightsleeper.device`."""

import shutil
import subprocess
from pathlib import Path

import pytest

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
