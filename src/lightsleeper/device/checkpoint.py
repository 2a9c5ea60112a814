"""Checkpoints that survive a power failure: the readable reference of ``c/ls_checkpoint.c``, and that C source.

An area of flash (or a file) holds two slots, written by turns. A slot begins with a record of 24 bytes, little-endian
words: magic, model version, sequence number, bytes of the state, CRC-32 of the state, CRC-32 of the record. The state
follows at the next multiple of the write unit. The record is written last, so a save that was cut off does not count.
"""

import enum
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

from lightsleeper.errors import InputError

__all__ = ["CheckpointStatus", "LoadedCheckpoint", "SlotLayout", "load_checkpoint", "slot_parts", "write_checkpoint_c"]

RECORD_BYTES = 24
_MAGIC = int.from_bytes(b"LSC1", "little")
_RECORD = struct.Struct("<6I")
_LARGEST_WRITE_BYTES = 32
_CHUNK_BYTES = 256
_C_SOURCES = Path(__file__).with_name("c")


class CheckpointStatus(enum.IntEnum):
    """What was found; the values are those of ``ls_checkpoint_status``."""

    OK = 0
    FALLBACK = 1
    """Loaded, but the other slot is damaged and may have held a newer state."""
    NONE = 2
    """Nothing was ever saved."""
    CORRUPT = 3
    """No slot holds a whole state, and the area is not blank."""
    WRONG_MODEL = 4
    """The newest state is of another model version or size."""


@dataclass(frozen=True, kw_only=True)
class SlotLayout:
    """How an area of flash or a file is divided.

    Args:
        page_bytes: what is erased at once: a multiple of 256, or a power of two below.
        write_bytes: what is programmed at once: a power of two from 1 to 32, at most a page.
        slot_pages: pages of one slot; the area has twice as many.

    Raises:
        InputError: a number breaks these rules.
    """

    page_bytes: int
    write_bytes: int
    slot_pages: int

    def __post_init__(self) -> None:
        unit, page = self.write_bytes, self.page_bytes
        if not (0 < unit <= _LARGEST_WRITE_BYTES and unit & (unit - 1) == 0):
            raise InputError(f"write_bytes is {unit}: give a power of two from 1 to {_LARGEST_WRITE_BYTES}")
        small = 0 < page <= _CHUNK_BYTES and page & (page - 1) == 0
        if page < unit or not (small or page % _CHUNK_BYTES == 0):
            raise InputError(
                f"page_bytes is {page}: give a multiple of {_CHUNK_BYTES}, or a power of two below, "
                f"and at least write_bytes ({unit})"
            )
        if self.slot_pages < 1 or self.slot_bytes < self.state_offset:
            raise InputError(f"slot_pages is {self.slot_pages}: give at least {-(-self.state_offset // page)}")

    @classmethod
    def for_state(cls, state_bytes: int, *, page_bytes: int, write_bytes: int) -> "SlotLayout":
        """Return the smallest layout that holds a state."""
        probe = cls(page_bytes=page_bytes, write_bytes=write_bytes, slot_pages=RECORD_BYTES + _LARGEST_WRITE_BYTES)
        needed = probe.state_offset + _rounded(state_bytes, write_bytes)
        return cls(page_bytes=page_bytes, write_bytes=write_bytes, slot_pages=-(-needed // page_bytes))

    @property
    def slot_bytes(self) -> int:
        """Bytes of one slot."""
        return self.page_bytes * self.slot_pages

    @property
    def state_offset(self) -> int:
        """Where the state begins in its slot, bytes."""
        return _rounded(RECORD_BYTES, self.write_bytes)

    @property
    def capacity_bytes(self) -> int:
        """Largest state that fits."""
        return (self.slot_bytes - self.state_offset) // self.write_bytes * self.write_bytes


@dataclass(frozen=True, kw_only=True)
class LoadedCheckpoint:
    """What an area holds.

    Attributes:
        status: what was found.
        state: bytes of the newest whole state; None unless the status is OK or FALLBACK.
        sequence: number of the newest whole state, also of another model; 0 where there is none.
        next_slot: 0 or 1, where the next save goes.
    """

    status: CheckpointStatus
    state: bytes | None
    sequence: int
    next_slot: int


@dataclass(frozen=True)
class _Slot:
    blank: bool
    model_version: int | None = None
    """None where the record does not match its own CRC; so are the next two."""
    sequence: int | None = None
    state: bytes | None = None
    """None where the state does not match its CRC."""


def slot_parts(
    state: bytes, *, layout: SlotLayout, model_version: int, sequence: int
) -> tuple[tuple[int, bytes], tuple[int, bytes]]:
    """Return what a save writes, as (offset in the slot, bytes): the state, then the record that makes it count.

    Raises:
        InputError: the state does not fit; says by how much.
    """
    if len(state) > layout.capacity_bytes:
        raise InputError(
            f"a state of {len(state):,} bytes does not fit a slot of {layout.capacity_bytes:,}: "
            f"{len(state) - layout.capacity_bytes:,} bytes too many; give more slot_pages"
        )
    words = (_MAGIC, model_version, sequence % 2**32, len(state), zlib.crc32(state))
    head = struct.pack("<5I", *words)
    record = head + struct.pack("<I", zlib.crc32(head))
    return (layout.state_offset, _filled(state, layout)), (0, _filled(record, layout))


def load_checkpoint(area: bytes, *, layout: SlotLayout, model_version: int, state_bytes: int) -> LoadedCheckpoint:
    """Find the newest whole state in an area of two slots.

    Raises:
        InputError: the area is shorter than two slots.
    """
    if len(area) < 2 * layout.slot_bytes:
        raise InputError(f"the area has {len(area):,} bytes: two slots take {2 * layout.slot_bytes:,}")
    slots = [_read_slot(area[n * layout.slot_bytes : (n + 1) * layout.slot_bytes], layout) for n in (0, 1)]
    whole = [n for n in (0, 1) if slots[n].state is not None]
    if not whole:
        status = CheckpointStatus.NONE if slots[0].blank and slots[1].blank else CheckpointStatus.CORRUPT
        return LoadedCheckpoint(status=status, state=None, sequence=0, next_slot=0)
    newest = whole[0]
    if len(whole) == 2 and _newer(slots[1].sequence, slots[0].sequence):
        newest = 1
    slot, other = slots[newest], slots[1 - newest]
    state = slot.state
    assert slot.sequence is not None
    assert state is not None
    status = CheckpointStatus.OK
    if slot.model_version != model_version or len(state) != state_bytes:
        status, state = CheckpointStatus.WRONG_MODEL, None
    elif other.state is None and not other.blank and (other.sequence is None or _newer(other.sequence, slot.sequence)):
        status = CheckpointStatus.FALLBACK
    return LoadedCheckpoint(status=status, state=state, sequence=slot.sequence, next_slot=1 - newest)


def write_checkpoint_c(folder: Path) -> list[Path]:
    """Write the C of the checkpoints and of the order of samples, which goes on with them, into a folder of firmware.

    Returns:
        Paths of ``ls_checkpoint.h``, ``ls_checkpoint.c``, ``ls_order.h`` and ``ls_order.c``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name in ("ls_checkpoint.h", "ls_checkpoint.c", "ls_order.h", "ls_order.c"):
        path = folder / name
        path.write_bytes((_C_SOURCES / name).read_bytes())
        written.append(path)
    return written


def _rounded(count: int, unit: int) -> int:
    return -(-count // unit) * unit


def _filled(data: bytes, layout: SlotLayout) -> bytes:
    return data + b"\xff" * (-len(data) % layout.write_bytes)


def _newer(sequence: int | None, than: int | None) -> bool:
    """Sequence numbers wrap round."""
    assert sequence is not None
    assert than is not None
    return 0 < (sequence - than) % 2**32 < 2**31


def _read_slot(data: bytes, layout: SlotLayout) -> _Slot:
    head = data[:RECORD_BYTES]
    magic, model_version, sequence, length, state_crc, record_crc = _RECORD.unpack(head)
    if magic != _MAGIC or length > layout.capacity_bytes or zlib.crc32(head[:-4]) != record_crc:
        return _Slot(blank=head == b"\xff" * RECORD_BYTES)
    state = data[layout.state_offset : layout.state_offset + length]
    return _Slot(False, model_version, sequence, state if zlib.crc32(state) == state_crc else None)
