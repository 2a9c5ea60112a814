"""How busy, hot and charged a Linux device is, read from /proc and /sys."""

import os
from dataclasses import dataclass
from pathlib import Path

from lightsleeper.errors import InputError

__all__ = ["Probe", "Readings", "memory_total_bytes", "resident_bytes", "waited_s"]

_ROOT = Path("/")
_TICKS_S = 1 / os.sysconf("SC_CLK_TCK")
# idle and iowait
_RESTING_COLUMNS = (3, 4)
# guest time is part of user time
_COLUMNS = 8


@dataclass(frozen=True, kw_only=True)
class Readings:
    """What a device says; None where it has no such reading.

    Attributes:
        cpu_pressure: share of time that some task waited for a processor since the reading before. Time that this
            process waited is taken off, as an idle process waits whenever useful work is done.
        memory_pressure: share of time that some task waited for memory.
        others_share: share of all processors that other processes took since the reading before.
        temperature_c: hottest thermal zone.
        battery_charge: lowest share of charge of the batteries that discharge.
    """

    cpu_pressure: float | None = None
    memory_pressure: float | None = None
    others_share: float | None = None
    temperature_c: float | None = None
    battery_charge: float | None = None


class Probe:
    """Reads a device again and again.

    Args:
        root: where its proc and sys lie.
        cgroup: of the useful work, below /sys/fs/cgroup: its pressure is read instead of the whole device's.

    Raises:
        InputError: the cgroup has no pressure files.
    """

    def __init__(self, *, root: Path = _ROOT, cgroup: str | None = None) -> None:
        self._root = root
        folder = root / "proc/pressure"
        names = ("cpu", "memory")
        if cgroup is not None:
            folder = root / "sys/fs/cgroup" / cgroup.lstrip("/")
            names = ("cpu.pressure", "memory.pressure")
            if not (folder / names[0]).is_file():
                raise InputError(f"{folder}: has no {names[0]}; name a cgroup (version 2) of a kernel with PSI")
        # The cgroup of the useful work holds no waiting of ours.
        own_root = None if cgroup is not None else root
        self._cpu_pressure = _Stalled(folder / names[0], own_root)
        self._memory_pressure = _Stalled(folder / names[1])
        self._others = _Others(root / "proc/stat")

    def read(self, *, now_s: float, own_cpu_s: float) -> Readings:
        """Read everything.

        Args:
            now_s: of a steady clock.
            own_cpu_s: processor time of this process, which is not that of others.
        """
        return Readings(
            cpu_pressure=self._cpu_pressure.since_last(now_s),
            memory_pressure=self._memory_pressure.since_last(now_s),
            others_share=self._others.since_last(own_cpu_s),
            temperature_c=self._temperature_c(),
            battery_charge=self._battery_charge(),
        )

    def _temperature_c(self) -> float | None:
        zones = (self._root / "sys/class/thermal").glob("thermal_zone*/temp")
        found = [float(text) / 1000.0 for text in map(_text, zones) if _is_number(text)]
        return max(found, default=None)

    def _battery_charge(self) -> float | None:
        charges = []
        for supply in (self._root / "sys/class/power_supply").glob("*"):
            # Batteries of a mouse or a keyboard say "Device".
            if _text(supply / "type") != "Battery" or _text(supply / "scope") == "Device":
                continue
            capacity = _text(supply / "capacity")
            if _text(supply / "status") == "Discharging" and _is_number(capacity):
                charges.append(float(capacity) / 100.0)
        return min(charges, default=None)


class _Stalled:
    """Share of time in which some task waited, from the running total of a PSI file.

    Args:
        path: of the file.
        own_root: where this process's own waiting is found, which is taken off; None takes nothing off.
    """

    def __init__(self, path: Path, own_root: Path | None = None) -> None:
        self._path = path
        self._own_root = own_root
        self._before: tuple[float, float] | None = None

    def since_last(self, now_s: float) -> float | None:
        total_s = self._total_s()
        if total_s is None:
            return None
        before, self._before = self._before, (now_s, total_s)
        if before is None or now_s <= before[0]:
            return None
        return min(1.0, max(0.0, (total_s - before[1]) / (now_s - before[0])))

    def _total_s(self) -> float | None:
        for line in _text(self._path).splitlines():
            kind, *fields = line.split()
            values = dict(field.split("=", 1) for field in fields if "=" in field)
            if kind == "some" and _is_number(values.get("total", "")):
                own_s = None if self._own_root is None else waited_s(root=self._own_root)
                return float(values["total"]) * 1e-6 - (own_s or 0.0)
        return None


class _Others:
    """Share of all processors that other processes take, from /proc/stat."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._before: tuple[float, float, float] | None = None

    def since_last(self, own_cpu_s: float) -> float | None:
        columns = next((line.split()[1:] for line in _text(self._path).splitlines() if line.startswith("cpu ")), [])
        if len(columns) < _COLUMNS:
            return None
        ticks = [float(column) for column in columns[:_COLUMNS]]
        all_s = sum(ticks) * _TICKS_S
        busy_s = all_s - sum(ticks[column] for column in _RESTING_COLUMNS) * _TICKS_S
        before, self._before = self._before, (all_s, busy_s, own_cpu_s)
        if before is None or all_s <= before[0]:
            return None
        others_s = busy_s - before[1] - (own_cpu_s - before[2])
        return min(1.0, max(0.0, others_s / (all_s - before[0])))


def resident_bytes(*, root: Path = _ROOT) -> tuple[int, int]:
    """Resident memory of this process, bytes: now, and the most it ever was.

    Raises:
        InputError: the machine does not say.
    """
    lines = dict(line.split(":", 1) for line in _text(root / "proc/self/status").splitlines() if ":" in line)
    try:
        return _kilobytes(lines["VmRSS"]), _kilobytes(lines["VmHWM"])
    except KeyError as error:
        raise InputError(f"{root}proc/self/status names no {error}: training in idle time needs Linux") from error


def waited_s(*, root: Path = _ROOT) -> float | None:
    """Time that this process waited for a processor: the second number of its schedstat, in ns. None without it."""
    numbers = _text(root / "proc/self/schedstat").split()
    return float(numbers[1]) * 1e-9 if len(numbers) > 1 and _is_number(numbers[1]) else None


def memory_total_bytes(*, root: Path = _ROOT) -> int | None:
    """Memory of the device, bytes; None where it does not say."""
    lines = dict(line.split(":", 1) for line in _text(root / "proc/meminfo").splitlines() if ":" in line)
    return _kilobytes(lines["MemTotal"]) if "MemTotal" in lines else None


def _kilobytes(text: str) -> int:
    return int(text.split(maxsplit=1)[0]) * 1024


def _text(path: Path) -> str:
    """A reading that is not there, or that its driver refuses at the moment, is no reading."""
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def _is_number(text: str) -> bool:
    return text.lstrip("-").isdigit()
