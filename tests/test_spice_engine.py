"""ngspice as a program: what it computes, and what is said where it is missing, fails or hangs (fake executables)."""

import math
import os
import time
from pathlib import Path

import numpy as np
import pytest

from lightsleeper.circuits.spice import SpiceError, engine_version, run_ngspice
from lightsleeper.circuits.spice.engine import GUARD_ROWS, source_file
from lightsleeper.errors import InputError, MissingToolError

RC = "* RC\nR1 in out 1k\nC1 out 0 1u\n"


def fake(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """A program of that name in front of the real one."""
    program = folder / "ngspice"
    program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_a_time_constant_is_that_of_the_resistor_and_the_capacitor() -> None:
    (plot,) = run_ngspice(RC + "V1 in 0 1\n.tran 10u 5m 0 10u uic\n.end\n")
    time_s = plot.real("time")
    np.testing.assert_allclose(plot.real("v(out)"), 1.0 - np.exp(-time_s / 1e-3), atol=1e-3)


def test_a_recording_comes_out_as_it_went_in_up_to_its_last_sample() -> None:
    samples = np.random.default_rng(0).normal(size=50)
    netlist = '* source\nA1 %v([in]) s\n.model s filesource(file="in.txt" amploffset=[0] amplscale=[1])\nR1 in 0 1k\n'
    (plot,) = run_ngspice(netlist + ".tran 10u 4.9m 0 10u\n.end\n", files={"in.txt": source_file(samples, 1e4)})
    expected = np.interp(plot.real("time"), np.arange(50) / 1e4, samples)
    np.testing.assert_allclose(plot.real("v(in)"), expected, atol=1e-6)


def test_source_file_holds_its_guard_rows_and_refuses_what_is_no_signal() -> None:
    rows = np.array([line.split() for line in source_file(np.array([1.0, -2.0]), 100.0).splitlines()], dtype=float)
    np.testing.assert_allclose(rows[:, 0], np.arange(2 + GUARD_ROWS) / 100.0)
    np.testing.assert_allclose(rows[:, 1], [1.0, -2.0, -2.0, -2.0])
    for bad in (np.zeros((2, 2)), np.zeros(0), np.array([math.nan])):
        with pytest.raises(InputError, match="give one channel"):
            source_file(bad, 100.0)


def test_the_version_is_told() -> None:
    name, number = engine_version().split("-")
    assert name == "ngspice"
    assert int(number.split(".")[0]) >= 30


def test_without_ngspice_the_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingToolError, match="install the package ngspice"):
        run_ngspice(RC)
    with pytest.raises(MissingToolError, match="install the package ngspice"):
        engine_version()


def test_a_program_that_fails_is_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(tmp_path, monkeypatch, "for n in 1 2 3 4 5 6 7 8; do echo line $n; done; echo singular matrix >&2; exit 3")
    with pytest.raises(SpiceError, match=r"code 3\. Its last lines: line 4 \| .* line 8 \| singular matrix$"):
        run_ngspice(RC)


def test_a_program_that_writes_nothing_is_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(tmp_path, monkeypatch, "exit 0")
    with pytest.raises(SpiceError, match=r"wrote no result\. It said nothing\."):
        run_ngspice(RC)
    with pytest.raises(SpiceError, match="does not say its version"):
        engine_version()


def test_a_program_that_hangs_is_ended_with_its_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mark = tmp_path / "alive"
    fake(tmp_path, monkeypatch, f"echo doing initial gmin stepping; (sleep 3; touch {mark}) & wait")
    begin = time.monotonic()
    with pytest.raises(SpiceError, match=r"ran past 0\.5 s and was ended\. Its last lines: doing initial gmin"):
        run_ngspice(RC, timeout_s=0.5)
    assert time.monotonic() - begin < 2.5
    time.sleep(3.0)
    assert not mark.exists()


def test_a_netlist_with_a_fault_and_one_without_a_solution_are_errors() -> None:
    with pytest.raises(SpiceError, match="last lines"):
        run_ngspice(RC + "X1 in missing_block\n.op\n.end\n")
    with pytest.raises(SpiceError, match="last lines"):
        run_ngspice("* two sources in parallel\nV1 a 0 1\nV2 a 0 2\n.tran 1u 1m\n.end\n")


def test_an_operating_point_that_was_not_found_is_an_error() -> None:
    """No conductance where the two slopes meet; ngspice would go on from a point that is none, with code 0."""
    kink = "* kink\nV1 in 0 0\nC1 x 0 1p\nB1 0 x I=1n*max(v(in)-v(x),0)+2n*min(v(in)-v(x),0)\n.op\n.end\n"
    with pytest.raises(SpiceError, match="found no operating point"):
        run_ngspice(kink)


def test_a_transient_that_stops_early_is_an_error() -> None:
    """A current that grows without bound: ngspice gives up with "timestep too small" and keeps what it has."""
    runaway = "* runaway\nC1 x 0 1\nB1 0 x I=1+v(x)*v(x)\n.tran 1m 3 0 1m uic\n.end\n"
    with pytest.raises(SpiceError, match=r"[Tt]imestep too small"):
        run_ngspice(runaway)
