"""What training leaves to useful work: a foreground process, measured by turns alone and beside a trainer."""

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from lightsleeper.device.foreground import Work
from lightsleeper.device.library import TrainerLibrary
from lightsleeper.device.pressure import memory_total_bytes
from lightsleeper.device.samples import read_samples
from lightsleeper.errors import InputError, LightsleeperError

__all__ = ["BesideRow", "bench_idle"]

Placement = Literal["one processor", "any processor"]

_STEADY = "steady"
# Start-up of a trainer, and the time in which an idle one pays for it out of its budget.
_WARM_UP_S = {True: 4.0, False: 1.0}
_PLAIN = """
import os, sys
from pathlib import Path
from lightsleeper.device.library import TrainerLibrary
from lightsleeper.device.samples import read_samples
library = TrainerLibrary(Path(sys.argv[1]))
samples = read_samples(Path(sys.argv[2]), library)
os.nice(int(sys.argv[3]))
while True:
    library.train(samples.x, samples.labels, samples=1000)
"""
_COMMAND = "import sys; from lightsleeper.cli import run; sys.exit(run(sys.argv[1:]))"


@dataclass(frozen=True, kw_only=True)
class BesideRow:
    """A foreground beside one trainer; medians over rounds.

    Attributes:
        trainer: ``idle CPU%`` is `lightsleeper train --idle`; ``nice 19`` and ``normal`` train without budget or pause.
        foreground: ``steady``, or ``periodic DUTY%``.
        placement: foreground and trainer on one processor, or where the kernel puts them.
        rounds, round_s: pairs of rounds, and the length of a round.
        work_kept_percent, cpu_kept_percent: of the foreground's work and processor time alone, median of the ratios of
            neighbouring rounds; lowest and highest ratio.
        cpu_of_both_percent: foreground's part of the processor time that both took, where both always want it:
            steady work on one processor. Other processes do not blur it.
        late_alone_s, late_beside_s: of periodic jobs, from due to done: median and 95 %.
        trainer_cpu_share: of one processor, beside the foreground.
        trainer_memory_bytes: most resident memory. memory_left_percent: of the device.
    """

    trainer: str
    foreground: str
    placement: Placement
    rounds: int
    round_s: float
    work_kept_percent: float
    work_kept_range: tuple[float, float]
    cpu_kept_percent: float
    cpu_kept_range: tuple[float, float]
    cpu_of_both_percent: float | None
    late_alone_s: tuple[float, float] | None
    late_beside_s: tuple[float, float] | None
    trainer_cpu_share: float
    trainer_memory_bytes: int
    memory_left_percent: float | None

    def as_dict(self) -> dict[str, Any]:
        """Return the figures for JSON."""
        return asdict(self)


def bench_idle(
    *,
    library: Path,
    data: Path,
    duties: Sequence[float] = (1.0, 0.3),
    budgets: Sequence[float] = (0.2, 1.0),
    rounds: int = 5,
    round_s: float = 1.0,
    placement: Placement = "one processor",
    advance: Callable[[str], None] | None = None,
) -> list[BesideRow]:
    """Measure foregrounds beside idle trainers of some CPU budgets, a nice one and a normal one.

    Args:
        library: made by `build_library`; the foreground infers with its network.
        data: .npz to train on.
        duties: shares of the time that the foreground works.
        budgets: of `lightsleeper train --idle --cpu`.
        rounds: pairs of a round alone and a round beside each trainer.
        round_s: length of a round.
        placement: see `BesideRow`.
        advance: is called with a trainer's name after each pair.

    Raises:
        InputError: library or data cannot be used.
        LightsleeperError: a process ended that should not have.
    """
    read_samples(data, TrainerLibrary(library))
    if not hasattr(os, "SCHED_IDLE"):
        raise InputError("training in idle time needs Linux")
    processor = min(os.sched_getaffinity(0)) if placement == "one processor" else None
    rows = []
    for duty in duties:
        shown = _STEADY if duty >= 1.0 else f"periodic {duty:.0%}"
        with tempfile.TemporaryDirectory() as folder, _Foreground(library, duty, processor).running() as foreground:
            for name, command in _commands(library, data, budgets, Path(folder)).items():
                with _trainer(command, processor) as trainer:
                    time.sleep(_WARM_UP_S[name.startswith("idle")])
                    trainer.send_signal(signal.SIGSTOP)
                    pairs = []
                    for number in range(rounds):
                        pairs.append(_pair(foreground, trainer, round_s, beside_first=number % 2 == 1))
                        if advance is not None:
                            advance(name)
                    rows.append(_row(name, shown, placement, round_s, pairs, _peak_bytes(trainer.pid)))
    return rows


@dataclass(frozen=True)
class _Pair:
    alone: Work
    beside: Work
    trainer_cpu_share: float


class _Foreground:
    def __init__(self, library: Path, duty: float, processor: int | None) -> None:
        command = [sys.executable, "-m", "lightsleeper.device.foreground", str(library), str(duty)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=_pin(processor),  # noqa: PLW1509
        )

    @contextmanager
    def running(self) -> Iterator["_Foreground"]:
        try:
            self._answer()
            yield self
        finally:
            self._process.kill()
            self._process.communicate()

    def work(self, seconds: float) -> Work:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{seconds}\n")
        self._process.stdin.flush()
        said = json.loads(self._answer())
        return Work(per_s=said["per_s"], cpu_share=said["cpu_share"], late_s=tuple(said["late_s"]))

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise LightsleeperError("the foreground process ended before it was measured")
        return line


def _commands(library: Path, data: Path, budgets: Sequence[float], folder: Path) -> dict[str, list[str]]:
    commands = {}
    for budget in budgets:
        state = folder / f"{budget}.state"
        options = {"--cpu": f"{budget:.2%}", "--library": library, "--data": data, "--state": state}
        arguments = [str(part) for option in options.items() for part in option]
        commands[f"idle {budget:.0%}"] = ["-c", _COMMAND, "train", "--idle", *arguments]
    for name, nice in (("nice 19", "19"), ("normal", "0")):
        commands[name] = ["-c", _PLAIN, str(library), str(data), nice]
    return commands


@contextmanager
def _trainer(command: list[str], processor: int | None) -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(
        [sys.executable, *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=_pin(processor),  # noqa: PLW1509
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _pin(processor: int | None) -> Callable[[], None] | None:
    return None if processor is None else lambda: os.sched_setaffinity(0, {processor})


def _pair(foreground: _Foreground, trainer: "subprocess.Popen[bytes]", round_s: float, *, beside_first: bool) -> _Pair:
    alone = None if beside_first else foreground.work(round_s)
    before_s, began_s = _cpu_s(trainer), time.monotonic()
    trainer.send_signal(signal.SIGCONT)
    beside = foreground.work(round_s)
    trainer.send_signal(signal.SIGSTOP)
    share = (_cpu_s(trainer) - before_s) / (time.monotonic() - began_s)
    return _Pair(alone or foreground.work(round_s), beside, share)


def _cpu_s(trainer: "subprocess.Popen[bytes]") -> float:
    if trainer.poll() is not None:
        raise LightsleeperError(f"a trainer ended with code {trainer.returncode} while it was measured")
    return int(Path(f"/proc/{trainer.pid}/schedstat").read_text(encoding="ascii").split(maxsplit=1)[0]) * 1e-9


def _peak_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    (peak,) = [line for line in lines if line.startswith("VmHWM:")]
    return int(peak.split()[1]) * 1024


def _row(
    trainer: str, foreground: str, placement: Placement, round_s: float, pairs: list[_Pair], peak_bytes: int
) -> BesideRow:
    work = [100.0 * pair.beside.per_s / pair.alone.per_s for pair in pairs]
    cpu = [100.0 * pair.beside.cpu_share / pair.alone.cpu_share for pair in pairs]
    of_both = [100.0 * pair.beside.cpu_share / (pair.beside.cpu_share + pair.trainer_cpu_share) for pair in pairs]
    both_want_it = foreground == _STEADY and placement == "one processor"
    total = memory_total_bytes()
    return BesideRow(
        trainer=trainer,
        foreground=foreground,
        placement=placement,
        rounds=len(pairs),
        round_s=round_s,
        work_kept_percent=statistics.median(work),
        work_kept_range=(min(work), max(work)),
        cpu_kept_percent=statistics.median(cpu),
        cpu_kept_range=(min(cpu), max(cpu)),
        cpu_of_both_percent=statistics.median(of_both) if both_want_it else None,
        late_alone_s=_late_s([pair.alone for pair in pairs]),
        late_beside_s=_late_s([pair.beside for pair in pairs]),
        trainer_cpu_share=statistics.median(pair.trainer_cpu_share for pair in pairs),
        trainer_memory_bytes=peak_bytes,
        memory_left_percent=None if total is None else 100.0 * (1.0 - peak_bytes / total),
    )


def _late_s(rounds: list[Work]) -> tuple[float, float] | None:
    late_s = sorted(time_s for work in rounds for time_s in work.late_s)
    if not late_s:
        return None
    return late_s[len(late_s) // 2], late_s[int(0.95 * len(late_s))]
