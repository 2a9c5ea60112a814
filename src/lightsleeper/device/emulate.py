"""Generated C on an emulated microcontroller: weights, exact instruction counts, stack, memory.

QEMU counts instructions, not cycles; cycles and energy are estimates from published board measurements
(reference/on_device.md section 2) and say so.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lightsleeper.device.layers import Array
from lightsleeper.device.source import Source, environment
from lightsleeper.device.source_int8 import Int8Source
from lightsleeper.device.stack_bound import stack_bound
from lightsleeper.device.tools import call, installed, require
from lightsleeper.errors import InputError, LightsleeperError, MissingToolError

__all__ = [
    "CYCLES_PER_INSTRUCTION",
    "TARGETS",
    "Emulated",
    "EmulatedInt8",
    "Target",
    "emulate",
    "emulate_int8",
    "targets_at_hand",
]

CYCLES_PER_INSTRUCTION = (1.0, 1.5)
"""Assumed, not measured."""
_PAINTED_WORDS = 512
_ARM = "arm-none-eabi"


@dataclass(frozen=True, slots=True)
class Target:
    """An emulated core.

    Attributes:
        title: for people.
        toolchain: beginning of the names of gcc and its tools.
        flags: of gcc.
        emulator: program of QEMU.
        machine: of QEMU, with what else it needs to know.
        flash_at, ram_at: addresses that the linker gives to code and to data.
        ram_bytes: of the machine, as far as is used.
        nj_per_cycle: energy of a cycle on a board with such a core, measured over the keyword run of MLPerf Tiny 1.1;
            None where none was.
        board: that board.
    """

    title: str
    flags: tuple[str, ...]
    machine: tuple[str, ...]
    ram_bytes: int = 4 << 20
    toolchain: str = _ARM
    emulator: str = "qemu-system-arm"
    flash_at: int = 0
    ram_at: int = 0x20000000
    nj_per_cycle: float | None = None
    board: str = ""


TARGETS = {
    "m4f": Target(
        "Cortex-M4F",
        ("-mthumb", "-mcpu=cortex-m4", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard"),
        ("mps2-an386",),
        nj_per_cycle=0.375,
        board="NUCLEO-L4R5ZI, 120 MHz, 1.8 V",
    ),
    "m7": Target(
        "Cortex-M7",
        ("-mthumb", "-mcpu=cortex-m7", "-mfpu=fpv5-sp-d16", "-mfloat-abi=hard"),
        ("mps2-an500",),
        nj_per_cycle=0.437,
        board="NUCLEO-H7A3ZI-Q, 280 MHz, 3 V",
    ),
    "m0plus": Target(
        "Cortex-M0+", ("-mthumb", "-mcpu=cortex-m0plus", "-mfloat-abi=soft"), ("microbit",), ram_bytes=16 << 10
    ),
    "rv32": Target(
        "RISC-V RV32IMAFC",
        ("-march=rv32imafc", "-mabi=ilp32f", "-mcmodel=medany"),
        ("virt", "-bios", "none"),
        toolchain="riscv64-unknown-elf",
        emulator="qemu-system-riscv32",
        flash_at=0x80000000,
        ram_at=0x80400000,
    ),
}
"""By name. There is no Cortex-M0+ in QEMU 7.2: its code, which is that of an M0, runs on an M0."""


def targets_at_hand() -> dict[str, Target]:
    """The Arm cores, which every use asks for, and the others whose compiler and emulator are installed."""
    return {
        name: target
        for name, target in TARGETS.items()
        if target.toolchain == _ARM or (installed(f"{target.toolchain}-gcc") and installed(target.emulator))
    }


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


@dataclass(frozen=True, eq=False, kw_only=True)
class EmulatedInt8:
    """What came of a run of int8 inference: outputs (n, outputs), and the rest as in `Emulated`."""

    outputs: Array
    instructions: NDArray[np.int64]
    stack_bytes: int
    stack_bound_bytes: int
    code_bytes: int
    static_bytes: int


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
    seconds: float = 600.0,
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
    _write_samples(folder / "samples.bin", source, samples, targets)
    mse = source.plan.network.loss == "mse"
    options = {"infer": infer, "labelled": not mse, "target_floats": source.plan.network.outputs if mse else 1}
    machine = _Machine(target, folder, source.name, ram_bytes=ram_bytes or target.ram_bytes)
    machine.build(source, optimise=optimise, contract=contract, options=options | {"integer": False})
    machine.run(seconds)
    bound, outside = machine.stack_bound("infer" if infer else "train_step")
    text, data, bss = machine.sizes()
    used, state = _read_state(folder / "state.bin", source)
    return Emulated(
        state=state,
        instructions=machine.instructions(len(samples)),
        stack_bytes=used,
        stack_bound_bytes=bound,
        outside=outside,
        code_bytes=text,
        static_bytes=data + bss,
    )


def emulate_int8(
    source: Int8Source,
    target: Target,
    samples: Array,
    *,
    folder: Path,
    optimise: Literal["-Os", "-O2", "-O3"] = "-O2",
    seconds: float = 600.0,
) -> EmulatedInt8:
    """Build int8 inference for a core and run every sample (n, ...) through it; options and errors as `emulate`."""
    network = source.quantized.network
    flat = np.ascontiguousarray(samples, np.float32).reshape(len(samples), -1)
    if flat.shape[1] != network.inputs:
        raise InputError(f"samples of {flat.shape[1]} numbers do not fit the network, which takes {network.inputs}")
    (folder / "samples.bin").write_bytes(flat.tobytes())
    machine = _Machine(target, folder, source.name, ram_bytes=target.ram_bytes)
    options = {"infer": True, "labelled": False, "target_floats": 0, "integer": True}
    machine.build(source, optimise=optimise, contract=True, options=options)
    machine.run(seconds)
    bound, _ = machine.stack_bound("infer")
    text, data, bss = machine.sizes()
    words = np.frombuffer((folder / "outputs.bin").read_bytes(), np.float32)
    return EmulatedInt8(
        outputs=words[:-1].reshape(len(samples), -1),
        instructions=machine.instructions(len(samples)),
        stack_bytes=4 * int(words[-1:].view(np.uint32)[0]),
        stack_bound_bytes=bound,
        code_bytes=text,
        static_bytes=data + bss,
    )


class _Machine:
    """One build and run in a folder."""

    def __init__(self, target: Target, folder: Path, name: str, *, ram_bytes: int) -> None:
        require(target.emulator)
        self.target, self.folder, self.name, self.ram_bytes = target, folder, name, ram_bytes

    def build(self, source: Source | Int8Source, *, optimise: str, contract: bool, options: dict[str, Any]) -> None:
        """Compile the sources strictly, link them with a harness, and build the counter."""
        name, folder = self.name, self.folder
        others = [file for file in source.write(folder) if file != f"{name}.c"]
        templates = environment()
        given = options | {"name": name, "NAME": name.upper(), "painted_words": _PAINTED_WORDS}
        (folder / "harness.c").write_text(templates.get_template("harness.c.jinja").render(given), encoding="ascii")
        (folder / "count.c").write_text(templates.get_template("count_plugin.c.jinja").render(), encoding="ascii")
        gcc = f"{self.target.toolchain}-gcc"
        _require_picolibc(self.target.toolchain, folder)
        call(["gcc", "-O2", "-shared", "-fPIC", "count.c", "-o", "libcount.so"], cwd=folder)
        common = [
            gcc, "-std=c99", optimise, *self.target.flags,
            f"-ffp-contract={'fast' if contract else 'off'}", "--specs=picolibc.specs",
        ]  # fmt: skip
        strict = ["-Wall", "-Wextra", "-Wconversion", "-Werror", "-fcallgraph-info=su"]
        call([*common, *strict, "-c", f"{name}.c"], cwd=folder)
        flash, stack = min(16 * self.target.ram_bytes, 4 << 20), 4 * _PAINTED_WORDS + 512
        places = {"__flash": self.target.flash_at, "__ram": self.target.ram_at}
        sizes = {"__flash_size": flash, "__ram_size": self.ram_bytes, "__stack_size": stack}
        call(
            [
                *common, "--oslib=semihost", "--crt0=hosted", "harness.c", *others, f"{name}.o", "-o", "run.elf", "-lm",
                *(f"-Wl,--defsym={key}=0x{value:x}" for key, value in (places | sizes).items()),
            ],
            cwd=folder,
        )  # fmt: skip

    def run(self, seconds: float) -> None:
        """Run it under QEMU with the counter."""
        symbols = call([f"{self.target.toolchain}-nm", "run.elf"], cwd=self.folder)[0].splitlines()
        mark = next(line.split()[0] for line in symbols if line.split()[-1] == "mark")
        call(
            [
                self.target.emulator, "-M", *self.target.machine, "-nographic", "-monitor", "none", "-serial", "none",
                "-semihosting-config", "enable=on,target=native",
                "-plugin", f"./libcount.so,mark=0x{int(mark, 16) & ~1:x}", "-kernel", "run.elf",
            ],
            cwd=self.folder,
            seconds=seconds,
        )  # fmt: skip

    def stack_bound(self, function: str) -> tuple[int, list[str]]:
        """Bound of the stack of a function of the model, and what is called outside of it."""
        return stack_bound(self.folder / f"{self.name}.ci", f"{self.name}_{function}")

    def sizes(self) -> list[int]:
        """Text with constants, data and bss of the model's object file."""
        numbers = call([f"{self.target.toolchain}-size", f"{self.name}.o"], cwd=self.folder)[0].splitlines()[1].split()
        return [int(number) for number in numbers[:3]]

    def instructions(self, samples: int) -> NDArray[np.int64]:
        """Of each call. The first two marks follow one another at once; what lies between them is the harness's."""
        counts = np.array([int(line) for line in (self.folder / "counts.txt").read_text().split()], np.int64)
        if counts.size != 2 + 2 * samples:
            raise LightsleeperError(f"the emulated program took {(counts.size - 2) // 2} of {samples} samples")
        taken: NDArray[np.int64] = counts[3::2] - counts[2::2] - (counts[1] - counts[0])
        return taken


def _require_picolibc(toolchain: str, folder: Path) -> None:
    found = call([f"{toolchain}-gcc", "-print-file-name=picolibc.specs"], cwd=folder)[0].strip()
    if not Path(found).is_absolute():
        raise MissingToolError(f"picolibc is not installed: apt-get install picolibc-{toolchain}")


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
