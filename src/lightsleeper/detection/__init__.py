"""Scores to wake events, and how good they are: recall, false wakes per hour with intervals, latency, curves.

Needs numpy and scipy only; knows arrays of times and scores and no sensor.
"""

from lightsleeper.detection.curves import (
    OperatingCurve,
    operating_curve,
    partial_area,
    threshold_for_budget,
    threshold_for_recall,
)
from lightsleeper.detection.decision import Decision
from lightsleeper.detection.evaluate import DetectionFigures, Stream, evaluate
from lightsleeper.detection.events import Matches, attribute_wakes, match_wakes
from lightsleeper.detection.intervals import (
    combined_rate_interval,
    poisson_rate_interval,
    wilson_interval,
    zero_count_upper_bound,
)

__all__ = [
    "Decision",
    "DetectionFigures",
    "Matches",
    "OperatingCurve",
    "Stream",
    "attribute_wakes",
    "combined_rate_interval",
    "evaluate",
    "match_wakes",
    "operating_curve",
    "partial_area",
    "poisson_rate_interval",
    "threshold_for_budget",
    "threshold_for_recall",
    "wilson_interval",
    "zero_count_upper_bound",
]
