"""Matching wakes to events: hits, late hits, false wakes and their latency.

A hit lies between onset and end + tolerance. A wake within `late_s` after that is late: neither a hit nor false. Every
other wake is false. Several wakes in one event are one hit and none of them is false, so hits never exceed events.
Only the times of wakes are given, a burst counting by its first crossing: a burst that began before an onset and is
still active during the event does not hit it. That is the strict reading; a sensor that is always awake hits nothing.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lightsleeper.errors import InputError

__all__ = ["Matches", "attribute_wakes", "checked_events", "late_event", "match_wakes"]

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Matches:
    """Outcome for E events and W wakes.

    Attributes:
        hit: (E,), a wake lies in the event.
        late: (E,), no hit, but a wake in the late window behind it.
        wake_index: (E,), index of the first wake that hits, -1 without a hit.
        latency_s: (hits,), from onset to the first wake, in the order of the events that are hit.
        false_wakes_s: times of the wakes in no event and no late window.
    """

    hit: Flags
    late: Flags
    wake_index: Indices
    latency_s: Floats
    false_wakes_s: Floats


def match_wakes(
    wakes_s: NDArray[np.floating],
    onsets_s: NDArray[np.floating],
    ends_s: NDArray[np.floating],
    *,
    tolerance_s: float = 1.0,
    late_s: float = 4.0,
    other_onsets_s: NDArray[np.floating] | None = None,
) -> Matches:
    """Match wakes, shape (W,), to true events with onsets and ends, shape (E,), in s.

    A wake inside two overlapping events counts for the one with the later onset. A late window ends at the next event,
    and at the next of `other_onsets_s` (onsets of foreign sounds): whatever wakes from there on is not excused.

    Raises:
        InputError: times not finite or not one-dimensional, an end before its onset, a negative tolerance or window.
    """
    wakes = np.sort(_times("wakes_s", wakes_s))
    onsets, ends = checked_events(onsets_s, ends_s)
    event = attribute_wakes(wakes, onsets, ends, tolerance_s=tolerance_s)
    behind = late_event(wakes, onsets, ends, tolerance_s=tolerance_s, late_s=late_s, other_onsets_s=other_onsets_s)
    wake_index = np.full(onsets.size, -1, dtype=np.intp)
    hits, first = np.unique(event[event >= 0], return_index=True)
    wake_index[hits] = np.flatnonzero(event >= 0)[first]
    hit = wake_index >= 0
    late = np.zeros(onsets.size, dtype=np.bool_)
    late[behind[behind >= 0]] = True
    return Matches(
        hit=hit,
        late=late & ~hit,
        wake_index=wake_index,
        latency_s=wakes[wake_index[hit]] - onsets[hit],
        false_wakes_s=wakes[(event < 0) & (behind < 0)],
    )


def attribute_wakes(
    wakes_s: NDArray[np.floating],
    onsets_s: NDArray[np.floating],
    ends_s: NDArray[np.floating],
    *,
    tolerance_s: float = 1.0,
) -> Indices:
    """Index of the event whose [onset, end + tolerance] holds each wake, shape (W,); -1 = none, the bare floor.

    Of overlapping events the one with the latest onset is named.
    """
    wakes = _times("wakes_s", wakes_s)
    onsets, ends = checked_events(onsets_s, ends_s)
    _check_span("tolerance_s", tolerance_s)
    if onsets.size == 0:
        return np.full(wakes.size, -1, dtype=np.intp)
    order = np.argsort(onsets, kind="stable")
    limit = (ends + tolerance_s)[order]
    last_limit = np.maximum.accumulate(limit)
    position = np.searchsorted(onsets[order], wakes, side="right") - 1
    while True:
        outside = (position >= 0) & (wakes > limit[position])
        if not outside.any():
            return np.where(position >= 0, order[position], -1)
        # Walk back only where an earlier, longer event can still hold the wake.
        position[outside] = np.where(wakes > last_limit[position], -1, position - 1)[outside]


def late_event(
    wakes_s: NDArray[np.floating],
    onsets_s: NDArray[np.floating],
    ends_s: NDArray[np.floating],
    *,
    tolerance_s: float = 1.0,
    late_s: float = 4.0,
    other_onsets_s: NDArray[np.floating] | None = None,
) -> Indices:
    """Index of the event behind which each wake is late, shape (W,); -1 = not late, or inside an event."""
    wakes = _times("wakes_s", wakes_s)
    onsets, ends = checked_events(onsets_s, ends_s)
    _check_span("late_s", late_s)
    inside = attribute_wakes(wakes, onsets, ends, tolerance_s=tolerance_s) >= 0
    if onsets.size == 0:
        return np.full(wakes.size, -1, dtype=np.intp)
    limit = ends + tolerance_s
    order = np.argsort(limit, kind="stable")
    position = np.searchsorted(limit[order], wakes, side="left") - 1
    since = limit[order][position]
    late = (position >= 0) & ~inside & (wakes <= since + late_s)
    if other_onsets_s is not None:
        others = np.sort(_times("other_onsets_s", other_onsets_s))
        started = np.searchsorted(others, wakes, side="right") - np.searchsorted(others, since, side="right")
        late &= started <= 0
    return np.where(late, order[position], -1)


def checked_events(onsets_s: NDArray[np.floating], ends_s: NDArray[np.floating]) -> tuple[Floats, Floats]:
    """Onsets and ends as float arrays of one shape (E,); raises InputError where an end lies before its onset."""
    onsets, ends = _times("onsets_s", onsets_s), _times("ends_s", ends_s)
    if onsets.size != ends.size:
        raise InputError(f"{onsets.size} onsets but {ends.size} ends: give one end per onset")
    if (ends < onsets).any():
        index = int(np.argmax(ends < onsets))
        raise InputError(f"event {index} ends at {ends[index]} s, before its onset {onsets[index]} s: swap or drop it")
    return onsets, ends


def _times(name: str, values: NDArray[np.floating]) -> Floats:
    times = np.asarray(values, dtype=np.float64)
    if times.ndim != 1 or not np.isfinite(times).all():
        raise InputError(f"{name} must be a one-dimensional array of finite times in s")
    return times


def _check_span(name: str, seconds: float) -> None:
    if not (np.isfinite(seconds) and seconds >= 0):
        raise InputError(f"{name} is {seconds}: give a finite number of at least 0")
