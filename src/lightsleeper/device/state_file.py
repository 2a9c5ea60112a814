"""A training state in a file of two slots: killed at any moment, it holds the last state that was saved whole."""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from lightsleeper.device.checkpoint import CheckpointStatus, LoadedCheckpoint, SlotLayout, load_checkpoint, slot_parts
from lightsleeper.errors import InputError, LightsleeperError

__all__ = ["StateFile"]

_PAGE_BYTES = 4096


class StateFile:
    """The slots of `lightsleeper.device.checkpoint` in a file, held by one process at a time.

    Args:
        path: of the file; made where it is not there.
        model_version: of the model whose state it holds.
        state_bytes: of a state.

    Attributes:
        loaded: what the file held.

    Raises:
        InputError: it belongs to another model, is no such file, is held by another process, or cannot be written.
    """

    def __init__(self, path: Path, *, model_version: int, state_bytes: int) -> None:
        self.path = path
        self._version = model_version
        self._layout = SlotLayout.for_state(state_bytes, page_bytes=_PAGE_BYTES, write_bytes=1)
        size = 2 * self._layout.slot_bytes
        try:
            if not path.exists():
                _make(path, size)
            self._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise InputError(f"{path}: cannot be written ({error.strerror}); choose another --state") from error
        try:
            self._lock()
            held = os.fstat(self._descriptor).st_size
            area = os.pread(self._descriptor, size, 0)
            self.loaded = self._load(area, held == size, state_bytes)
        except BaseException:
            os.close(self._descriptor)
            raise
        self._sequence, self._next_slot = self.loaded.sequence, self.loaded.next_slot

    def save(self, state: bytes) -> None:
        """Write a state over the older one; when it returns, the state is on the disk.

        Raises:
            LightsleeperError: the disk does not take it; the state saved before stays.
        """
        start = self._next_slot * self._layout.slot_bytes
        parts = slot_parts(state, layout=self._layout, model_version=self._version, sequence=self._sequence + 1)
        try:
            for offset, data in parts:
                self._write(start + offset, data)
                os.fdatasync(self._descriptor)
        except OSError as error:
            raise LightsleeperError(
                f"{self.path}: a checkpoint cannot be written ({error.strerror}); the one before is kept"
            ) from error
        self._sequence = (self._sequence + 1) % 2**32
        self._next_slot = 1 - self._next_slot

    def close(self) -> None:
        """Let other processes hold the file."""
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _lock(self) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"{self.path}: another process trains with this state; end it, or give another --state"
            ) from error

    def _load(self, area: bytes, right_size: bool, state_bytes: int) -> LoadedCheckpoint:
        if right_size:
            loaded = load_checkpoint(area, layout=self._layout, model_version=self._version, state_bytes=state_bytes)
            if loaded.status == CheckpointStatus.CORRUPT:
                raise InputError(f"{self.path}: no state in it is whole; restore the file, or remove it to begin anew")
            if loaded.status != CheckpointStatus.WRONG_MODEL:
                return loaded
        raise InputError(
            f"{self.path}: holds no state of this model (version {self._version:08x}); "
            "give the library that it was trained with, or another --state"
        )

    def _write(self, offset: int, data: bytes) -> None:
        view = memoryview(data)
        while view:
            written = os.pwrite(self._descriptor, view, offset)
            view, offset = view[written:], offset + written


def _make(path: Path, size: int) -> None:
    """An empty area appears whole or not at all."""
    beside = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with beside.open("wb") as file:
            file.write(b"\xff" * size)
            file.flush()
            os.fsync(file.fileno())
        beside.rename(path)
    finally:
        beside.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
