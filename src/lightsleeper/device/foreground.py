"""Useful work to measure beside a trainer: a process that infers, all the time or in periodic jobs.

It is run as a program: ``python -m lightsleeper.device.foreground LIBRARY DUTY``. For each line with a number of
seconds on its standard input it works so long and answers with one line of JSON.
"""

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lightsleeper.device.library import TrainerLibrary

__all__ = ["Work", "Worker"]

_UNIT_S = 0.001
_PERIOD_S = 0.02


@dataclass(frozen=True, kw_only=True)
class Work:
    """What was done in a round.

    Attributes:
        per_s: units of inference a second.
        cpu_share: processor time over time.
        late_s: of each periodic job, time from when it was due to when it was done, s; empty for steady work.
    """

    per_s: float
    cpu_share: float
    late_s: tuple[float, ...]


class Worker:
    """Infers random samples in units of about a millisecond.

    Args:
        library: whose network infers.
        duty: 1 works all the time; less works that share of each 20 ms.
    """

    def __init__(self, library: TrainerLibrary, *, duty: float) -> None:
        self._library = library
        self._duty = duty
        self._x = np.random.default_rng(0).standard_normal((1, library.inputs)).astype(np.float32)
        while (unit_s := self._time_unit_s()) < _UNIT_S:
            more = min(8, int(np.ceil(1.05 * _UNIT_S / max(unit_s, 1e-6))))
            self._x = np.ascontiguousarray(np.repeat(self._x, more, axis=0))
        self._units = max(1, round(duty * _PERIOD_S / unit_s))

    def work(self, seconds: float) -> Work:
        """Work for a time."""
        began_s, used_s = time.monotonic(), time.process_time()
        end_s = began_s + seconds
        units, late_s = 0, []
        due_s = began_s
        while time.monotonic() < end_s:
            if self._duty >= 1.0:
                self._library.infer(self._x)
                units += 1
                continue
            time.sleep(max(0.0, due_s - time.monotonic()))
            for _ in range(self._units):
                self._library.infer(self._x)
            units += self._units
            late_s.append(time.monotonic() - due_s)
            due_s += _PERIOD_S
        took_s = time.monotonic() - began_s
        share = (time.process_time() - used_s) / took_s
        return Work(per_s=units / took_s, cpu_share=share, late_s=tuple(late_s))

    def _time_unit_s(self) -> float:
        times = []
        for _ in range(5):
            began_s = time.process_time()
            self._library.infer(self._x)
            times.append(time.process_time() - began_s)
        return min(times)


def _main() -> None:
    worker = Worker(TrainerLibrary(Path(sys.argv[1])), duty=float(sys.argv[2]))
    print("ready", flush=True)
    for line in sys.stdin:
        done = worker.work(float(line))
        print(json.dumps({"per_s": done.per_s, "cpu_share": done.cpu_share, "late_s": done.late_s}), flush=True)


if __name__ == "__main__":
    _main()
