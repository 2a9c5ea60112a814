"""Streams of validation and test: what is mixed, and the scores that a first stage gives it."""

import dataclasses
from functools import cache

import numpy as np
import pytest

from lightsleeper.circuits import CONTROL_RATE_HZ, FrontEnd
from lightsleeper.design import Spec
from lightsleeper.design.streams import (
    DENSE_FOREIGN_PER_HOUR,
    DENSE_GAP_S,
    DENSE_WAKE_PER_HOUR,
    StreamSet,
    decide,
    make_streams,
    streams_of,
)
from lightsleeper.learning import TRAINING_RATE_HZ, initial_frontend, scene_envelopes, scene_scores
from lightsleeper.recordings import Recording, Scene, synthetic_recordings

SHORT_S = 60.0
SPEC = Spec()


@cache
def recordings() -> tuple[Recording, ...]:
    return synthetic_recordings(seed=1, clips_per_label=2).recordings


@pytest.fixture(autouse=True)
def _short_scenes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightsleeper.design.streams.SCENE_S", SHORT_S)


def mixed(**options: object) -> StreamSet:
    asked = {"dense_hours": SHORT_S / 3600, "floor_hours": SHORT_S / 3600, "seed": 3} | options
    return make_streams(recordings(), SPEC, **asked)  # type: ignore[arg-type]


def network(seed: int = 0) -> FrontEnd:
    """A stage whose network says something."""
    frontend = initial_frontend()
    rng = np.random.default_rng(seed)
    hidden = rng.normal(0.0, 0.3, frontend.network.hidden_weight.shape)
    output = rng.normal(0.0, 0.5, frontend.network.output_weight.shape)
    return dataclasses.replace(
        frontend, network=dataclasses.replace(frontend.network, hidden_weight=hidden, output_weight=output)
    )


def same(first: Scene, second: Scene) -> bool:
    return first.events == second.events and np.array_equal(first.pressure_pa, second.pressure_pa)


@pytest.mark.parametrize(("minutes", "scenes"), [(0.1, 1), (1.0, 1), (1.4, 1), (2.6, 3)])
def test_hours_are_rounded_to_whole_scenes(minutes: float, scenes: int):
    streams = mixed(dense_hours=minutes / 60)
    assert len(streams.dense) == scenes
    assert len(streams.floor) == 1
    assert {scene.duration_s for scene in (*streams.dense, *streams.floor)} == {SHORT_S}
    assert len({scene.pressure_pa.tobytes() for scene in streams.dense}) == scenes


def test_dense_streams_hold_both_kinds_at_their_density():
    (scene,) = mixed().dense
    wake = [event for event in scene.events if event.wake]
    foreign = [event for event in scene.events if not event.wake]
    assert (len(wake), len(foreign)) == (DENSE_WAKE_PER_HOUR / 60, DENSE_FOREIGN_PER_HOUR / 60)
    assert {event.label for event in wake} == {SPEC.wake}
    assert SPEC.wake not in {event.label for event in foreign}
    assert {event.snr_db for event in wake} == {SPEC.scene.wake_snr_db}
    onsets, ends = (np.array([getattr(event, name) for event in scene.events]) for name in ("onset_s", "end_s"))
    assert (onsets[1:] - ends[:-1]).min() > DENSE_GAP_S


def test_floor_streams_hold_no_event():
    assert [scene.events for scene in mixed().floor] == [()]


def test_graded_streams_hold_wake_events_alone_at_their_level():
    streams = mixed(snr_db=(0.0, 20.0))
    assert set(streams.by_snr) == {0.0, 20.0}
    for snr, scenes in streams.by_snr.items():
        assert len(scenes) == 2
        events = [event for scene in scenes for event in scene.events]
        assert {(event.wake, event.snr_db) for event in events} == {(True, snr)}
    times = [[event.onset_s for event in scenes[0].events] for scenes in streams.by_snr.values()]
    assert times[0] == times[1], "levels compare on the same times"


def test_the_seed_decides():
    first, again, other = mixed(), mixed(), mixed(seed=4)
    assert same(first.dense[0], again.dense[0])
    assert same(first.floor[0], again.floor[0])
    assert not same(first.dense[0], other.dense[0])
    assert not same(first.floor[0], other.floor[0])


def test_a_longer_request_keeps_the_scenes_before():
    assert same(mixed(dense_hours=3 * SHORT_S / 3600).dense[0], mixed().dense[0])


def test_scores_are_a_voltage_for_each_control_frame():
    scenes = mixed(dense_hours=2 * SHORT_S / 3600).dense
    told: list[int] = []
    rows = scene_scores(network(), scenes, noise_seed=1, report=told.append)
    assert [row.shape for row in rows] == [(round(SHORT_S * CONTROL_RATE_HZ),)] * 2
    assert told == [2]
    assert all(np.isfinite(row).all() and row.std() > 1e-3 for row in rows)
    again = scene_scores(network(), scenes, noise_seed=1)
    assert all(np.array_equal(row, other) for row, other in zip(rows, again, strict=True))
    assert not np.array_equal(rows[0], scene_scores(network(), scenes, noise_seed=2)[0])


def test_deciding_on_envelopes_is_hearing_the_scene():
    scenes = list(mixed().dense)
    envelopes = scene_envelopes(network(), scenes, noise_seed=5)
    (heard,) = scene_scores(network(), scenes, noise_seed=5)
    (decided,) = decide(network(), envelopes, rate_hz=SPEC.scene.rate_hz)
    every = round(CONTROL_RATE_HZ / TRAINING_RATE_HZ)
    assert len(heard) == every * len(decided)
    # Training takes the same circuit in longer frames.
    assert np.sqrt(np.mean((decided - heard[every - 1 :: every]) ** 2)) < 0.1 * heard.std()


def test_streams_carry_scores_and_events():
    scenes = [*mixed().dense, *mixed().floor]
    values = [np.arange(round(SHORT_S * CONTROL_RATE_HZ), dtype=np.float32) + number for number in range(2)]
    dense, floor = streams_of(scenes, values)
    events = scenes[0].events
    assert dense.onsets_s.tolist() == [event.onset_s for event in events]
    assert dense.ends_s.tolist() == [event.end_s for event in events]
    assert dense.labels.tolist() == [event.label for event in events]
    assert dense.wake.tolist() == [event.wake for event in events]
    assert dense.duration_s == floor.duration_s == SHORT_S
    assert floor.onsets_s.size == 0
    np.testing.assert_array_equal(floor.scores, values[1])
    (slower,) = streams_of(scenes[:1], [values[0][::4]], frame_rate_hz=CONTROL_RATE_HZ / 4)
    assert slower.duration_s == SHORT_S
    with pytest.raises(ValueError, match="zip"):
        streams_of(scenes, values[:1])
