"""Scenes: levels as asked, no overlaps, fair use of clips, determinism, refusals."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lightsleeper.errors import InputError
from lightsleeper.recordings import Recording, Scene, SceneSettings, mix_scene
from lightsleeper.recordings.scene import _apply_level, _cut, _level_at

RATE_HZ = 16_000.0
SHORT = SceneSettings(duration_s=120.0, wake_per_hour=120.0, foreign_per_hour=300.0)


def clip(label: str, number: int, duration_s: float = 1.0, rate_hz: float = RATE_HZ) -> Recording:
    """Noise burst in the middle of a nearly silent clip."""
    rng = np.random.default_rng([number, len(label)])
    count = round(duration_s * rate_hz)
    samples = 1e-4 * rng.standard_normal(count)
    samples[count // 4 : 3 * count // 4] = 0.1 * rng.standard_normal(3 * count // 4 - count // 4)
    return Recording(samples.astype(np.float32), rate_hz, label, f"{label}{number}", None, f"{label}/{number}.wav")


WAKE = [clip("glass", n) for n in range(4)]
FOREIGN = [clip("dog", n) for n in range(2)] + [clip("cough", n, 0.6) for n in range(5)] + [clip("tick", 0, 0.1)]


def mix(settings: SceneSettings, seed: int = 0) -> Scene:
    return mix_scene(wake=WAKE, foreign=FOREIGN, floor=(), settings=settings, seed=seed)


def rms(samples: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


def alone(scene: Scene, settings: SceneSettings, seed: int) -> NDArray[np.float32]:
    """The events of a scene without their floor, whose random stream is its own."""
    bare = mix_scene(wake=(), foreign=(), floor=(), settings=settings, seed=seed)
    return scene.pressure_pa - bare.pressure_pa


def test_events_have_the_snr_asked_for() -> None:
    """Active rms of each event over 20 uPa x 10^(floor level / 20); the floor's level is constant here."""
    settings = replace(SHORT, floor_spread_db=0.0, wake_snr_db=10.0, foreign_snr_db=(-5.0, 20.0))
    scene = mix(settings, seed=3)
    events = alone(scene, settings, seed=3)
    floor_pa = 20e-6 * 10 ** (40 / 20)
    for event in scene.events:
        samples = events[round((event.onset_s - 0.06) * RATE_HZ) : round((event.end_s + 0.31) * RATE_HZ)]
        cut = Recording(samples, RATE_HZ, event.label, "s", None, event.file)
        assert 20 * np.log10(cut.active_rms() / floor_pa) == pytest.approx(event.snr_db, abs=0.3)
        assert event.snr_db == 10.0 if event.wake else -5.0 <= event.snr_db <= 20.0
    assert np.ptp([event.snr_db for event in scene.events if not event.wake]) > 5


def test_snr_is_over_the_local_floor() -> None:
    """Events of equal SNR are louder where the floor is: their level follows it by +/-6 dB."""
    settings = replace(SHORT, duration_s=1200.0, foreign_snr_db=(10.0, 10.0))
    scene = mix(settings, seed=1)
    events = alone(scene, settings, seed=1)
    floor = scene.pressure_pa - events
    ratios_db, levels = [], []
    for event in scene.events:
        span = slice(round(event.onset_s * RATE_HZ), round(event.end_s * RATE_HZ))
        around = slice(max(0, span.start - 16_000), span.start + 16_000)
        levels.append(rms(floor[around]))
        ratios_db.append(20 * np.log10(rms(events[span]) / levels[-1]))
    assert np.median(ratios_db) == pytest.approx(10.0, abs=0.8)
    assert np.std(ratios_db) < 2.5
    assert max(levels) / min(levels) > 1.8


@given(
    duration_s=st.floats(60.0, 300.0),
    wake_per_hour=st.floats(0.0, 150.0),
    foreign_per_hour=st.floats(0.0, 600.0),
    gap_s=st.floats(0.0, 2.0),
    seed=st.integers(0, 10_000),
)
@settings(max_examples=20, deadline=None)
def test_events_never_overlap_and_lie_in_the_scene(
    duration_s: float, wake_per_hour: float, foreign_per_hour: float, gap_s: float, seed: int
) -> None:
    wanted = SceneSettings(
        duration_s=duration_s, wake_per_hour=wake_per_hour, foreign_per_hour=foreign_per_hour, gap_s=gap_s
    )
    scene = mix(wanted, seed)
    assert scene.duration_s == pytest.approx(duration_s, abs=1e-4)
    assert sum(event.wake for event in scene.events) == round(wake_per_hour * duration_s / 3600)
    assert sum(not event.wake for event in scene.events) == round(foreign_per_hour * duration_s / 3600)
    ends = [0.0, *(event.end_s for event in scene.events)]
    onsets = [*(event.onset_s for event in scene.events), scene.duration_s]
    for end_s, onset_s in zip(ends, onsets, strict=True):
        assert onset_s - end_s >= gap_s - 1e-3
    assert all(event.onset_s < event.end_s for event in scene.events)


def test_event_times_mark_the_active_part() -> None:
    settings = replace(SHORT, floor_spread_db=0.0, foreign_snr_db=(10.0, 10.0))
    scene = mix(settings, seed=4)
    events = np.square(alone(scene, settings, seed=4))
    inside = np.zeros(events.size, dtype=bool)
    for event in scene.events:
        inside[round(event.onset_s * RATE_HZ) : round(event.end_s * RATE_HZ)] = True
    assert events[inside].sum() / events.sum() > 0.999
    assert {event.wake for event in scene.events} == {True, False}
    assert all(event.wake == (event.label == "glass") for event in scene.events)


def test_floor_has_the_level_asked_for() -> None:
    for level_db in (40.0, 60.0):
        settings = replace(SHORT, floor_db_spl=level_db, floor_spread_db=0.0)
        bare = mix_scene(wake=(), foreign=(), floor=(), settings=settings, seed=0)
        assert bare.events == ()
        assert 20 * np.log10(rms(bare.pressure_pa) / 20e-6) == pytest.approx(level_db, abs=0.2)


def test_floor_level_moves_from_minute_to_minute_without_jumps() -> None:
    levels_db = np.array([40.0, 46.0, 34.0, 37.0])
    floor = np.ones(round(200 * RATE_HZ), dtype=np.float32)
    _apply_level(floor, levels_db, RATE_HZ)
    heard_db = 20 * np.log10(floor / 20e-6)
    expected = _level_at(np.arange(floor.size) / RATE_HZ, levels_db)
    np.testing.assert_allclose(heard_db, expected, atol=0.001)
    assert np.abs(np.diff(heard_db)).max() < 0.001
    for minute, level_db in enumerate(levels_db):
        assert heard_db[round((60 * minute + 10) * RATE_HZ)] == pytest.approx(level_db, abs=1e-3)


def test_spread_is_within_6_db() -> None:
    bare = mix_scene(wake=(), foreign=(), floor=(), settings=SceneSettings(duration_s=1200.0), seed=0)
    minutes = bare.pressure_pa.reshape(20, -1)[:, 80_000:-80_000]
    levels_db = 20 * np.log10(np.sqrt(np.square(minutes).mean(axis=1)) / 20e-6)
    assert 33 < levels_db.min() < 38
    assert 42 < levels_db.max() < 47


def test_clips_are_used_equally_often() -> None:
    scene = mix(replace(SHORT, duration_s=600.0, wake_per_hour=132.0, foreign_per_hour=360.0))
    wake = Counter(event.file for event in scene.events if event.wake)
    assert sorted(wake.values()) == [5, 5, 6, 6]
    foreign = Counter(event.label for event in scene.events if not event.wake)
    assert foreign == {"dog": 20, "cough": 20, "tick": 20}
    coughs = Counter(event.file for event in scene.events if event.label == "cough")
    assert set(coughs.values()) == {4}


def test_seed_gives_the_same_bits() -> None:
    first, again, other = mix(SHORT, 7), mix(SHORT, 7), mix(SHORT, 8)
    np.testing.assert_array_equal(first.pressure_pa, again.pressure_pa)
    assert first.events == again.events
    assert first.events != other.events


def test_snr_changes_neither_floor_nor_times() -> None:
    quiet, loud = mix(replace(SHORT, wake_snr_db=0.0)), mix(replace(SHORT, wake_snr_db=20.0))
    assert [e.onset_s for e in quiet.events] == [e.onset_s for e in loud.events]
    assert [e.file for e in quiet.events] == [e.file for e in loud.events]
    settings = replace(SHORT, wake_snr_db=20.0)
    events = alone(loud, settings, seed=0)
    between = slice(0, round((loud.events[0].onset_s - 0.1) * RATE_HZ))
    assert not events[between].any()


def test_clip_that_ends_loud_is_faded_inside_its_end() -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal(32_000)
    cut = _cut(Recording(noise.astype(np.float32), RATE_HZ, "x", "x", None, "x"), fade_s=0.3)
    assert cut.samples.size == 32_000
    frames = np.sqrt(np.square(cut.samples[-4_800:].reshape(30, 160)).mean(axis=1))
    assert frames[-1] < 0.01 * frames[0]
    assert np.abs(cut.samples[:8]).max() < 0.05 * np.abs(cut.samples[100:]).max()


def test_clip_that_ends_soft_keeps_its_loud_part() -> None:
    recording = clip("glass", 0, 2.0)
    cut = _cut(recording, fade_s=0.3)
    assert cut.onset == 800
    assert cut.end - cut.onset == 16_000
    assert cut.samples.size == 800 + 16_000 + 4_800
    original = recording.samples[8_000:24_000]
    gain = cut.samples[cut.onset : cut.end] / original
    np.testing.assert_allclose(gain, gain[0], rtol=1e-3)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"foreign_per_hour": 3600.0}, "foreign_per_hour = 3600 is too high"),
        ({"wake_per_hour": 3600.0}, "wake_per_hour = 3600 is too high"),
    ],
)
def test_events_that_do_not_fit_are_refused(changes: dict[str, float], words: str) -> None:
    with pytest.raises(InputError, match=words):
        mix(replace(SHORT, **changes))


def test_clip_of_another_rate_is_refused() -> None:
    with pytest.raises(InputError, match=r"^glass/0\.wav: has 8000 Hz but the scene 16000 Hz"):
        mix_scene(wake=[clip("glass", 0, rate_hz=8_000.0)], foreign=(), floor=(), settings=SHORT, seed=0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"duration_s": 0.0}, "duration_s is 0; it must be at least 1"),
        ({"duration_s": float("nan")}, "duration_s is nan"),
        ({"rate_hz": -1.0}, "rate_hz"),
        ({"wake_per_hour": -1.0}, "wake_per_hour is -1; it must not be negative"),
        ({"fade_s": -0.1}, "fade_s"),
        ({"foreign_snr_db": (20.0, 0.0)}, "lowest, then the highest"),
        ({"foreign_snr_db": (0.0, float("inf"))}, "finite"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes: dict[str, float], words: str) -> None:
    with pytest.raises(InputError, match=words):
        replace(SHORT, **changes)
