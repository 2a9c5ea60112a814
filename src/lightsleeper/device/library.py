"""A generated model as a shared library: built from its C, and called through ctypes without torch."""

import ctypes
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightsleeper.errors import InputError, LightsleeperError, MissingToolError

__all__ = ["TrainerLibrary", "build_library"]

_C_SOURCES = Path(__file__).with_name("c")
_INTERFACE_VERSION = 1
# Without contraction the weights are the same to the bit on every machine.
_OPTIONS = ("-std=c99", "-O2", "-ffp-contract=off", "-shared", "-fPIC")


def build_library(header: Path, out: Path, *, compiler: str = "cc", options: Sequence[str] = ()) -> Path:
    """Compile a generated model, ``NAME.h`` with ``NAME.c`` beside it, into a library that trains on Linux.

    Args:
        header: of the model.
        out: the library to make.
        compiler: of the device's machine, such as ``aarch64-linux-gnu-gcc``.
        options: more of the compiler's options.

    Raises:
        InputError: the files are missing, or the header is none of a generated model.
        MissingToolError: there is no such compiler.
        LightsleeperError: it does not compile.
    """
    source = header.with_suffix(".c")
    for path in (header, source):
        if not path.is_file():
            raise InputError(f"{path}: no such file; give the header of a generated model, its .c beside it")
    found = re.search(r"\bint (\w+)_train_step\([^;]*?(int32_t label|const float target)", header.read_text("utf-8"))
    if found is None:
        raise InputError(f"{header}: declares no train_step of a generated model")
    name = found[1]
    defines = [f"-DLS_NAME={name}", f"-DLS_NAME_CAPITALS={name.upper()}", f'-DLS_HEADER="{header.name}"']
    if found[2].startswith("const float"):
        defines.append("-DLS_REGRESSION")
    sources = [_C_SOURCES / "ls_host.c", _C_SOURCES / "ls_order.c", source]
    include = ["-I", str(header.parent), "-I", str(_C_SOURCES)]
    command = [compiler, *_OPTIONS, *options, *defines, *include, *map(str, sources), "-o", str(out), "-lm"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise MissingToolError(f"{compiler} is not installed: install gcc, or name another compiler") from error
    if done.returncode:
        raise LightsleeperError(f"{source}: does not compile: {_first_error(done.stderr)}")
    return out


def _first_error(said: str) -> str:
    lines = [line for line in said.splitlines() if "error" in line]
    return (lines or said.splitlines() or ["no message"])[0]


class _Info(ctypes.Structure):
    _fields_ = (
        ("interface_version", ctypes.c_uint32),
        ("model_version", ctypes.c_uint32),
        ("inputs", ctypes.c_uint32),
        ("outputs", ctypes.c_uint32),
        ("classes", ctypes.c_uint32),
        ("host_bytes", ctypes.c_uint32),
        ("saved_bytes", ctypes.c_uint32),
        ("batch", ctypes.c_uint32),
        ("name", ctypes.c_char * 64),
    )


class TrainerLibrary:
    """A library that `build_library` made, and one state of its model.

    Attributes:
        name, model_version: of the model.
        inputs, outputs: numbers in a sample and in an output.
        classes: labels are 0 to classes - 1; 0 where targets are `outputs` numbers.
        batch: samples of one optimizer step.
        state_bytes: of the state in memory.
        saved_bytes: of a saved state.

    Raises:
        InputError: there is no such file, or it is no such library of this machine.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise InputError(f"{path}: no such library; make it with lightsleeper.device.build_library")
        try:
            self._c = ctypes.CDLL(str(path.absolute()))
            call = self._c.ls_library
        except (OSError, AttributeError) as error:
            raise InputError(
                f"{path}: no trainer library of this machine ({error}); make it with build_library"
            ) from error
        info = _Info()
        call(ctypes.byref(info))
        if info.interface_version != _INTERFACE_VERSION:
            raise InputError(f"{path}: made by another release of lightsleeper; make it again with build_library")
        self.name: str = info.name.decode()
        self.model_version: int = info.model_version
        self.inputs: int = info.inputs
        self.outputs: int = info.outputs
        self.classes: int = info.classes
        self.batch: int = info.batch
        self.state_bytes: int = info.host_bytes
        self.saved_bytes: int = info.saved_bytes
        pointer, number = ctypes.c_void_p, ctypes.c_uint32
        self._c.ls_host_train.argtypes = [pointer, pointer, pointer, number, ctypes.c_uint64]
        self._c.ls_host_train.restype = ctypes.c_uint64
        self._c.ls_host_infer.argtypes = [pointer, pointer, number, pointer]
        # Of double words, as an array of bytes may lie at any address.
        self._state = (ctypes.c_uint64 * -(-self.state_bytes // 8))()
        self._c.ls_host_begin(self._state)

    @property
    def taken(self) -> int:
        """Samples taken since the beginning, skipped ones among them."""
        return int(self._state[0])

    @property
    def skipped(self) -> int:
        """Of these, the ones that the model refused."""
        return int(self._state[1])

    def train(self, x: NDArray[np.float32], labels: NDArray[Any], *, samples: int) -> int:
        """Train on the next samples, and on those that complete the batch.

        Args:
            x: (rows, inputs) float32, C order.
            labels: (rows,) int32, or (rows, outputs) float32.
            samples: how many at least.

        Returns:
            `taken`.
        """
        taken: int = self._c.ls_host_train(self._state, x.ctypes.data, labels.ctypes.data, len(x), samples)
        return taken

    def infer(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Outputs, (rows, outputs), by the best weights at hand, for x of (rows, inputs) float32 in C order."""
        outputs = np.empty((len(x), self.outputs), np.float32)
        self._c.ls_host_infer(self._state, x.ctypes.data, len(x), outputs.ctypes.data)
        return outputs

    def save(self) -> bytes:
        """Return the state for a checkpoint."""
        saved = ctypes.create_string_buffer(self.saved_bytes)
        self._c.ls_host_save(self._state, saved)
        return saved.raw

    def restore(self, saved: bytes) -> None:
        """Go on from a saved state of `saved_bytes`."""
        if len(saved) != self.saved_bytes:
            raise InputError(f"a saved state has {len(saved)} bytes: this model's has {self.saved_bytes}")
        self._c.ls_host_restore(self._state, saved)
