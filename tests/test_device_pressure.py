"""Readings of a device, from a folder that looks like one."""

import os
import sys
from pathlib import Path

import pytest

from lightsleeper.device.pressure import Probe, Readings, memory_total_bytes, resident_bytes
from lightsleeper.errors import InputError


def put(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def psi(total_us: int) -> str:
    return f"some avg10=1.53 avg60=0.87 avg300=0.12 total={total_us}\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n"


def stat(user: int, idle: int) -> str:
    return f"cpu  {user} 0 0 {idle} 0 0 0 0 55 55\ncpu0 1 1 1 1 1 1 1 1 1 1\nintr 5\n"


def test_a_bare_device_says_nothing(tmp_path: Path):
    probe = Probe(root=tmp_path)
    for now_s in (0.0, 1.0):
        assert probe.read(now_s=now_s, own_cpu_s=0.0) == Readings()
    assert memory_total_bytes(root=tmp_path) is None
    with pytest.raises(InputError, match="needs Linux"):
        resident_bytes(root=tmp_path)


def test_pressure_is_the_share_of_time_since_the_last_reading(tmp_path: Path):
    probe = Probe(root=tmp_path)
    put(tmp_path, "proc/pressure/cpu", psi(5_000_000))
    put(tmp_path, "proc/pressure/memory", psi(100))
    assert probe.read(now_s=10.0, own_cpu_s=0.0).cpu_pressure is None
    put(tmp_path, "proc/pressure/cpu", psi(5_300_000))
    readings = probe.read(now_s=12.0, own_cpu_s=0.0)
    assert readings.cpu_pressure == pytest.approx(0.15)
    assert readings.memory_pressure == 0.0
    put(tmp_path, "proc/pressure/cpu", psi(9_300_000))
    assert probe.read(now_s=13.0, own_cpu_s=0.0).cpu_pressure == 1.0
    put(tmp_path, "proc/pressure/cpu", "some nonsense\n")
    assert probe.read(now_s=14.0, own_cpu_s=0.0).cpu_pressure is None


def test_own_waiting_is_no_pressure(tmp_path: Path):
    probe = Probe(root=tmp_path)
    put(tmp_path, "proc/pressure/cpu", psi(5_000_000))
    put(tmp_path, "proc/self/schedstat", "700 1000000000 3")
    probe.read(now_s=10.0, own_cpu_s=0.0)
    put(tmp_path, "proc/pressure/cpu", psi(5_800_000))
    put(tmp_path, "proc/self/schedstat", "700 1500000000 4")
    assert probe.read(now_s=12.0, own_cpu_s=0.0).cpu_pressure == pytest.approx(0.15)
    put(tmp_path, "proc/self/schedstat", "700 9500000000 4")
    assert probe.read(now_s=13.0, own_cpu_s=0.0).cpu_pressure == 0.0


def test_pressure_of_the_useful_works_own_group(tmp_path: Path):
    put(tmp_path, "proc/self/schedstat", "0 0 0")
    put(tmp_path, "sys/fs/cgroup/app.slice/cpu.pressure", psi(0))
    probe = Probe(root=tmp_path, cgroup="/app.slice")
    probe.read(now_s=0.0, own_cpu_s=0.0)
    put(tmp_path, "sys/fs/cgroup/app.slice/cpu.pressure", psi(500_000))
    put(tmp_path, "proc/self/schedstat", "0 400000000 0")
    assert probe.read(now_s=1.0, own_cpu_s=0.0).cpu_pressure == pytest.approx(0.5)
    with pytest.raises(InputError, match=r"other\.slice: has no cpu\.pressure; name a cgroup"):
        Probe(root=tmp_path, cgroup="other.slice")


def test_own_time_is_not_that_of_others(tmp_path: Path):
    ticks = os.sysconf("SC_CLK_TCK")
    probe = Probe(root=tmp_path)
    put(tmp_path, "proc/stat", stat(0, 0))
    assert probe.read(now_s=0.0, own_cpu_s=5.0).others_share is None
    put(tmp_path, "proc/stat", stat(3 * ticks, 7 * ticks))
    assert probe.read(now_s=5.0, own_cpu_s=6.0).others_share == pytest.approx(0.2)
    put(tmp_path, "proc/stat", stat(4 * ticks, 7 * ticks))
    assert probe.read(now_s=6.0, own_cpu_s=8.0).others_share == 0.0


def test_the_hottest_zone_counts(tmp_path: Path):
    put(tmp_path, "sys/class/thermal/thermal_zone0/temp", "41250\n")
    put(tmp_path, "sys/class/thermal/thermal_zone1/temp", "55000\n")
    put(tmp_path, "sys/class/thermal/thermal_zone2/temp", "out of order\n")
    put(tmp_path, "sys/class/thermal/cooling_device0/temp", "99000\n")
    assert Probe(root=tmp_path).read(now_s=0.0, own_cpu_s=0.0).temperature_c == 55.0


@pytest.mark.parametrize(
    ("kind", "scope", "status", "charge"),
    [
        ("Battery", "System", "Discharging", 0.31),
        ("Battery", "System", "Charging", None),
        ("Battery", "Device", "Discharging", None),
        ("Mains", "System", "Discharging", None),
    ],
)
def test_only_the_devices_own_discharging_battery_counts(tmp_path: Path, kind, scope, status, charge):
    for name, text in {"type": kind, "scope": scope, "status": status, "capacity": "31"}.items():
        put(tmp_path, f"sys/class/power_supply/BAT0/{name}", text + "\n")
    assert Probe(root=tmp_path).read(now_s=0.0, own_cpu_s=0.0).battery_charge == charge


def test_a_battery_without_scope_and_the_emptier_of_two(tmp_path: Path):
    for number, capacity in enumerate((80, 60)):
        for name, text in {"type": "Battery", "status": "Discharging", "capacity": str(capacity)}.items():
            put(tmp_path, f"sys/class/power_supply/BAT{number}/{name}", text)
    assert Probe(root=tmp_path).read(now_s=0.0, own_cpu_s=0.0).battery_charge == 0.6


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_this_machine_answers():
    now, peak = resident_bytes()
    assert 2**20 < now <= peak
    total = memory_total_bytes()
    assert total is not None
    assert total > peak
    probe = Probe()
    probe.read(now_s=0.0, own_cpu_s=0.0)
