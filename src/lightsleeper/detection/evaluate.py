"""Detection figures of a decision on streams with known events: the standard scene's report."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightsleeper.detection.decision import Decision
from lightsleeper.detection.events import Matches, attribute_wakes, checked_events, match_wakes
from lightsleeper.detection.intervals import combined_rate_interval, poisson_rate_interval, wilson_interval
from lightsleeper.errors import InputError

__all__ = ["DetectionFigures", "Stream", "evaluate"]

Interval = tuple[float, float]


@dataclass(frozen=True)
class Stream:
    """Scores of a stream and the events known in it; without events it is bare floor.

    Attributes:
        scores: (N,), score k stands for the instant k / rate_hz.
        rate_hz: scores per second.
        onsets_s: (E,), onset of every event, wake events and foreign sounds alike.
        ends_s: (E,), their ends.
        labels: (E,), their labels.
        wake: (E,), true for wake events, false for foreign sounds.
    """

    scores: NDArray[np.float64]
    rate_hz: float
    onsets_s: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    ends_s: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    labels: NDArray[np.str_] = field(default_factory=lambda: np.empty(0, dtype=np.str_))
    wake: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, dtype=np.bool_))

    def __post_init__(self) -> None:
        if not (math.isfinite(self.rate_hz) and self.rate_hz > 0):
            raise InputError(f"score rate is {self.rate_hz} Hz: give a positive number")
        onsets, ends = checked_events(self.onsets_s, self.ends_s)
        labels, wake = np.asarray(self.labels, dtype=np.str_), np.asarray(self.wake, dtype=np.bool_)
        if not labels.shape == wake.shape == onsets.shape:
            raise InputError(f"{onsets.size} events but {labels.size} labels and {wake.size} wake marks: give one each")
        scores = np.asarray(self.scores, dtype=np.float64)
        if onsets.size and not (onsets.min() >= 0 and onsets.max() < scores.size / self.rate_hz):
            raise InputError(f"an event begins outside the stream's {scores.size / self.rate_hz:g} s: drop it")
        values = {"scores": scores, "onsets_s": onsets, "ends_s": ends, "labels": labels, "wake": wake}
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def duration_s(self) -> float:
        """Length of the stream in s."""
        return self.scores.size / self.rate_hz


@dataclass(frozen=True)
class DetectionFigures:
    """What a decision does on the standard scene; rates per hour, intervals 95 %.

    `false_wakes_per_hour` is the figure at the stated density of foreign sounds: false wakes per foreign sound times
    sounds per hour, plus the rate on the bare floor, with MOVER limits. Bare floor is the floor streams and, pooled
    with them, the time in the dense streams outside every event and late window. The sum charges the whole hour at the
    floor rate, also the part that foreign sounds fill: slightly too many rather than too few.
    `false_wakes` counts all streams as they were played. `by_label` gives (false wakes, sounds) per foreign label.
    A figure that nothing was measured for (recall without events, latency without hits) is nan.
    """

    events: int
    hits: int
    late_hits: int
    recall: float
    recall_interval: Interval
    hours: float
    false_wakes: int
    false_wakes_per_hour: float
    false_wakes_per_hour_interval: Interval
    foreign_per_hour: float
    foreign_sounds: int
    false_wakes_per_100_foreign: float
    false_wakes_per_100_foreign_interval: Interval
    floor_hours: float
    floor_wakes: int
    false_wakes_per_hour_floor: float
    false_wakes_per_hour_floor_interval: Interval
    latency_median_s: float
    latency_p95_s: float
    awake_share: float
    by_label: dict[str, tuple[int, int]]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; figures that nothing was measured for become None."""
        return {name: _plain(value) for name, value in asdict(self).items()}


@dataclass(frozen=True)
class _Outcome:
    """One stream under one decision."""

    matches: Matches
    wakes_per_foreign: NDArray[np.intp]
    floor_wakes: int
    floor_s: float
    awake_s: float


def evaluate(
    dense: Sequence[Stream],
    floor: Sequence[Stream],
    decision: Decision,
    *,
    foreign_per_hour: float = 60.0,
    tolerance_s: float = 1.0,
    late_s: float = 4.0,
) -> DetectionFigures:
    """Figures of `decision` on dense streams (wake events, foreign sounds) and bare-floor streams (may be empty).

    Raises:
        InputError: no stream; events in a floor stream; no foreign sound although `foreign_per_hour` is above 0; no
            bare floor anywhere.
    """
    check_streams(dense, floor, foreign_per_hour=foreign_per_hour)
    streams = (*dense, *floor)
    outcomes = [_outcome(stream, decision, tolerance_s=tolerance_s, late_s=late_s) for stream in streams]
    events = sum(int(stream.wake.sum()) for stream in streams)
    hits = sum(int(outcome.matches.hit.sum()) for outcome in outcomes)
    latency_s = np.concatenate([outcome.matches.latency_s for outcome in outcomes])
    duration_s = sum(stream.duration_s for stream in streams)
    foreign_sounds = sum(int((~stream.wake).sum()) for stream in streams)
    foreign_wakes = sum(int(outcome.wakes_per_foreign.sum()) for outcome in outcomes)
    floor_wakes = sum(outcome.floor_wakes for outcome in outcomes)
    floor_hours = sum(outcome.floor_s for outcome in outcomes) / 3600
    check_floor(floor_hours)
    parts = [(foreign_wakes, foreign_sounds, foreign_per_hour)] if foreign_sounds else []
    rate, low, high = combined_rate_interval([*parts, (floor_wakes, floor_hours, 1.0)])
    per_foreign = poisson_rate_interval(foreign_wakes, foreign_sounds) if foreign_sounds else (math.nan, math.nan)
    return DetectionFigures(
        events=events,
        hits=hits,
        late_hits=sum(int(outcome.matches.late.sum()) for outcome in outcomes),
        recall=hits / events if events else math.nan,
        recall_interval=wilson_interval(hits, events) if events else (math.nan, math.nan),
        hours=duration_s / 3600,
        false_wakes=foreign_wakes + floor_wakes,
        false_wakes_per_hour=rate,
        false_wakes_per_hour_interval=(low, high),
        foreign_per_hour=foreign_per_hour,
        foreign_sounds=foreign_sounds,
        false_wakes_per_100_foreign=100 * foreign_wakes / foreign_sounds if foreign_sounds else math.nan,
        false_wakes_per_100_foreign_interval=(100 * per_foreign[0], 100 * per_foreign[1]),
        floor_hours=floor_hours,
        floor_wakes=floor_wakes,
        false_wakes_per_hour_floor=floor_wakes / floor_hours,
        false_wakes_per_hour_floor_interval=poisson_rate_interval(floor_wakes, floor_hours),
        latency_median_s=float(np.median(latency_s)) if hits else math.nan,
        latency_p95_s=float(np.percentile(latency_s, 95)) if hits else math.nan,
        awake_share=sum(outcome.awake_s for outcome in outcomes) / duration_s,
        by_label=_by_label(streams, outcomes),
    )


def check_streams(dense: Sequence[Stream], floor: Sequence[Stream], *, foreign_per_hour: float) -> None:
    """Raise InputError where the streams cannot give the figure at `foreign_per_hour`."""
    if not (math.isfinite(foreign_per_hour) and foreign_per_hour >= 0):
        raise InputError(f"foreign_per_hour is {foreign_per_hour}: give a finite number of at least 0")
    if not dense and not floor:
        raise InputError("no streams to evaluate: give at least one")
    if any(stream.onsets_s.size for stream in floor):
        raise InputError("a floor stream holds events: give it among the dense streams")
    if foreign_per_hour > 0 and not any((~stream.wake).any() for stream in dense):
        raise InputError(
            "no foreign sound in the streams: add some, or pass foreign_per_hour=0 for the bare floor alone"
        )


def check_floor(floor_hours: float) -> None:
    """Raise InputError where no bare floor was measured."""
    if floor_hours <= 0:
        raise InputError("events fill the streams without a gap: add a floor stream to measure the rate on bare floor")


def floor_seconds(stream: Stream, *, tolerance_s: float, late_s: float) -> float:
    """Time of a stream outside every event, its tolerance and the late windows of wake events, in s."""
    stops = stream.ends_s + tolerance_s
    foreign = np.sort(stream.onsets_s[~stream.wake])
    behind = stops[stream.wake]
    following = np.append(foreign, np.inf)[np.searchsorted(foreign, behind, side="right")]
    starts = np.concatenate((stream.onsets_s, behind))
    stops = np.concatenate((stops, np.minimum(behind + late_s, following)))
    order = np.argsort(starts)
    starts, stops = starts[order], np.minimum(np.maximum.accumulate(stops[order]), stream.duration_s)
    # What an interval adds to the union lies behind all stops before it.
    covered_from = np.maximum(starts, np.concatenate(([0.0], stops[:-1])))
    return stream.duration_s - float(np.maximum(stops - covered_from, 0.0).sum())


def _outcome(stream: Stream, decision: Decision, *, tolerance_s: float, late_s: float) -> _Outcome:
    spans = decision.awake_spans(stream.scores, rate_hz=stream.rate_hz)
    foreign_onsets_s, foreign_ends_s = stream.onsets_s[~stream.wake], stream.ends_s[~stream.wake]
    matches = match_wakes(
        spans[:, 0],
        stream.onsets_s[stream.wake],
        stream.ends_s[stream.wake],
        tolerance_s=tolerance_s,
        late_s=late_s,
        other_onsets_s=foreign_onsets_s,
    )
    source = attribute_wakes(matches.false_wakes_s, foreign_onsets_s, foreign_ends_s, tolerance_s=tolerance_s)
    return _Outcome(
        matches=matches,
        wakes_per_foreign=np.bincount(source[source >= 0], minlength=foreign_onsets_s.size),
        floor_wakes=int((source < 0).sum()),
        floor_s=floor_seconds(stream, tolerance_s=tolerance_s, late_s=late_s),
        awake_s=float((spans[:, 1] - spans[:, 0]).sum()),
    )


def _by_label(streams: Sequence[Stream], outcomes: Sequence[_Outcome]) -> dict[str, tuple[int, int]]:
    wakes: Counter[str] = Counter()
    sounds: Counter[str] = Counter()
    for stream, outcome in zip(streams, outcomes, strict=True):
        for label, count in zip(stream.labels[~stream.wake].tolist(), outcome.wakes_per_foreign.tolist(), strict=True):
            wakes[label] += count
            sounds[label] += 1
    return {label: (wakes[label], sounds[label]) for label in sorted(sounds)}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
