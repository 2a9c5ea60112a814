"""Fit the wake stage through the circuit and the digital stage on what it lets through, with weight averaging."""

from lightsleeper.learning.augment import augment, piece_lengths_s
from lightsleeper.learning.circuit_stage import CircuitSettings, fit_circuit
from lightsleeper.learning.features import LogMel
from lightsleeper.learning.second_stage import (
    Examples,
    SecondStage,
    SecondStageSettings,
    fit_second_stage,
    score_windows,
    stage_windows,
)
from lightsleeper.learning.training import Curve
from lightsleeper.learning.wake_model import WakeNetwork, initial_frontend
from lightsleeper.learning.wake_stage import NetworkSettings, fit_network
from lightsleeper.learning.windows import (
    LEAD_S,
    LISTEN_S,
    TRAINING_RATE_HZ,
    Windows,
    cut_windows,
    floor_of,
    rows_for,
    scene_envelopes,
    scene_scores,
    training_scenes,
)

__all__ = [
    "LEAD_S",
    "LISTEN_S",
    "TRAINING_RATE_HZ",
    "CircuitSettings",
    "Curve",
    "Examples",
    "LogMel",
    "NetworkSettings",
    "SecondStage",
    "SecondStageSettings",
    "WakeNetwork",
    "Windows",
    "augment",
    "cut_windows",
    "fit_circuit",
    "fit_network",
    "fit_second_stage",
    "floor_of",
    "initial_frontend",
    "piece_lengths_s",
    "rows_for",
    "scene_envelopes",
    "scene_scores",
    "score_windows",
    "stage_windows",
    "training_scenes",
]
