"""The device learns while it rests: C99 that trains, checkpoints that survive power failures."""

from lightsleeper.device.checkpoint import (
    CheckpointStatus,
    LoadedCheckpoint,
    SlotLayout,
    load_checkpoint,
    slot_parts,
    write_checkpoint_c,
)

__all__ = [
    "CheckpointStatus",
    "LoadedCheckpoint",
    "SlotLayout",
    "load_checkpoint",
    "slot_parts",
    "write_checkpoint_c",
]
