"""Operating points at every exact threshold, and the choice of a threshold.

A burst begins at score i at exactly the thresholds above the highest level of the `rearm_samples` scores before it and
not above its own level. So each candidate start is one interval of thresholds, and counting intervals gives the
false wakes, the hits and the awake time of all thresholds in one pass. Merged bursts make false wakes fall again at
very low thresholds (wake_feasibility.md 7), so the choices search from the top.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d

from lightsleeper.detection.decision import Decision
from lightsleeper.detection.evaluate import Stream, check_floor, check_streams, floor_seconds
from lightsleeper.detection.events import attribute_wakes, late_event
from lightsleeper.errors import InputError

__all__ = ["OperatingCurve", "operating_curve", "partial_area", "threshold_for_budget", "threshold_for_recall"]

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]


@dataclass(frozen=True)
class OperatingCurve:
    """Operating points, shape (T,) each, thresholds descending; the first lies above every score.

    Recall and false wakes of a point hold for all thresholds from its own down to, not including, the next; the awake
    share is that at its own. `false_wakes_per_hour` is that of `evaluate`: at the stated density of foreign sounds.
    """

    thresholds: Floats
    recall: Floats
    false_wakes_per_hour: Floats
    awake_share: Floats

    def thinned(self, points: int) -> "OperatingCurve":
        """At most `points` of the exact operating points, evenly spaced by rank, both ends kept."""
        if points < 2:
            raise InputError(f"{points} points asked of a curve: ask for at least 2")
        keep = np.unique(np.linspace(0, self.thresholds.size - 1, points).round().astype(np.intp))
        return OperatingCurve(
            self.thresholds[keep], self.recall[keep], self.false_wakes_per_hour[keep], self.awake_share[keep]
        )

    def det(self) -> tuple[Floats, Floats]:
        """False wakes per hour, ascending, and miss rate of the detection error trade-off, shape (T,) each.

        The rate is the highest met on the way down to each threshold, so the merged bursts below do not fold it back.
        """
        return np.maximum.accumulate(self.false_wakes_per_hour), 1.0 - self.recall


@dataclass(frozen=True)
class _Intervals:
    """Intervals (low, high] of thresholds."""

    low: Floats
    high: Floats

    def select(self, chosen: NDArray[np.bool_]) -> "_Intervals":
        return _Intervals(self.low[chosen], self.high[chosen])

    def weight_at(self, thresholds: Floats, weights: Floats) -> Floats:
        """Sum of the weights of the intervals that hold each threshold."""
        return _weight_from(self.high, weights, thresholds) - _weight_from(self.low, weights, thresholds)

    def count_at(self, thresholds: Floats) -> Floats:
        return self.weight_at(thresholds, np.ones(self.low.size))


@dataclass(frozen=True)
class _Starts:
    """Where bursts of one stream start and end, at which thresholds, and what the starts mean."""

    starts: _Intervals
    starts_s: Floats
    stops: _Intervals
    stops_s: Floats
    hit_event: Indices
    foreign: NDArray[np.bool_]
    floor: NDArray[np.bool_]


def operating_curve(
    dense: Sequence[Stream],
    floor: Sequence[Stream] = (),
    *,
    decision: Decision | None = None,
    foreign_per_hour: float = 60.0,
    tolerance_s: float = 1.0,
    late_s: float = 4.0,
    points: int | None = None,
) -> OperatingCurve:
    """Recall, false wakes per hour and awake share at every threshold at which a wake can come or go.

    Streams and rates are those of `evaluate`, which gives the same figures at each threshold. `decision` states window,
    suppression and hysteresis (its threshold is not used); none means the defaults of `Decision`. `points` thins
    the result; without it all exact operating points are kept.

    Raises:
        InputError: as `evaluate`, or no wake event in the streams.
    """
    check_streams(dense, floor, foreign_per_hour=foreign_per_hour)
    events = sum(int(stream.wake.sum()) for stream in dense)
    if events == 0:
        raise InputError("no wake event in the streams: recall needs at least one")
    streams = (*dense, *floor)
    floor_hours = sum(floor_seconds(stream, tolerance_s=tolerance_s, late_s=late_s) for stream in streams) / 3600
    check_floor(floor_hours)
    rule = decision or Decision(threshold=0.0)
    parts = [_starts(stream, rule, tolerance_s=tolerance_s, late_s=late_s) for stream in streams]
    thresholds = _thresholds(parts)
    foreign_sounds = sum(int((~stream.wake).sum()) for stream in streams)
    weight = foreign_per_hour / foreign_sounds if foreign_sounds else 0.0
    hits, rate, awake_s = (np.zeros(thresholds.size) for _ in range(3))
    for part in parts:
        hits += _united(part).count_at(thresholds)
        rate += part.starts.select(part.foreign).count_at(thresholds) * weight
        rate += part.starts.select(part.floor).count_at(thresholds) / floor_hours
        awake_s += part.stops.weight_at(thresholds, part.stops_s) - part.starts.weight_at(thresholds, part.starts_s)
    duration_s = sum(stream.duration_s for stream in streams)
    curve = OperatingCurve(thresholds, hits / events, rate, awake_s / duration_s)
    return curve if points is None else curve.thinned(points)


def threshold_for_budget(curve: OperatingCurve, *, false_wakes_per_hour: float) -> float:
    """Lowest threshold, coming from the top, before the budget of false wakes per hour is first exceeded."""
    if not false_wakes_per_hour >= 0:
        raise InputError(f"budget is {false_wakes_per_hour} false wakes per hour: give at least 0")
    exceeded = np.maximum.accumulate(curve.false_wakes_per_hour) > false_wakes_per_hour
    within = int(np.argmax(exceeded)) if exceeded.any() else exceeded.size
    if within == 0:
        raise InputError("the curve starts above the budget of false wakes: give one that starts above every score")
    return float(curve.thresholds[within - 1])


def threshold_for_recall(curve: OperatingCurve, *, recall: float) -> float:
    """Highest threshold with at least that recall; raises InputError, naming the best recall, where none reaches it."""
    if not 0 < recall <= 1:
        raise InputError(f"recall wanted is {recall}: give a share above 0 and at most 1")
    reached = curve.recall >= recall
    if not reached.any():
        raise InputError(f"no threshold reaches recall {recall:g}: the best is {curve.recall.max():.3g}, ask for less")
    return float(curve.thresholds[int(np.argmax(reached))])


def partial_area(
    false_wakes_per_hour: NDArray[np.floating], miss_rate: NDArray[np.floating], *, max_per_hour: float
) -> float:
    """Area under miss rate over false wakes per hour, from 0 to `max_per_hour`; points joined by straight lines.

    Rates must not decrease (`OperatingCurve.det` gives them so). Outside the rates given, the miss rate of the
    nearest point holds. A constant miss rate m has the area m * max_per_hour.
    """
    rate, miss = np.asarray(false_wakes_per_hour, dtype=np.float64), np.asarray(miss_rate, dtype=np.float64)
    if rate.ndim != 1 or rate.shape != miss.shape or rate.size == 0:
        raise InputError(f"curve has shapes {rate.shape} and {miss.shape}: give two equal ones, (T,), T at least 1")
    if not (np.isfinite(rate).all() and np.isfinite(miss).all() and (np.diff(rate) >= 0).all() and rate[0] >= 0):
        raise InputError("false wakes per hour must be finite, not negative and not decrease: use OperatingCurve.det()")
    if not (np.isfinite(max_per_hour) and max_per_hour > 0):
        raise InputError(f"max_per_hour is {max_per_hour}: give a positive number")
    rate = np.concatenate(([0.0], rate, [max(max_per_hour, rate[-1])]))
    miss = np.concatenate(([miss[0]], miss, [miss[-1]]))
    inside = int(np.searchsorted(rate, max_per_hour, side="right"))
    # Between the last point inside and the next lies the cut; np.interp would pick either side of a vertical step.
    if inside < rate.size:
        share = (max_per_hour - rate[inside - 1]) / (rate[inside] - rate[inside - 1])
        cut = miss[inside - 1] + share * (miss[inside] - miss[inside - 1])
        rate, miss = np.append(rate[:inside], max_per_hour), np.append(miss[:inside], cut)
    return float(np.trapezoid(miss, rate))


def _starts(stream: Stream, decision: Decision, *, tolerance_s: float, late_s: float) -> _Starts:
    level = decision.level(stream.scores, rate_hz=stream.rate_hz)
    rearm = decision.rearm_samples(stream.rate_hz)
    start = _candidates(level, rearm=rearm)
    stop = _candidates(level[::-1], rearm=rearm)
    index, starts = start
    times_s = index / stream.rate_hz
    onsets_s, ends_s = stream.onsets_s[stream.wake], stream.ends_s[stream.wake]
    foreign_onsets_s, foreign_ends_s = stream.onsets_s[~stream.wake], stream.ends_s[~stream.wake]
    hit_event = attribute_wakes(times_s, onsets_s, ends_s, tolerance_s=tolerance_s)
    late = late_event(
        times_s, onsets_s, ends_s, tolerance_s=tolerance_s, late_s=late_s, other_onsets_s=foreign_onsets_s
    )
    false = (hit_event < 0) & (late < 0)
    in_foreign = attribute_wakes(times_s, foreign_onsets_s, foreign_ends_s, tolerance_s=tolerance_s) >= 0
    return _Starts(
        starts=starts,
        starts_s=times_s,
        stops=stop[1],
        stops_s=(level.size - stop[0]) / stream.rate_hz,
        hit_event=hit_event,
        foreign=false & in_foreign,
        floor=false & ~in_foreign,
    )


def _candidates(level: Floats, *, rearm: int) -> tuple[Indices, _Intervals]:
    # Highest level of the `rearm` scores before each one; before the stream nothing was active.
    window = min(rearm, level.size)
    before = np.full(level.size, -np.inf)
    before[1:] = maximum_filter1d(level, window, mode="constant", cval=-np.inf, origin=(window - 1) // 2)[:-1]
    index = np.flatnonzero(level > before)
    return index, _Intervals(before[index], level[index])


def _thresholds(parts: Sequence[_Starts]) -> Floats:
    breaks = np.unique(np.concatenate([edge for part in parts for edge in (part.starts.low, part.starts.high)]))
    finite = breaks[np.isfinite(breaks)]
    return np.append(finite, np.nextafter(finite[-1], np.inf))[::-1]


def _united(part: _Starts) -> _Intervals:
    """Thresholds at which an event is hit: the intervals of each event, overlaps joined so that none counts twice."""
    chosen = part.hit_event >= 0
    hits, event = part.starts.select(chosen), part.hit_event[chosen]
    if event.size == 0:
        return hits
    values, rank = np.unique(np.concatenate((hits.low, hits.high)), return_inverse=True)
    # Ranks shifted by event: one sorted line on which the events' intervals lie apart.
    low = rank[: event.size] + event * values.size
    high = rank[event.size :] + event * values.size
    order = np.argsort(low, kind="stable")
    low, reach = low[order], np.maximum.accumulate(high[order])
    opens = np.flatnonzero(np.concatenate(([True], low[1:] > reach[:-1])))
    closes = np.append(opens[1:] - 1, low.size - 1)
    return _Intervals(values[low[opens] % values.size], values[reach[closes] % values.size])


def _weight_from(edges: Floats, weights: Floats, thresholds: Floats) -> Floats:
    """Sum of the weights of the edges at or above each threshold."""
    order = np.argsort(edges)
    running = np.concatenate(([0.0], np.cumsum(weights[order])))
    total: Floats = running[-1] - running[np.searchsorted(edges[order], thresholds, side="left")]
    return total
