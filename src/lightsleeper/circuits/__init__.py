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
from lightsleeper.circuits.built import Built, build
from lightsleeper.circuits.calibration import Factory
from lightsleeper.circuits.chip import Chip
from lightsleeper.circuits.columns import MOST_COLUMNS
from lightsleeper.circuits.controlled_stream import GainControlledStream
from lightsleeper.circuits.decision import RegenerativeComparator, SlopeIntegrator
from lightsleeper.circuits.detectors import AdaptiveDetector, PeakDetector
from lightsleeper.circuits.filters import C4BandPass, GmCFilter
from lightsleeper.circuits.frontend import FrontEnd
from lightsleeper.circuits.gain_control import AutomaticGainControl, GainStage
from lightsleeper.circuits.gain_trace import GainTrace, calibrated
from lightsleeper.circuits.linear_bank import LinearBank
from lightsleeper.circuits.mismatch import EFFECTS, Mismatch
from lightsleeper.circuits.ota import Ota
from lightsleeper.circuits.rates import CONTROL_RATE_HZ
from lightsleeper.circuits.ratio import LogRatio
from lightsleeper.circuits.stream import FrontEndStream
from lightsleeper.circuits.systematic import FilterErrors
from lightsleeper.circuits.tanh_neuron import Neuron
from lightsleeper.circuits.trim import Trim, TrimRange

__all__ = [
    "CONTROL_RATE_HZ",
    "EFFECTS",
    "MOST_COLUMNS",
    "AdaptiveDetector",
    "Amplifier",
    "AutomaticGainControl",
    "Block",
    "Built",
    "C4BandPass",
    "Chip",
    "Comparator",
    "Compressor",
    "EnvelopeDetectors",
    "Factory",
    "FilterBank",
    "FilterErrors",
    "FrontEnd",
    "FrontEndStream",
    "GainControlledStream",
    "GainStage",
    "GainTrace",
    "GmCFilter",
    "Integrator",
    "LinearBank",
    "LinearBlock",
    "LogRatio",
    "Microphone",
    "Mismatch",
    "NeuralNetwork",
    "Neuron",
    "Ota",
    "PeakDetector",
    "Process",
    "RegenerativeComparator",
    "SlopeIntegrator",
    "Trim",
    "TrimRange",
    "build",
    "calibrated",
    "simulate_block",
]
