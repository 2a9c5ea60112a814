"""Analog blocks as physics: equations, compiled kernels and the whole first stage; useful alone."""

from lightsleeper.circuits.block import Block, LinearBlock, simulate_block
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
from lightsleeper.circuits.filters import C4BandPass, GmCFilter
from lightsleeper.circuits.frontend import FrontEnd
from lightsleeper.circuits.ota import Ota
from lightsleeper.circuits.rates import CONTROL_RATE_HZ
from lightsleeper.circuits.stream import FrontEndStream

__all__ = [
    "CONTROL_RATE_HZ",
    "MOST_COLUMNS",
    "Amplifier",
    "Block",
    "C4BandPass",
    "Comparator",
    "Compressor",
    "EnvelopeDetectors",
    "FilterBank",
    "FrontEnd",
    "FrontEndStream",
    "GmCFilter",
    "Integrator",
    "LinearBlock",
    "Microphone",
    "NeuralNetwork",
    "Ota",
    "Process",
    "simulate_block",
]
