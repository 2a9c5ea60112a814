"""The first stage in SPICE: netlists at two levels, ngspice as a program, and the simulator held to both."""

from lightsleeper.circuits.spice.comparison import Overlay, Row, Verification
from lightsleeper.circuits.spice.engine import SpiceError, engine_version, run_ngspice
from lightsleeper.circuits.spice.export import write_netlist
from lightsleeper.circuits.spice.filter_errors import identify_filters
from lightsleeper.circuits.spice.identification import OtaParameters, identify_ota
from lightsleeper.circuits.spice.raw_file import Plot, read_raw
from lightsleeper.circuits.spice.transistors import OtaKind
from lightsleeper.circuits.spice.verification import LEVELS_DB, verify_frontend

__all__ = [
    "LEVELS_DB",
    "OtaKind",
    "OtaParameters",
    "Overlay",
    "Plot",
    "Row",
    "SpiceError",
    "Verification",
    "engine_version",
    "identify_filters",
    "identify_ota",
    "read_raw",
    "run_ngspice",
    "verify_frontend",
    "write_netlist",
]
