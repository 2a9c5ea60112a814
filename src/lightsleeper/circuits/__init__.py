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
from lightsleeper.circuits.columns import MOST_COLUMNS
from lightsleeper.circuits.frontend import FrontEnd
from lightsleeper.circuits.rates import CONTROL_RATE_HZ
from lightsleeper.circuits.stream import FrontEndStream

__all__ = [
    "CONTROL_RATE_HZ",
    "MOST_COLUMNS",
    "Amplifier",
    "Comparator",
    "Compressor",
    "EnvelopeDetectors",
    "FilterBank",
    "FrontEnd",
    "FrontEndStream",
    "Integrator",
    "Microphone",
    "NeuralNetwork",
    "Process",
]
