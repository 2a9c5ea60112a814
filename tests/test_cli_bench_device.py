"""`lightsleeper bench device` on the command line."""

import json

import pytest

from lightsleeper.cli import run
from lightsleeper.device import tools as device_tools

Capture = pytest.CaptureFixture[str]


@pytest.mark.slow
def test_quick_bench_holds_every_method_to_pytorch(capsys: Capture):
    for tool in ("arm-none-eabi-gcc", "qemu-system-arm", "riscv64-unknown-elf-gcc", "qemu-system-riscv32"):
        device_tools.require(tool)
    assert run(["bench", "device", "--quick", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    agreement = [row for row in rows if row["kind"] == "agreement"]
    assert [row["method"] for row in agreement] == ["sgd", "momentum", "pswa", "pwalks", "pswm", "settle"]
    for row in agreement:
        assert row["error"] < 1e-5
        assert row["error_of_average"] < 1e-5
        assert row["moved"] > 0.1
        assert row["equal_to_host"] == {"m4f": True, "m7": True, "m0plus": True, "rv32": True}
    update = {row["method"]: row["instructions_per_parameter"] for row in rows if row["kind"] == "update"}
    assert update["SGD + PSWA"]["most"] <= 10.0
    assert update["Settle"]["mean"] <= 16.0
    step = next(row for row in rows if row["kind"] == "cost")
    assert step["core"] == "m4f"
    assert step["instructions"]["most"] <= 52_000
    low, high = step["estimated_energy_j"]
    assert 1.49 < high / low < 1.51
    assert step["energy_of"].startswith("NUCLEO")


def test_explain_prints_maps_and_runs_nothing(capsys: Capture, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(device_tools.shutil, "which", lambda _: None)
    assert run(["bench", "device", "--explain"]) == 0
    out = capsys.readouterr().out
    assert "keyword DS-CNN, pswa, batch 1, within 256 KiB" in out
    assert "computed again to save memory" in out
    assert "2704 B  average" in out


def test_missing_tool_is_one_line(capsys: Capture, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(device_tools.shutil, "which", lambda _: None)
    assert run(["bench", "device", "--quick"]) == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("lightsleeper: ")]
    assert lines == ["lightsleeper: gcc is not installed: apt-get install gcc"]
