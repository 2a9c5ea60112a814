"""The first stage in SPICE: netlists at two levels, ngspice as a program, and the simulator held to both."""

from lightsleeper.circuits.spice.engine import SpiceError, engine_version, run_ngspice
from lightsleeper.circuits.spice.export import write_netlist
from lightsleeper.circuits.spice.identification import OtaParameters, identify_ota
from lightsleeper.circuits.spice.raw_file import Plot, read_raw
from lightsleeper.circuits.spice.transistors import OtaKind

__all__ = [
    "OtaKind",
    "OtaParameters",
    "Plot",
    "SpiceError",
    "engine_version",
    "identify_ota",
    "read_raw",
    "run_ngspice",
    "write_netlist",
]
