"""The device learns while it rests: a small PyTorch network to C99 that infers and trains, in a memory budget;
checkpoints that survive power failures; training in the idle time of a Linux device.

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
    from lightsleeper.device.graph import Network, Trainable, read_network
    from lightsleeper.device.host import HostModel, compile_host
    from lightsleeper.device.idle import IdleReport, train_idle
    from lightsleeper.device.library import TrainerLibrary, build_library
    from lightsleeper.device.log_mel import LogMelSource, emit_log_mel
    from lightsleeper.device.plan import Plan, plan_device
    from lightsleeper.device.quantization import QuantizedNetwork, infer_quantized, quantize
    from lightsleeper.device.rule import Rule
    from lightsleeper.device.source import Source, emit
    from lightsleeper.device.source_int8 import Int8Source, emit_int8
    from lightsleeper.device.state_file import StateFile

__all__ = [
    "BesideRow",
    "Budget",
    "CheckpointStatus",
    "HostModel",
    "IdleReport",
    "Int8Source",
    "Limits",
    "LoadedCheckpoint",
    "LogMelSource",
    "Network",
    "Plan",
    "QuantizedNetwork",
    "Rule",
    "SlotLayout",
    "Source",
    "StateFile",
    "Trainable",
    "TrainerLibrary",
    "bench_idle",
    "build_library",
    "compile_host",
    "emit",
    "emit_int8",
    "emit_log_mel",
    "infer_quantized",
    "load_checkpoint",
    "parse_bytes",
    "parse_power_w",
    "parse_share",
    "plan_device",
    "quantize",
    "read_network",
    "slot_parts",
    "train_idle",
    "write_checkpoint_c",
]

_MODULES = {
    "graph": ("Network", "Trainable", "read_network"),
    "host": ("HostModel", "compile_host"),
    "log_mel": ("LogMelSource", "emit_log_mel"),
    "plan": ("Plan", "plan_device"),
    "quantization": ("QuantizedNetwork", "infer_quantized", "quantize"),
    "rule": ("Rule",),
    "source": ("Source", "emit"),
    "source_int8": ("Int8Source", "emit_int8"),
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
