"""From a small PyTorch network to C99 that infers and trains on the device, in a memory budget."""

from lightsleeper.device.emit import Source, emit
from lightsleeper.device.emit_int8 import Int8Source, emit_int8
from lightsleeper.device.graph import Network, Trainable, read_network
from lightsleeper.device.host import HostModel, compile_host
from lightsleeper.device.log_mel import LogMelSource, emit_log_mel
from lightsleeper.device.plan import Plan, plan_device
from lightsleeper.device.quantize import QuantizedNetwork, infer_quantized, quantize
from lightsleeper.device.rule import Rule

__all__ = [
    "HostModel",
    "Int8Source",
    "LogMelSource",
    "Network",
    "Plan",
    "QuantizedNetwork",
    "Rule",
    "Source",
    "Trainable",
    "compile_host",
    "emit",
    "emit_int8",
    "emit_log_mel",
    "infer_quantized",
    "plan_device",
    "quantize",
    "read_network",
]
