"""Generated C on this computer: compiled to a shared library and called through ctypes."""

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lightsleeper.device.layers import Array
from lightsleeper.device.source import Source
from lightsleeper.device.tools import call
from lightsleeper.errors import InputError

__all__ = ["HostModel", "compile_host"]

_FLAGS = ("-std=c99", "-O2", "-ffp-contract=off", "-fPIC", "-shared", "-Wall", "-Wextra", "-Wconversion", "-Werror")


def compile_host(source: Source, folder: Path, *, compiler: str = "gcc") -> "HostModel":
    """Compile without contraction into a multiply-add, so that it gives the bits of any other target built so.

    Args:
        source: what `emit` made.
        folder: an empty folder for the sources and the library.
        compiler: gcc or clang.
    """
    files = source.write(folder)
    library = f"lib{source.name}.so"
    call([compiler, *_FLAGS, *files, "-o", library, "-lm"], cwd=folder)
    return HostModel(source, folder / library)


class HostModel:
    """One state of a compiled network.

    Working memory is the library's own: models that share a library may not run at the same time.

    Args:
        source: what was compiled.
        library: path of the shared library.
    """

    def __init__(self, source: Source, library: Path) -> None:
        self.source = source
        self._library = ctypes.CDLL(str(library))
        self._fields: dict[str, tuple[int, Any]] = {}
        offset = 0
        for field in source.plan.fields(source.name):
            self._fields[field.name] = (offset, field)
            offset += field.nbytes
        self.memory: NDArray[np.uint8] = np.zeros(offset, np.uint8)
        self._call("init", self.memory)

    def _call(self, function: str, *arguments: Any) -> int:
        given = [a.ctypes.data_as(ctypes.c_void_p) if isinstance(a, np.ndarray) else a for a in arguments]
        return int(getattr(self._library, f"{self.source.name}_{function}")(*given))

    def field(self, name: str) -> NDArray[Any]:
        """A member of the state, as a view; changes are kept."""
        offset, field = self._fields[name]
        kind = np.float32 if field.kind == "float" else np.uint32
        return self.memory[offset : offset + field.nbytes].view(kind)

    def train_step(self, x: ArrayLike, target: ArrayLike) -> int:
        """Take a labelled sample; 1 where the weights moved, 0 where the batch is not full, -1 where it was skipped."""
        sample = self._sample(x)
        if self.source.plan.network.loss == "mse":
            return self._call("train_step", self.memory, sample, np.ascontiguousarray(target, np.float32).reshape(-1))
        return self._call("train_step", self.memory, sample, ctypes.c_int32(int(np.asarray(target))))

    def infer(self, x: ArrayLike, *, weights: Array | None = None) -> Array:
        """Output (outputs,) for a sample, by the best weights of the state or by given ones."""
        y = np.empty(self.source.plan.network.outputs, np.float32)
        if weights is None:
            self._call("infer", self.memory, self._sample(x), y)
        else:
            self._call("infer_with", np.ascontiguousarray(weights, np.float32), self._sample(x), y)
        return y

    def average(self) -> Array:
        """The present average of the trained weights."""
        to = np.empty(self.source.plan.parameters, np.float32)
        self._call("average", self.memory, to)
        return to

    def _sample(self, x: ArrayLike) -> Array:
        sample = np.ascontiguousarray(x, np.float32).reshape(-1)
        if sample.size != self.source.plan.network.inputs:
            raise InputError(f"a sample has {sample.size} numbers, the network takes {self.source.plan.network.inputs}")
        return sample
