"""Windows lie at the right frames, and scenes give the envelopes of the stream."""

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray

from example_frontend import RATE_HZ, make_frontend
from lightsleeper.circuits import Chip, FrontEndStream
from lightsleeper.errors import InputError
from lightsleeper.learning.windows import (
    LEAD_S,
    LISTEN_S,
    MOST_ROWS,
    TRAINING_RATE_HZ,
    Windows,
    cut_windows,
    floor_of,
    scene_envelopes,
    scene_scores,
    training_scenes,
)
from lightsleeper.recordings import Recording, Scene, SceneEvent, SceneSettings

FRAMES = 2500  # 20 s
LEAD, WINDOW = round(LEAD_S * 125), round((LEAD_S + LISTEN_S) * 125)


def _scene(*events: tuple[float, float, bool]) -> Scene:
    marks = tuple(SceneEvent("x", onset_s, end_s, 10.0, wake, "x.wav") for onset_s, end_s, wake in events)
    return Scene(np.zeros(10, np.float32), RATE_HZ, marks)


def _cut(*scenes: Scene) -> Windows:
    """Windows of envelopes that hold their own frame number, plus 10,000 per scene."""
    numbers = np.arange(FRAMES) + 10_000 * np.arange(len(scenes))[:, None]
    envelopes_v = np.broadcast_to(numbers[:, :, None, None], (len(scenes), FRAMES, 3, 2)).astype(np.float32)
    return cut_windows(envelopes_v, scenes, list(range(10, 10 + len(scenes))))


def test_events_and_gaps_are_cut_at_the_right_frames() -> None:
    windows = _cut(_scene((5.0, 6.0, True), (10.0, 12.0, False)))
    # Gap 3-5 s, wake event from 5 s, gap from 6 + 1.4 s to 10 s, foreign sound from 10 s.
    np.testing.assert_array_equal(windows.start, [375 - LEAD, 625 - LEAD, 925 - LEAD, 1250 - LEAD])
    np.testing.assert_array_equal(windows.wake, [False, True, False, False])
    assert windows.envelopes_v.shape == (4, WINDOW, 3, 2)
    for start, values in zip(windows.start, windows.envelopes_v, strict=True):
        np.testing.assert_array_equal(values[:, 0, 0], np.arange(start, start + WINDOW))
    # Judged: the gaps whole, the wake event until 1 s after its end, the foreign sound until 1.4 s after its end.
    for judged, duration_s in zip(windows.judged, (2.0, 2.0, 2.6, 3.4), strict=True):
        np.testing.assert_array_equal(np.flatnonzero(judged), LEAD + np.arange(round(duration_s * 125)))


def test_a_foreign_sound_is_not_blamed_for_the_next_event() -> None:
    windows = _cut(_scene((4.0, 5.0, False), (6.0, 7.0, True)))
    by_start = dict(zip(windows.start.tolist(), windows.judged.sum(axis=1).tolist(), strict=True))
    assert by_start == {500 - LEAD: 2 * 125, 750 - LEAD: 2 * 125}


def test_long_sounds_are_judged_no_longer_than_the_stage_listens() -> None:
    windows = _cut(_scene((4.0, 15.0, True)))
    np.testing.assert_array_equal(windows.judged.sum(axis=1), [LISTEN_S * 125])


def test_the_settling_start_and_the_end_of_the_stream_give_no_window() -> None:
    last_s = FRAMES / 125 - LISTEN_S
    early, late = (2.0, 2.5, True), (last_s + 0.1, last_s + 0.6, True)
    windows = _cut(_scene(early, (8.0, 9.0, False), late))
    assert not windows.wake.any()
    assert 1000 - LEAD in windows.start
    assert _cut(_scene((last_s, last_s + 0.6, True))).wake.any()


def test_windows_carry_scene_and_fold() -> None:
    windows = _cut(_scene((4.0, 5.0, True)), _scene(), _scene((6.0, 7.0, False)))
    for scene, fold, values in zip(windows.scene, windows.fold, windows.envelopes_v, strict=True):
        assert fold == 10 + scene
        assert values[0, 0, 0] // 10_000 == scene
    assert set(windows.scene.tolist()) == {0, 2}


def _noise_scene(seed: int, samples: int = 3200) -> Scene:
    pressure_pa = 0.01 * np.random.default_rng(seed).standard_normal(samples)
    return Scene(pressure_pa.astype(np.float32), RATE_HZ, ())


def test_envelopes_and_scores_of_scenes_are_those_of_the_stream_in_groups() -> None:
    frontend = make_frontend()
    scenes = [_noise_scene(seed) for seed in range(MOST_ROWS + 1)]
    counts: list[int] = []
    envelopes_v = scene_envelopes(frontend, scenes, noise_seed=3, report=counts.append)
    assert envelopes_v.shape == (MOST_ROWS + 1, 25, 3, 3)
    half = MOST_ROWS // 2
    assert sorted(counts) == [half, half + 1]
    volts = np.stack([s.pressure_pa for s in scenes]) * np.float32(frontend.microphone.sensitivity_v_per_pa)
    for index, rows in enumerate((slice(0, half + 1), slice(half + 1, None))):
        part = volts[rows]
        setting = {"rows": len(part), "rate_hz": RATE_HZ, "noise_seed": 3 + index}
        stream = FrontEndStream(frontend, **setting, frame_rate_hz=TRAINING_RATE_HZ)
        expected = stream.envelopes(part)[0].reshape(25, 3, len(part), 3).transpose(2, 0, 1, 3)
        np.testing.assert_array_equal(envelopes_v[rows], expected)
        # What is measured runs at the rate of the simulation, with the same noise.
        integral_v = FrontEndStream(frontend, **setting).process(part)
        np.testing.assert_array_equal(scene_scores(frontend, scenes[rows], noise_seed=3 + index), integral_v)
    assert not np.array_equal(scene_envelopes(frontend, scenes[:1], noise_seed=4), envelopes_v[:1])


def test_chips_give_what_their_networks_see_as_envelopes_of_the_nominal_logarithm() -> None:
    frontend = make_frontend()
    scenes = [_noise_scene(seed) for seed in range(3)]
    chips = [Chip(seed=seed) for seed in range(3)]
    envelopes_v = scene_envelopes(frontend, scenes, noise_seed=3, chips=chips)
    volts = np.stack([s.pressure_pa for s in scenes]) * np.float32(frontend.microphone.sensitivity_v_per_pa)
    stream = FrontEndStream(
        frontend, rows=3, rate_hz=RATE_HZ, noise_seed=3, frame_rate_hz=TRAINING_RATE_HZ, chips=chips
    )
    seen_v = stream.compress(stream.envelopes(volts)[0]).reshape(envelopes_v.shape)
    slope_v, knee_v = frontend.process.slope_v, frontend.compressor.knee_v
    # A logarithm whose offset pulls it below zero has no envelope that gives it.
    np.testing.assert_allclose(slope_v * np.log1p(envelopes_v / knee_v), np.maximum(seen_v, 0.0), atol=1e-7)
    assert envelopes_v.min() >= 0.0
    nominal_v = scene_envelopes(frontend, scenes, noise_seed=3)
    assert (np.abs(envelopes_v / nominal_v - 1.0)[:, 5:].mean(axis=(1, 2, 3)) > 0.01).all()
    faultless = scene_envelopes(frontend, scenes, noise_seed=3, chips=[Chip(effects=())] * 3)
    np.testing.assert_allclose(faultless, nominal_v, rtol=1e-5, atol=1e-9)


def test_scenes_heard_together_may_have_networks_of_their_own() -> None:
    one = make_frontend()
    weights = one.network.output_weight[::-1]
    other = dataclasses.replace(one, network=dataclasses.replace(one.network, output_weight=weights))
    scenes = [_noise_scene(seed) for seed in range(5)]
    ones, others = (scene_scores(stage, scenes, noise_seed=3) for stage in (one, other))
    assert not np.array_equal(ones[0], others[0])
    mixed = scene_scores([one, other, one, other, other], scenes, noise_seed=3)
    for index, expected in enumerate((ones, others, ones, others, others)):
        np.testing.assert_array_equal(mixed[index], expected[index])
    with pytest.raises(InputError, match="2 stages for 5 scenes"):
        scene_scores([one, other], scenes, noise_seed=3)


def _recording(label: str, number: int, samples: NDArray[np.float64]) -> Recording:
    return Recording(samples.astype(np.float32), RATE_HZ, label, f"{label}{number}", None, f"{label}/{number}.wav")


@pytest.fixture(scope="module")
def recordings() -> list[Recording]:
    rng = np.random.default_rng(0)
    clips = [_recording(label, n, rng.standard_normal(4800)) for label in ("dog", "door", "cat") for n in range(2)]
    return [*clips, _recording("rain", 0, rng.standard_normal(32_000))]


def test_floor_is_made_of_floor_labels(recordings: list[Recording]) -> None:
    assert [r.label for r in floor_of(recordings)] == ["rain"]


def test_training_scenes_are_deterministic_varied_and_labelled(recordings: list[Recording]) -> None:
    settings = SceneSettings(duration_s=20.0, wake_per_hour=360.0, foreign_per_hour=720.0, gap_s=0.5)
    first, again, other = (
        training_scenes(recordings, "dog", piece_lengths_s=(0.1, 0.5), settings=settings, count=2, seed=seed)
        for seed in (1, 1, 2)
    )
    for scene, same in zip(first, again, strict=True):
        np.testing.assert_array_equal(scene.pressure_pa, same.pressure_pa)
        assert scene.events == same.events
    assert not np.array_equal(first[0].pressure_pa, first[1].pressure_pa)
    assert not np.array_equal(first[0].pressure_pa, other[0].pressure_pa)
    for scene in first:
        assert scene.duration_s == 20.0
        assert sum(event.wake for event in scene.events) == 2
        assert {event.label for event in scene.events if event.wake} == {"dog"}
        assert "dog" not in {event.label for event in scene.events if not event.wake}
        assert sum(not event.wake for event in scene.events) == 4
