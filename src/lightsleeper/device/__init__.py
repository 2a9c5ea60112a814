"""From a small PyTorch network to C99 that infers and trains on the device, in a memory budget."""

from lightsleeper.device.emit import Source, emit
from lightsleeper.device.graph import Network, Trainable, read_network
from lightsleeper.device.host import HostModel, compile_host
from lightsleeper.device.log_mel import LogMelSource, emit_log_mel
from lightsleeper.device.plan import Plan, plan_device
from lightsleeper.device.rule import Rule

__all__ = [
    "HostModel",
    "LogMelSource",
    "Network",
    "Plan",
    "Rule",
    "Source",
    "Trainable",
    "compile_host",
    "emit",
    "emit_log_mel",
    "plan_device",
    "read_network",
]
