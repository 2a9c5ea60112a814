"""The device learns while it rests: C99 that trains, checkpoints that survive power failures, training in idle time.

What is offered here is imported when it is first asked for, as training on a device has no memory for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightsleeper.device.beside import BesideRow, bench_idle
    from lightsleeper.device.budget import Budget, Limits, parse_bytes, parse_power_w, parse_share
    from lightsleeper.device.checkpoint import (
        CheckpointStatus,
        LoadedCheckpoint,
        SlotLayout,
        load_checkpoint,
        slot_parts,
        write_checkpoint_c,
    )
    from lightsleeper.device.idle import IdleReport, train_idle
    from lightsleeper.device.library import TrainerLibrary, build_library
    from lightsleeper.device.state_file import StateFile

__all__ = [
    "BesideRow",
    "Budget",
    "CheckpointStatus",
    "IdleReport",
    "Limits",
    "LoadedCheckpoint",
    "SlotLayout",
    "StateFile",
    "TrainerLibrary",
    "bench_idle",
    "build_library",
    "load_checkpoint",
    "parse_bytes",
    "parse_power_w",
    "parse_share",
    "slot_parts",
    "train_idle",
    "write_checkpoint_c",
]

_MODULES = {
    "beside": ("BesideRow", "bench_idle"),
    "budget": ("Budget", "Limits", "parse_bytes", "parse_power_w", "parse_share"),
    "checkpoint": (
        "CheckpointStatus",
        "LoadedCheckpoint",
        "SlotLayout",
        "load_checkpoint",
        "slot_parts",
        "write_checkpoint_c",
    ),
    "idle": ("IdleReport", "train_idle"),
    "library": ("TrainerLibrary", "build_library"),
    "state_file": ("StateFile",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
