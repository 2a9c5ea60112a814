"""Analog blocks as physics: equations, compiled kernels and the whole first stage; useful alone."""

from lightsleeper.circuits.blocks import (
    Amplifier,
    Comparator,
    Compressor,
    EnvelopeDetectors,
    FilterBank,
    Integrator,
    Microphone,
    NeuralNetwork,
    Process,
)
from lightsleeper.circuits.built import Built, build
from lightsleeper.circuits.calibration import calibrate
from lightsleeper.circuits.chip import Chip
from lightsleeper.circuits.columns import MOST_COLUMNS
from lightsleeper.circuits.frontend import FrontEnd
from lightsleeper.circuits.mismatch import EFFECTS, Mismatch
from lightsleeper.circuits.rates import CONTROL_RATE_HZ
from lightsleeper.circuits.stream import FrontEndStream
from lightsleeper.circuits.trim import Trim, TrimRange

__all__ = [
    "CONTROL_RATE_HZ",
    "EFFECTS",
    "MOST_COLUMNS",
    "Amplifier",
    "Built",
    "Chip",
    "Comparator",
    "Compressor",
    "EnvelopeDetectors",
    "FilterBank",
    "FrontEnd",
    "FrontEndStream",
    "Integrator",
    "Microphone",
    "Mismatch",
    "NeuralNetwork",
    "Process",
    "Trim",
    "TrimRange",
    "build",
    "calibrate",
]
