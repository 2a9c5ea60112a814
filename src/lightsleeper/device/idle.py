"""Training in the idle time of a Linux device, within budgets of processor, memory and energy."""

import os
import resource
import select
import signal
import socket
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from lightsleeper.device.budget import Budget, Limits
from lightsleeper.device.checkpoint import CheckpointStatus
from lightsleeper.device.governor import Governor, TokenBucket
from lightsleeper.device.library import TrainerLibrary
from lightsleeper.device.pressure import Probe, memory_total_bytes, resident_bytes, waited_s
from lightsleeper.device.samples import Samples, bytes_needed, read_samples
from lightsleeper.device.state_file import StateFile
from lightsleeper.errors import InputError, LightsleeperError

__all__ = ["Clock", "IdleReport", "IdleTrainer", "ProcessClock", "be_idle", "hold_memory", "train_idle"]

# Few long slices: the kernel takes the processor away within a slice anyway, but lets a process that has just woken up
# run for a tick even where it is an idle one, so each wake-up may make a foreground's job late.
_SLICE_S = 0.1
_KEPT_S = 0.2
_LOOK_EVERY_S = 0.5
_STOP_SIGNALS = {signal.SIGINT, signal.SIGTERM}
# Interpreter's own needs while it saves and reports.
_SPARE_BYTES = 2**20


class Clock(Protocol):
    """Time, and the wish to stop."""

    def now_s(self) -> float:
        """Return a steady time."""

    def cpu_s(self) -> float:
        """Return the processor time that this process has used."""

    def waited_s(self) -> float | None:
        """Return the time that this process waited for a processor; None where the kernel does not count it."""

    def rest(self, seconds: float) -> bool:
        """Sleep; return at once and True where training is to stop."""


class ProcessClock:
    """The clock of this process; within it, SIGINT and SIGTERM end a rest instead of the process.

    They are handled, not blocked: a thread of a library that does not block them would still let them end the process.
    """

    def now_s(self) -> float:
        """Return the monotonic clock."""
        return time.monotonic()

    def cpu_s(self) -> float:
        """Return the processor time of all threads."""
        return time.process_time()

    def waited_s(self) -> float | None:
        """Return what the scheduler counts."""
        return waited_s()

    def rest(self, seconds: float) -> bool:
        """Sleep until the time is over or a signal asks to stop."""
        if self._asked:
            return True
        # A signal that comes just before the wait has left a byte, so it is not slept over.
        woken, _, _ = select.select([self._woken], [], [], seconds)
        if woken:
            self._woken.recv(64)
        return self._asked

    def __enter__(self) -> Self:
        self._asked = False
        self._woken, self._wakes = socket.socketpair()
        self._wakes.setblocking(False)
        self._wakeup_before = signal.set_wakeup_fd(self._wakes.fileno(), warn_on_full_buffer=False)
        self._before = {number: signal.signal(number, lambda *_: self._ask()) for number in _STOP_SIGNALS}
        return self

    def _ask(self) -> None:
        self._asked = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup_before)
        self._woken.close()
        self._wakes.close()


@dataclass(frozen=True, kw_only=True)
class IdleReport:
    """What a run of training took and what it left.

    Attributes:
        samples: taken in all, also by earlier processes; skipped: of these, refused by the model.
        samples_now: taken by this process.
        stopped: a signal ended it before its last sample.
        resumed_from: samples taken when this process began.
        older_checkpoint: the newest checkpoint was damaged, so training went on from the one before.
        seconds: of this process's training; paused_s: of these, by reason; budget_wait_s: waiting for the budget.
        cpu_s: processor time of the whole process, its start included.
        cpu_share: of one processor, over the training.
        cpu_left_percent: of all processors of the device.
        memory_peak_bytes: most resident memory. memory_left_percent: of the device; None where it is unknown.
        others_share: share of all processors that other processes took; None where it is unknown.
    """

    samples: int
    skipped: int
    samples_now: int
    stopped: bool
    resumed_from: int
    older_checkpoint: bool
    seconds: float
    paused_s: dict[str, float]
    budget_wait_s: float
    cpu_s: float
    cpu_share: float
    cpu_left_percent: float
    memory_peak_bytes: int
    memory_cap_bytes: int
    memory_left_percent: float | None
    others_share: float | None

    def as_dict(self) -> dict[str, Any]:
        """Return the figures for JSON."""
        return asdict(self)


def be_idle() -> None:
    """Let this process run only when nothing else wants to (SCHED_IDLE).

    Raises:
        InputError: the system is no Linux.
    """
    if not hasattr(os, "SCHED_IDLE"):
        raise InputError("training in idle time needs Linux: leave --idle out to train at once")
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def hold_memory(cap_bytes: int, *, more_bytes: int) -> None:
    """Refuse a cap that is too small, and limit what this process may still allocate to the rest of the cap.

    Args:
        cap_bytes: most resident memory.
        more_bytes: that this process is going to need.

    Raises:
        InputError: the cap is too small; says by how much.
    """
    _, peak = resident_bytes()
    needed = peak + more_bytes + _SPARE_BYTES
    if needed > cap_bytes:
        parts = f"the process takes {_mb(peak + _SPARE_BYTES)}, samples and model {_mb(more_bytes)}"
        raise InputError(
            f"a memory budget of {_mb(cap_bytes)} is {_mb(needed - cap_bytes)} too small: {parts}; "
            f"give {needed // 10**6 + 2}MB"
        )
    # The address space bounds what may become resident; its present size counts libraries that never will.
    mapped = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    limit = mapped + cap_bytes - peak
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard == resource.RLIM_INFINITY or limit < hard:
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def _mb(count: int) -> str:
    return f"{count / 1e6:.1f} MB"


class IdleTrainer:
    """The loop: looks at the device, waits or trains a slice, saves now and then.

    Args:
        library: with a state of its own, new or restored.
        samples: to train on.
        state: where to save.
        budget: what may be taken.
        limits: when to wait.
        probe: of the device.
        clock: of the process.
        save_every_s: time between checkpoints.
        resident: most resident memory so far and cap are compared with it.
    """

    def __init__(
        self,
        *,
        library: TrainerLibrary,
        samples: Samples,
        state: StateFile,
        budget: Budget,
        limits: Limits,
        probe: Probe,
        clock: Clock,
        save_every_s: float = 60.0,
        resident: Callable[[], tuple[int, int]] = resident_bytes,
    ) -> None:
        self._library = library
        self._samples = samples
        self._state = state
        self._budget = budget
        self._probe = probe
        self._clock = clock
        self._save_every_s = save_every_s
        self._resident = resident
        self._began_s = clock.now_s()
        self._began_at = library.taken
        self._governor = Governor(limits, now_s=self._began_s)
        self._bucket = TokenBucket(rate=budget.share, kept_s=_KEPT_S, now_s=self._began_s)
        self._cpu_before_s = clock.cpu_s()
        # The start of the process is paid for first.
        self._bucket.spend(self._cpu_before_s)
        self._spent_s = 0.0
        self._wanted_s = self._ran_s = 0.0
        self._slice = library.batch
        self._saved_s = self._began_s
        self._saved_at = library.taken
        self.paused_s: dict[str, float] = defaultdict(float)
        self._budget_wait_s = 0.0
        self._others_sum, self._looks = 0.0, 0

    def run(self, *, until: int | None, show: Callable[[int, str], None] | None = None) -> IdleReport:
        """Train until a number of samples is taken in all, or for ever; a stop signal ends it with a checkpoint.

        Args:
            until: samples since the beginning, rounded up to whole batches; None for no end.
            show: is called with samples taken and what the trainer does, every half a second.

        Raises:
            LightsleeperError: memory grew over the cap, or a checkpoint cannot be written.
        """
        stopped = False
        look_at_s = self._began_s
        while not stopped and (until is None or self._library.taken < until):
            now_s = self._clock.now_s()
            if now_s >= look_at_s:
                look_at_s = now_s + _LOOK_EVERY_S
                pause = self._look(now_s)
                if show is not None:
                    show(self._library.taken, "training" if pause is None else f"waits: {pause[1]}")
                if pause is not None:
                    stopped = self._rest(pause)
                    look_at_s = self._clock.now_s()
                    continue
            self._pay()
            wait_s = self._bucket.wait_s(_SLICE_S, now_s=now_s)
            if wait_s > 0.0:
                stopped = self._clock.rest(wait_s)
                self._budget_wait_s += self._clock.now_s() - now_s
                continue
            self._train(until)
            stopped = self._clock.rest(0.0)
        self._save()
        return self._report(stopped)

    def _look(self, now_s: float) -> tuple[float, str] | None:
        resident, _ = self._resident()
        if resident > self._budget.memory_bytes:
            self._save()
            raise LightsleeperError(
                f"memory grew to {_mb(resident)}, over the budget of {_mb(self._budget.memory_bytes)}; "
                "the state is saved: give a larger --memory"
            )
        if now_s - self._saved_s >= self._save_every_s:
            self._save()
        readings = self._probe.read(now_s=now_s, own_cpu_s=self._clock.cpu_s())
        if readings.others_share is not None:
            self._others_sum += readings.others_share
            self._looks += 1
        contention = None
        if self._wanted_s > 0.0:
            contention = max(0.0, 1.0 - self._ran_s / self._wanted_s)
            self._wanted_s = self._ran_s = 0.0
        return self._governor.pause(readings, contention=contention, now_s=now_s)

    def _rest(self, pause: tuple[float, str]) -> bool:
        began_s = self._clock.now_s()
        stopped = self._clock.rest(pause[0])
        self.paused_s[pause[1]] += self._clock.now_s() - began_s
        return stopped

    def _pay(self) -> None:
        """All that the process used since the last time, looking and saving included."""
        cpu_s = self._clock.cpu_s()
        self._bucket.spend(cpu_s - self._cpu_before_s)
        self._spent_s += cpu_s - self._cpu_before_s
        self._cpu_before_s = cpu_s

    def _train(self, until: int | None) -> None:
        left = self._slice if until is None else min(self._slice, until - self._library.taken)
        before = self._library.taken
        now_s, cpu_s, waited = self._clock.now_s(), self._clock.cpu_s(), self._clock.waited_s()
        taken = self._library.train(self._samples.x, self._samples.labels, samples=left)
        used_s, waited_now = self._clock.cpu_s() - cpu_s, self._clock.waited_s()
        self._ran_s += used_s
        if waited is None or waited_now is None:
            self._wanted_s += self._clock.now_s() - now_s
        else:
            # Time in which the process was stopped, or waited for a disk, is no contention.
            self._wanted_s += used_s + waited_now - waited
        # At most doubled at a time, as the first slices are too short to be timed well.
        rate = (taken - before) / max(used_s, 1e-6)
        self._slice = max(self._library.batch, min(int(rate * _SLICE_S), 2 * self._slice))

    def _save(self) -> None:
        self._saved_s = self._clock.now_s()
        if self._library.taken != self._saved_at or self._state.loaded.status == CheckpointStatus.NONE:
            self._state.save(self._library.save())
            self._saved_at = self._library.taken

    def _report(self, stopped: bool) -> IdleReport:
        self._pay()
        seconds = max(self._clock.now_s() - self._began_s, 1e-9)
        share = self._spent_s / seconds
        total = memory_total_bytes()
        _, peak = self._resident()
        return IdleReport(
            samples=self._library.taken,
            skipped=self._library.skipped,
            samples_now=self._library.taken - self._began_at,
            stopped=stopped,
            resumed_from=self._began_at,
            older_checkpoint=self._state.loaded.status == CheckpointStatus.FALLBACK,
            seconds=seconds,
            paused_s=dict(self.paused_s),
            budget_wait_s=self._budget_wait_s,
            cpu_s=self._clock.cpu_s(),
            cpu_share=share,
            cpu_left_percent=100.0 * (1.0 - share / (os.cpu_count() or 1)),
            memory_peak_bytes=peak,
            memory_cap_bytes=self._budget.memory_bytes,
            memory_left_percent=None if total is None else 100.0 * (1.0 - peak / total),
            others_share=self._others_sum / self._looks if self._looks else None,
        )


def train_idle(
    *,
    library: Path,
    data: Path,
    state: Path,
    budget: Budget,
    limits: Limits | None = None,
    cgroup: str | None = None,
    samples: int | None = None,
    save_every_s: float = 60.0,
    show: Callable[[int, str], None] | None = None,
    say: Callable[[str], None] | None = None,
) -> IdleReport:
    """Train in this process's idle time: the process itself becomes an idle one and is held to its memory budget.

    Args:
        library: made by `build_library`.
        data: .npz with ``x`` and ``y``.
        state: file of the checkpoints; training goes on from it.
        budget, limits: what may be taken, and when to wait.
        cgroup: of the useful work, whose pressure is watched instead of the whole device's.
        samples: to take since the beginning; None trains until a signal.
        save_every_s: between checkpoints.
        show: as in `IdleTrainer.run`.
        say: is called with one line for each thing that a person should know at the start.

    Raises:
        InputError: a file, the budget or the cgroup cannot be used.
        LightsleeperError: memory grew over the cap, or a checkpoint cannot be written.
    """
    tell = say or (lambda _: None)
    be_idle()
    trainer = TrainerLibrary(library)
    hold_memory(budget.memory_bytes, more_bytes=bytes_needed(data) + 3 * trainer.saved_bytes)
    try:
        read = read_samples(data, trainer)
    except MemoryError as error:
        raise InputError(f"{data}: does not fit a memory budget of {_mb(budget.memory_bytes)}") from error
    if read.bad_rows:
        tell(f"{data}: {read.bad_rows} of {len(read.x)} samples hold NaN or infinity; they are skipped")
    probe = Probe(cgroup=cgroup)
    held = StateFile(state, model_version=trainer.model_version, state_bytes=trainer.saved_bytes)
    with ProcessClock() as clock, held:
        if held.loaded.status == CheckpointStatus.FALLBACK:
            tell(f"{state}: the newest checkpoint is damaged; going on from the one before it")
        if held.loaded.state is not None:
            trainer.restore(held.loaded.state)
        loop = IdleTrainer(
            library=trainer,
            samples=read,
            state=held,
            budget=budget,
            limits=limits or Limits(),
            probe=probe,
            clock=clock,
            save_every_s=save_every_s,
        )
        return loop.run(until=samples, show=show)
