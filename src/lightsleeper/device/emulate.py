"""Generated C on an emulated microcontroller: weights, exact instruction counts, stack, memory.

QEMU counts instructions, not cycles; cycles and energy are estimates from published board measurements
(reference/on_device.md section 2) and say so.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lightsleeper.device.emit import Source, environment
from lightsleeper.device.layers import Array
from lightsleeper.device.stack_bound import stack_bound
from lightsleeper.device.tools import call, require
from lightsleeper.errors import InputError, LightsleeperError

__all__ = ["CYCLES_PER_INSTRUCTION", "TARGETS", "Emulated", "Target", "emulate"]

CYCLES_PER_INSTRUCTION = (1.0, 1.5)
"""Assumed, not measured."""
_PAINTED_WORDS = 512


@dataclass(frozen=True, slots=True)
class Target:
    """An emulated core.

    Attributes:
        title: for people.
        flags: of gcc.
        machine: of QEMU.
        ram_bytes: of the machine, as far as is used.
        nj_per_cycle: energy of a cycle on a board with such a core, measured over the keyword run of MLPerf Tiny 1.1;
            None where none was.
        board: that board.
    """

    title: str
    flags: tuple[str, ...]
    machine: str
    ram_bytes: int
    nj_per_cycle: float | None
    board: str


_HARD = ("-mfloat-abi=hard",)
TARGETS = {
    "m4f": Target(
        "Cortex-M4F",
        ("-mcpu=cortex-m4", "-mfpu=fpv4-sp-d16", *_HARD),
        "mps2-an386",
        4 << 20,
        0.375,
        "NUCLEO-L4R5ZI, 120 MHz, 1.8 V",
    ),
    "m7": Target(
        "Cortex-M7",
        ("-mcpu=cortex-m7", "-mfpu=fpv5-sp-d16", *_HARD),
        "mps2-an500",
        4 << 20,
        0.437,
        "NUCLEO-H7A3ZI-Q, 280 MHz, 3 V",
    ),
    "m0plus": Target("Cortex-M0+", ("-mcpu=cortex-m0plus", "-mfloat-abi=soft"), "microbit", 16 << 10, None, ""),
}
"""By name. There is no Cortex-M0+ in QEMU 7.2: its code, which is that of an M0, runs on an M0."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Emulated:
    """What came of a run.

    Attributes:
        state: fields of the state by name, at the end.
        instructions: (samples,) of each call, without the harness.
        stack_bytes: painted stack that was written over.
        stack_bound_bytes: bound from the call graph, of the model's own functions.
        outside: functions of libraries that are called, which the bound leaves out.
        code_bytes: text and constants of the model's object file.
        static_bytes: its data and bss.
    """

    state: dict[str, NDArray[Any]]
    instructions: NDArray[np.int64]
    stack_bytes: int
    stack_bound_bytes: int
    outside: list[str]
    code_bytes: int
    static_bytes: int

    @property
    def weights(self) -> Array:
        """(n,) at the end."""
        return self.state["weights"]


def emulate(
    source: Source,
    target: Target,
    samples: Array,
    targets: NDArray[Any],
    *,
    folder: Path,
    optimise: Literal["-Os", "-O2", "-O3"] = "-O2",
    contract: bool = True,
    infer: bool = False,
    ram_bytes: int | None = None,
    seconds: float = 300.0,
) -> Emulated:
    """Build for a core, run every sample through it in QEMU, and read the state back.

    Args:
        source: what `emit` made.
        target: of `TARGETS`.
        samples: (n, ...) inputs.
        targets: (n,) labels or (n, outputs) values.
        folder: an empty folder to build in.
        optimise: level of gcc.
        contract: whether a product and a sum may become one rounding, as the core can; without, all cores and the
            host give the same bits.
        infer: run inference instead of training.
        ram_bytes: memory that the linker grants, stack, samples and all; that of the machine without.
        seconds: limit of the run.

    Raises:
        MissingToolError: a compiler, its library, or QEMU is not installed.
        LightsleeperError: the program failed.
    """
    qemu = require("qemu-system-arm")
    source.write(folder)
    _write_samples(folder / "samples.bin", source, samples, targets)
    _build(source, target, folder, optimise=optimise, contract=contract, infer=infer, ram=ram_bytes or target.ram_bytes)
    symbols = call(["arm-none-eabi-nm", "run.elf"], cwd=folder)[0].splitlines()
    mark = next(line.split()[0] for line in symbols if line.split()[-1] == "mark")
    call(
        [
            Path(qemu).name, "-M", target.machine, "-nographic", "-monitor", "none", "-serial", "none",
            "-semihosting-config", "enable=on,target=native", "-plugin", f"./libcount.so,mark=0x{int(mark, 16) & ~1:x}",
            "-kernel", "run.elf",
        ],
        cwd=folder,
        seconds=seconds,
    )  # fmt: skip
    function = f"{source.name}_{'infer' if infer else 'train_step'}"
    bound, outside = stack_bound(folder / f"{source.name}.ci", function)
    text, data, bss = _sizes(folder, f"{source.name}.o")
    used, state = _read_state(folder / "state.bin", source)
    return Emulated(
        state=state,
        instructions=_instructions(folder / "counts.txt", len(samples)),
        stack_bytes=used,
        stack_bound_bytes=bound,
        outside=outside,
        code_bytes=text,
        static_bytes=data + bss,
    )


def _build(
    source: Source, target: Target, folder: Path, *, optimise: str, contract: bool, infer: bool, ram: int
) -> None:
    name = source.name
    loss = source.plan.network.loss
    harness = (
        environment()
        .get_template("harness.c.jinja")
        .render(
            name=name,
            NAME=name.upper(),
            infer=infer,
            labelled=loss != "mse",
            target_floats=source.plan.network.outputs if loss == "mse" else 1,
            painted_words=_PAINTED_WORDS,
        )
    )
    (folder / "harness.c").write_text(harness, encoding="ascii")
    plugin = environment().get_template("count_plugin.c.jinja").render()
    (folder / "count.c").write_text(plugin, encoding="ascii")
    if shutil.which("arm-none-eabi-gcc"):
        _require_picolibc(folder)
    call(["gcc", "-O2", "-shared", "-fPIC", "count.c", "-o", "libcount.so"], cwd=folder)
    common = [
        "arm-none-eabi-gcc", "-std=c99", optimise, "-mthumb", *target.flags,
        f"-ffp-contract={'fast' if contract else 'off'}", "--specs=picolibc.specs",
    ]  # fmt: skip
    strict = ["-Wall", "-Wextra", "-Wconversion", "-Werror", "-fcallgraph-info=su"]
    call([*common, *strict, "-c", f"{name}.c"], cwd=folder)
    flash, stack = min(16 * target.ram_bytes, 4 << 20), 4 * _PAINTED_WORDS + 512
    sizes = {"__flash": 0, "__flash_size": flash, "__ram": 0x20000000, "__ram_size": ram}
    call(
        [
            *common, "--oslib=semihost", "--crt0=hosted", "harness.c", f"{name}.o", "-o", "run.elf", "-lm",
            *(f"-Wl,--defsym={key}=0x{value:x}" for key, value in (sizes | {"__stack_size": stack}).items()),
        ],
        cwd=folder,
    )  # fmt: skip


def _require_picolibc(folder: Path) -> None:
    found = call(["arm-none-eabi-gcc", "-print-file-name=picolibc.specs"], cwd=folder)[0].strip()
    if not Path(found).is_absolute():
        raise LightsleeperError("picolibc is not installed: apt-get install picolibc-arm-none-eabi")


def _write_samples(path: Path, source: Source, samples: Array, targets: NDArray[Any]) -> None:
    flat = np.ascontiguousarray(samples, np.float32).reshape(len(samples), -1)
    mse = source.plan.network.loss == "mse"
    aside = np.asarray(targets, np.float32 if mse else np.int32).reshape(len(samples), -1)
    expected = source.plan.network.outputs if mse else 1
    if flat.shape[1] != source.plan.network.inputs or aside.shape[1] != expected:
        raise InputError(
            f"samples of {flat.shape[1]} numbers and targets of {aside.shape[1]} do not fit the network, which takes "
            f"{source.plan.network.inputs} and {expected}"
        )
    rows = np.concatenate([flat.view(np.uint32), np.ascontiguousarray(aside).view(np.uint32)], axis=1)
    path.write_bytes(rows.tobytes())


def _read_state(path: Path, source: Source) -> tuple[int, dict[str, NDArray[Any]]]:
    words = np.frombuffer(path.read_bytes(), np.uint32)
    fields: dict[str, NDArray[Any]] = {}
    place = 1
    for field in source.plan.fields(source.name):
        part = words[place : place + field.count]
        fields[field.name] = part.view(np.float32) if field.kind == "float" else part
        place += field.count
    if place != words.size:
        raise LightsleeperError(f"the emulated program gave back {words.size} words, {place} were expected")
    if int(words[0]) >= _PAINTED_WORDS:
        raise LightsleeperError("the emulated program used up all of its painted stack")
    return 4 * int(words[0]), fields


def _instructions(path: Path, samples: int) -> NDArray[np.int64]:
    """The first two marks follow one another at once; what lies between them belongs to the harness."""
    counts = np.array([int(line) for line in path.read_text().split()], np.int64)
    if counts.size != 2 + 2 * samples:
        raise LightsleeperError(f"the emulated program took {(counts.size - 2) // 2} of {samples} samples")
    taken: NDArray[np.int64] = counts[3::2] - counts[2::2] - (counts[1] - counts[0])
    return taken


def _sizes(folder: Path, path: str) -> Sequence[int]:
    numbers = call(["arm-none-eabi-size", path], cwd=folder)[0].splitlines()[1].split()
    return [int(number) for number in numbers[:3]]
