"""Runs ngspice as a program of its own: input files in a temporary folder, time-out, and its last lines on failure."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lightsleeper.circuits.spice.raw_file import Plot, read_raw
from lightsleeper.errors import InputError, LightsleeperError, MissingToolError

__all__ = ["SpiceError", "engine_version", "run_ngspice", "source_file"]

START_UP = "set num_threads=1\nset filetype=binary\nset noaskquit\n"
"""`.spiceinit`: on circuits of this size threads only cost processor time."""
GUARD_ROWS = 2
"""Rows after the last sample: XSPICE's filesource falls to 0 V after its last row."""
LAST_LINES = 6
_STATISTICS = re.compile(r"Total (analysis|elapsed|DRAM)|DRAM currently|ngspice program size|pages =|Stack =")
"""Lines of time and memory with which ngspice ends, whatever happened before."""


class SpiceError(LightsleeperError):
    """ngspice failed or took too long. The message ends with its last lines."""


def source_file(samples_v: NDArray[np.floating], rate_hz: float) -> str:
    """Text of a file for XSPICE's filesource: time and voltage of each sample (T,), then the guard rows."""
    samples = np.asarray(samples_v, dtype=np.float64)
    if samples.ndim != 1 or samples.size == 0 or not np.isfinite(samples).all():
        raise InputError(f"SPICE source of shape {samples.shape}: give one channel (T,) of finite samples")
    padded = np.concatenate([samples, np.full(GUARD_ROWS, samples[-1])])
    return "".join(f"{t / rate_hz:.9e} {v:.9e}\n" for t, v in enumerate(padded))


def run_ngspice(netlist: str, *, files: Mapping[str, str] | None = None, timeout_s: float = 300.0) -> list[Plot]:
    """Plots of all analyses of a netlist, in the order in which ngspice writes them.

    Args:
        netlist: the whole circuit with its analyses.
        files: name -> text of the files that the netlist names.
        timeout_s: wall-clock limit.

    Raises:
        MissingToolError: ngspice is not installed.
        SpiceError: it failed, stopped early, or ran past `timeout_s`.
    """
    with tempfile.TemporaryDirectory(prefix="lightsleeper-spice-") as name:
        folder = Path(name)
        for file, text in {"circuit.cir": netlist, ".spiceinit": START_UP, **(files or {})}.items():
            (folder / file).write_text(text, encoding="ascii")
        said = _call(["-b", "-r", "out.raw", "circuit.cir"], folder, timeout_s)
        if "Transient op started" in said:
            # The last resort after every way to an operating point failed; it ends anywhere, and with code 0.
            raise SpiceError(f"ngspice found no operating point. {_last(said)}")
        try:
            return read_raw(folder / "out.raw")
        except InputError:
            raise SpiceError(f"ngspice wrote no result. {_last(said)}") from None


def engine_version() -> str:
    """Name and version, such as "ngspice-39"."""
    said = _call(["--version"], Path.cwd(), 10.0)
    found = re.search(r"ngspice[- ]([\w.+-]+)", said)
    if found is None:
        raise SpiceError(f"ngspice does not say its version. {_last(said)}")
    return f"ngspice-{found.group(1)}"


def _call(arguments: list[str], folder: Path, timeout_s: float) -> str:
    """What ngspice says on both of its outputs."""
    program = shutil.which("ngspice")
    if program is None:
        raise MissingToolError("ngspice is not installed: install the package ngspice (apt-get install ngspice)")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [program, *arguments],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        said = process.communicate(timeout=timeout_s)[0].decode("utf-8", "replace")
    except subprocess.TimeoutExpired:
        _end(process)
        said = process.communicate()[0].decode("utf-8", "replace")
        raise SpiceError(f"ngspice ran past {timeout_s:g} s and was ended. {_last(said)}") from None
    except BaseException:
        _end(process)
        process.wait()
        raise
    if process.returncode:
        raise SpiceError(f"ngspice ended with code {process.returncode}. {_last(said)}")
    return said


def _end(process: "subprocess.Popen[bytes]") -> None:
    """The program and what it started, which may hold its outputs open."""
    os.killpg(process.pid, signal.SIGKILL)


def _last(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip() and not _STATISTICS.search(line)]
    return "Its last lines: " + " | ".join(lines[-LAST_LINES:]) if lines else "It said nothing."
