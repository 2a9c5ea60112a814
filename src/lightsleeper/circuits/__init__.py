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
from lightsleeper.circuits.controlled_stream import GainControlledStream
from lightsleeper.circuits.decision import RegenerativeComparator, SlopeIntegrator
from lightsleeper.circuits.detectors import AdaptiveDetector, PeakDetector
from lightsleeper.circuits.filters import C4BandPass, GmCFilter
from lightsleeper.circuits.frontend import FrontEnd
from lightsleeper.circuits.gain_control import AutomaticGainControl, GainStage
from lightsleeper.circuits.gain_trace import GainTrace, calibrated
from lightsleeper.circuits.ota import Ota
from lightsleeper.circuits.rates import CONTROL_RATE_HZ
from lightsleeper.circuits.ratio import LogRatio
from lightsleeper.circuits.stream import FrontEndStream
from lightsleeper.circuits.tanh_neuron import Neuron

__all__ = [
    "CONTROL_RATE_HZ",
    "MOST_COLUMNS",
    "AdaptiveDetector",
    "Amplifier",
    "AutomaticGainControl",
    "Block",
    "C4BandPass",
    "Comparator",
    "Compressor",
    "EnvelopeDetectors",
    "FilterBank",
    "FrontEnd",
    "FrontEndStream",
    "GainControlledStream",
    "GainStage",
    "GainTrace",
    "GmCFilter",
    "Integrator",
    "LinearBlock",
    "LogRatio",
    "Microphone",
    "NeuralNetwork",
    "Neuron",
    "Ota",
    "PeakDetector",
    "Process",
    "RegenerativeComparator",
    "SlopeIntegrator",
    "calibrated",
    "simulate_block",
]
