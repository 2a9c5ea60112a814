"""Training in idle time: the loop on a clock of the test's, and whole processes that are killed."""

import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from device_build import tiny_library, tiny_samples
from lightsleeper import cli
from lightsleeper.device import Budget, CheckpointStatus, Limits, StateFile, TrainerLibrary
from lightsleeper.device.idle import IdleTrainer
from lightsleeper.device.pressure import Readings
from lightsleeper.errors import LightsleeperError

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="SCHED_IDLE, /proc")
pytestmark = LINUX
CAP = 64_000_000
Done = subprocess.CompletedProcess[str]


class Device:
    """A device whose time passes when it trains or rests; it stands for library, clock, probe and state file."""

    def __init__(self, *, sample_s: float = 1e-3, contention: float = 0.0, stop_at_s: float = 1e9):
        self.time_s = self.used_s = self.time_waited_s = self.stopped_s = 0.0
        self.counts_waiting = True
        self.taken = self.skipped = 0
        self.batch = 4
        self.saves: list[tuple[float, int]] = []
        self.trained: list[tuple[float, float]] = []
        self.readings = lambda now_s: Readings()
        self.loaded = SimpleNamespace(status=CheckpointStatus.NONE)
        self.sample_s, self.contention, self.stop_at_s = sample_s, contention, stop_at_s
        self.resident_bytes = 30_000_000

    def now_s(self) -> float:
        return self.time_s

    def cpu_s(self) -> float:
        return self.used_s

    def waited_s(self) -> float | None:
        return self.time_waited_s if self.counts_waiting else None

    def rest(self, seconds: float) -> bool:
        self.time_s += min(seconds, max(0.0, self.stop_at_s - self.time_s))
        return self.time_s >= self.stop_at_s

    def read(self, *, now_s: float, own_cpu_s: float) -> Readings:
        return self.readings(now_s)

    def train(self, x: Any, labels: Any, *, samples: int) -> int:
        samples = -(-samples // self.batch) * self.batch
        began_s = self.time_s
        self.used_s += samples * self.sample_s
        wanted_s = samples * self.sample_s / (1.0 - self.contention)
        self.time_s += wanted_s + self.stopped_s
        self.time_waited_s += wanted_s * self.contention
        self.trained.append((began_s, self.time_s))
        self.taken += samples
        return self.taken

    def save(self, state: bytes | None = None) -> bytes:
        if state is not None:
            self.saves.append((self.time_s, self.taken))
            self.loaded.status = CheckpointStatus.OK
        return b"state"

    def trainer(self, *, share: float = 0.2, limits: Limits | None = None, save_every_s: float = 60.0) -> IdleTrainer:
        me: Any = self
        return IdleTrainer(
            library=me,
            samples=SimpleNamespace(x=None, labels=None),  # type: ignore[arg-type]
            state=me,
            budget=Budget(cpu_share=share, memory_bytes=CAP),
            limits=limits or Limits(),
            probe=me,
            clock=me,
            save_every_s=save_every_s,
            resident=lambda: (self.resident_bytes, self.resident_bytes + 1),
        )


@pytest.mark.parametrize("share", [0.01, 0.2, 1.0])
@pytest.mark.parametrize("sample_s", [1e-5, 1e-3, 0.03])
def test_the_share_of_the_processor_is_kept(share, sample_s):
    device = Device(sample_s=sample_s, stop_at_s=600.0)
    report = device.trainer(share=share).run(until=None)
    assert report.stopped
    assert report.cpu_share == pytest.approx(share, rel=0.03)
    assert report.cpu_left_percent == pytest.approx(100 * (1 - report.cpu_share / (os.cpu_count() or 1)))
    assert report.samples == report.samples_now == device.taken
    assert report.paused_s == {}
    longest = max(end - begin for begin, end in device.trained)
    assert longest <= 0.101 + device.batch * sample_s


def test_it_waits_while_the_device_is_busy_and_goes_on_after():
    device = Device(stop_at_s=100.0)
    device.readings = lambda now_s: Readings(cpu_pressure=0.5 if 20.0 <= now_s < 60.0 else 0.0)
    report = device.trainer().run(until=None)
    inside = [begin for begin, _ in device.trained if 20.6 < begin < 60.0]
    assert inside == []
    assert any(begin < 20.0 for begin, _ in device.trained)
    assert any(begin > 90.0 for begin, _ in device.trained)
    assert 39.0 < report.paused_s["CPU pressure"] < 75.0
    assert set(report.paused_s) == {"CPU pressure"}


@pytest.mark.parametrize("counts_waiting", [True, False])
def test_a_process_that_has_to_wait_for_the_processor_pauses(counts_waiting):
    device = Device(contention=0.5, stop_at_s=300.0)
    device.counts_waiting = counts_waiting
    report = device.trainer(share=1.0).run(until=None)
    assert report.paused_s["contention"] > 250.0
    assert report.samples > 0


def test_time_in_which_it_was_stopped_is_no_contention():
    device = Device(contention=0.3, stop_at_s=100.0)
    device.stopped_s = 0.2
    assert device.trainer(share=1.0).run(until=None).paused_s == {}


def test_checkpoints_come_in_time_and_at_the_end():
    device = Device(stop_at_s=200.0)
    device.trainer(save_every_s=60.0).run(until=None)
    times = [time_s for time_s, _ in device.saves]
    assert times == pytest.approx([60, 120, 180, 200], abs=2.0)
    assert device.saves[-1][1] == device.taken
    before = len(device.saves)
    device.stop_at_s = device.time_s
    device.trainer().run(until=device.taken)
    assert len(device.saves) == before


@pytest.mark.parametrize("until", [1, 4, 997, 1000])
def test_it_ends_at_the_first_whole_batch(until):
    report = Device().trainer().run(until=until)
    assert report.samples == -(-until // 4) * 4
    assert not report.stopped


def test_memory_over_the_cap_ends_it_with_a_checkpoint():
    device = Device(stop_at_s=100.0)
    trainer = device.trainer()

    def grow(taken: int, doing: str) -> None:
        device.resident_bytes += 20_000_000

    with pytest.raises(
        LightsleeperError, match=r"memory grew to 70\.0 MB, over the budget of 64\.0 MB; the state is saved"
    ):
        trainer.run(until=None, show=grow)
    assert device.saves[-1][1] == device.taken > 0


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("idle")
    tiny_library(made)
    tiny_samples(made / "d.npz", bad=2)
    return made


def process(folder: Path, state: Path, samples: int) -> "subprocess.Popen[str]":
    """Trains without waiting for anybody, so that the test needs no quiet machine, and saves every 10 ms."""
    code = f"""
        from pathlib import Path
        from lightsleeper.device import Budget, Limits, StateFile, TrainerLibrary, idle, pressure, samples
        library = TrainerLibrary(Path({str(folder / "tiny.so")!r}))
        data = samples.read_samples(Path({str(folder / "d.npz")!r}), library)
        state = StateFile(Path({str(state)!r}), model_version=library.model_version, state_bytes=library.saved_bytes)
        if state.loaded.state is not None:
            library.restore(state.loaded.state)
        never = Limits(
            contention=2, cpu_pressure=2, memory_pressure=2, others_share=2, temperature_c=1e9, battery_charge=-1
        )
        idle._LOOK_EVERY_S = 0.01
        print(library.taken, flush=True)
        with idle.ProcessClock() as clock:
            idle.IdleTrainer(
                library=library,
                samples=data,
                state=state,
                budget=Budget(cpu_share=1.0, memory_bytes=10**9),
                limits=never,
                probe=pressure.Probe(),
                clock=clock,
                save_every_s=0.0,
            ).run(until={samples})
    """
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_killed_again_and_again_it_ends_with_the_same_bits(folder: Path, tmp_path: Path):
    until = 4_000_000
    whole = TrainerLibrary(folder / "tiny.so")
    from lightsleeper.device.samples import read_samples  # noqa: PLC0415

    data = read_samples(folder / "d.npz", whole)
    whole.train(data.x, data.labels, samples=until)
    state = tmp_path / "net.state"
    chance = random.Random(3)
    begins = []
    for life in range(9):
        before = state.read_bytes() if state.exists() else b""
        child = process(folder, state, until)
        assert child.stdout is not None
        begins.append(int(child.stdout.readline()))
        if life < 8:
            # Killed some time after its first save, often in the middle of one.
            while state.read_bytes() == before and child.poll() is None:
                time.sleep(0.001)
            time.sleep(chance.uniform(0.0, 0.05))
            child.kill()
        if child.wait() == 0:
            break
    assert child.returncode == 0
    assert begins == sorted(begins)
    assert len(set(begins)) >= 4, "most lives go on from where another was killed"
    with StateFile(state, model_version=whole.model_version, state_bytes=whole.saved_bytes) as file:
        assert file.loaded.state == whole.save()


def train(folder: Path, state: Path, *arguments: str) -> int:
    """The command in this process, whose scheduling and limits stay as they are."""
    files = ["--library", str(folder / "tiny.so"), "--data", str(folder / "d.npz"), "--state", str(state)]
    return cli.run(["train", "--idle", *files, *arguments])


def command(folder: Path, state: Path, *arguments: str, after: str = "sys.exit(code)") -> Done:
    """The command in a process of its own, at normal priority and waiting for nobody, as the machine may be busy."""
    files = ["--library", str(folder / "tiny.so"), "--data", str(folder / "d.npz"), "--state", str(state)]
    return subprocess.run(
        [sys.executable, "-c", RUN + after, "train", "--idle", *NEVER_WAITS, *files, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


NEVER_WAITS = ("--cpu", "100%", "--load", "100%", "--cpu-pressure", "100%")
RUN = """
import sys
from lightsleeper.cli import run
from lightsleeper.device import idle
idle.be_idle = lambda: None
code = run(sys.argv[1:])
"""


def test_the_process_becomes_an_idle_one():
    code = "import os; from lightsleeper.device.idle import be_idle; be_idle(); os._exit(os.sched_getscheduler(0))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == os.SCHED_IDLE


def test_the_command_trains_without_torch_under_its_cap(folder: Path, tmp_path: Path):
    tell = "print('torch' in sys.modules, file=sys.stderr)"
    done = command(folder, tmp_path / "s", "--samples", "4000", "--json", after=tell)
    report = json.loads(done.stdout)
    assert done.stderr.splitlines()[-1] == "False"
    assert "2 of 300 samples hold NaN or infinity; they are skipped" in done.stderr
    assert (report["samples"], report["resumed_from"], report["stopped"]) == (4000, 0, False)
    assert 24 <= report["skipped"] <= 28
    assert report["memory_peak_bytes"] < report["memory_cap_bytes"] == CAP
    assert 0.0 < report["cpu_left_percent"] <= 100.0
    assert 0.0 < report["memory_left_percent"] < 100.0
    again = command(folder, tmp_path / "s", "--samples", "4100")
    assert again.returncode == 0
    assert "samples now" in again.stdout
    assert "left for useful work" in again.stdout


def test_a_signal_ends_it_with_a_checkpoint(folder: Path, tmp_path: Path):
    state = tmp_path / "s"
    arguments = ["--library", folder / "tiny.so", "--data", folder / "d.npz", "--state", state, "--json"]
    arguments += [*NEVER_WAITS, "--save-every-s", "0.1"]
    child = subprocess.Popen(
        [sys.executable, "-c", RUN + "sys.exit(code)", "train", "--idle", *arguments], stdout=subprocess.PIPE, text=True
    )
    # Whoever saves has begun to listen to signals.
    while not (state.exists() and set(state.read_bytes()) - {255}):
        assert child.poll() is None
        time.sleep(0.05)
    child.send_signal(signal.SIGTERM)
    said, _ = child.communicate(timeout=120)
    report = json.loads(said)
    assert child.returncode == 0
    assert report["stopped"]
    library = TrainerLibrary(folder / "tiny.so")
    with StateFile(state, model_version=library.model_version, state_bytes=library.saved_bytes) as file:
        assert file.loaded.state is not None
        library.restore(file.loaded.state)
    assert library.taken == report["samples"]


def test_a_signal_ends_a_rest_though_another_thread_would_take_it():
    code = """
        import os, signal, threading, time
        from lightsleeper.device.idle import ProcessClock
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        before = signal.getsignal(signal.SIGINT)
        with ProcessClock() as clock:
            for number in (signal.SIGTERM, signal.SIGINT):
                began = time.monotonic()
                threading.Timer(0.2, os.kill, (os.getpid(), number)).start()
                print(clock.rest(30.0), clock.rest(30.0), time.monotonic() - began < 20.0)
        print(signal.getsignal(signal.SIGINT) is before)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert done.stdout == "True True True\n" * 2 + "True\n"


def test_a_process_that_is_stopped_and_continued_goes_on():
    code = """
        from lightsleeper.device.idle import ProcessClock
        with ProcessClock() as clock:
            print("rests", flush=True)
            print(clock.rest(0.3), clock.rest(0.01))
    """
    child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "rests\n"
    child.send_signal(signal.SIGSTOP)
    time.sleep(0.6)
    child.send_signal(signal.SIGCONT)
    assert child.communicate(timeout=60)[0] == "False False\n"


def test_a_cap_that_is_too_small_says_by_how_much(folder: Path, tmp_path: Path):
    done = command(folder, tmp_path / "s", "--memory", "10MB")
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("lightsleeper: ")]
    assert done.returncode == 2
    assert line.startswith("lightsleeper: a memory budget of 10.0 MB is ")
    enough = line.split("give ")[1]
    assert not (tmp_path / "s").exists()
    assert command(folder, tmp_path / "s", "--memory", enough, "--samples", "2").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--cpu", "120%"], "'120%' is no share: give 0 to 100 %"),
        (["--cpu", "0%"], "a CPU share of 0 is out of range"),
        (["--memory", "64"], "'64' is no size of memory"),
        (["--energy", "200J/day"], "give --active-power"),
        (["--energy", "200J", "--active-power", "1W"], "'200J' is no power"),
        (["--library", "no-such.so"], "no-such.so: no such library"),
        (["--data", "no-such.npz"], "no-such.npz: no such file"),
        (["--state", "no-such/s"], "no-such/s: cannot be written"),
        (["--cgroup", "no-such.slice"], "no-such.slice: has no cpu.pressure"),
        (["--samples", "0"], "--samples"),
    ],
)
def test_bad_input_is_one_line(folder: Path, tmp_path: Path, arguments, words, monkeypatch, capsys):
    from lightsleeper.device import idle  # noqa: PLC0415

    monkeypatch.setattr(idle, "be_idle", lambda: None)
    monkeypatch.setattr(idle, "hold_memory", lambda *_, **__: None)
    assert train(folder, tmp_path / "s", *arguments) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("lightsleeper: ")]
    assert words in line
    assert not (tmp_path / "s").exists()


def test_without_idle_it_says_so(capsys):
    assert cli.run(["train", "--library", "a", "--data", "b", "--state", "c"]) == 2
    assert "say --idle" in capsys.readouterr().err


def test_a_state_of_another_model_is_refused(folder: Path, tmp_path: Path):
    with StateFile(tmp_path / "s", model_version=1, state_bytes=16) as file:
        file.save(b"x" * 16)
    done = command(folder, tmp_path / "s", "--samples", "2")
    assert done.returncode == 2
    assert "holds no state of this model (version 7e57c0de)" in done.stderr


def test_a_damaged_checkpoint_is_said(folder: Path, tmp_path: Path):
    for until in ("100", "200"):
        assert command(folder, tmp_path / "s", "--samples", until).returncode == 0
    area = bytearray((tmp_path / "s").read_bytes())
    area[len(area) // 2 + 100] ^= 1
    (tmp_path / "s").write_bytes(area)
    done = command(folder, tmp_path / "s", "--samples", "200", "--json")
    assert "the newest checkpoint is damaged; going on from the one before it" in done.stderr
    report = json.loads(done.stdout)
    assert report["older_checkpoint"]
    assert 100 <= report["resumed_from"] < 104
    assert 200 <= report["samples"] < 204
