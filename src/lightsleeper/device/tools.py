"""External programs: compilers and the emulator, called as subprocesses."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from lightsleeper.errors import LightsleeperError, MissingToolError

__all__ = ["call", "installed", "require"]

_PACKAGES = {
    "gcc": "gcc",
    "clang": "clang",
    "arm-none-eabi-gcc": "gcc-arm-none-eabi and picolibc-arm-none-eabi",
    "arm-none-eabi-size": "binutils-arm-none-eabi",
    "arm-none-eabi-nm": "binutils-arm-none-eabi",
    "qemu-system-arm": "qemu-system-arm",
    "riscv64-unknown-elf-gcc": "gcc-riscv64-unknown-elf and picolibc-riscv64-unknown-elf",
    "riscv64-unknown-elf-size": "binutils-riscv64-unknown-elf",
    "riscv64-unknown-elf-nm": "binutils-riscv64-unknown-elf",
    "qemu-system-riscv32": "qemu-system-misc",
}


def installed(program: str) -> bool:
    """Whether a program is at hand."""
    return shutil.which(program) is not None


def require(program: str) -> str:
    """Path of a program; raises `MissingToolError`, which names the package, where there is none."""
    found = shutil.which(program)
    if found is None:
        raise MissingToolError(f"{program} is not installed: apt-get install {_PACKAGES.get(program, program)}")
    return found


def call(command: Sequence[str], *, cwd: Path, seconds: float = 600.0) -> tuple[str, str]:
    """Run a program and return what it wrote to standard output and error.

    Raises:
        MissingToolError: it is not installed.
        LightsleeperError: it failed, or took longer.
    """
    full = [require(command[0]), *command[1:]]
    try:
        done = subprocess.run(
            full, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        raise LightsleeperError(f"{command[0]} did not end within {seconds:g} s") from None
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())[-600:]
        raise LightsleeperError(f"{command[0]} failed with exit code {done.returncode}: {said}")
    return done.stdout, done.stderr
