"""Built-in synthetic recordings: complete, varied, deterministic, and with the physics they claim."""

import numpy as np
import pytest
from numpy.typing import NDArray

from lightsleeper.errors import InputError
from lightsleeper.recordings import FLOOR_LABELS, RecordingSet, synthetic_recordings
from lightsleeper.recordings.resonance import formants, glottal_pulses, reverberate, struck_modes

RATE_HZ = 16_000.0


@pytest.fixture(scope="module")
def small_set() -> RecordingSet:
    return synthetic_recordings(clips_per_label=8)


def centroid_hz(samples: NDArray[np.float32]) -> float:
    power = np.square(np.abs(np.fft.rfft(samples)))
    return float(power @ np.fft.rfftfreq(samples.size, 1 / RATE_HZ) / power.sum())


def test_set_is_complete(small_set: RecordingSet) -> None:
    assert small_set.synthetic
    assert small_set.name == "built-in synthetic recordings"
    assert len(small_set.labels) == 12
    assert {"glass_breaking", "door_knock", "dog_bark", "speech", "cutlery_clatter"} < set(small_set.labels)
    assert {"rain", "fan", "water"} == set(small_set.labels) & FLOOR_LABELS
    assert len(small_set.recordings) == 96
    assert small_set.folds == (1, 2, 3, 4)
    assert len({r.source for r in small_set.recordings}) == 96
    for recording in small_set.recordings:
        assert recording.duration_s == 3.0
        assert recording.rate_hz == RATE_HZ
        assert 0.09 < np.abs(recording.samples).max() < 0.91
        assert recording.file.startswith(f"synthetic/{recording.label}/")


def test_every_label_is_in_every_fold(small_set: RecordingSet) -> None:
    present = {(recording.label, recording.fold) for recording in small_set.recordings}
    assert present == {(label, fold) for label in small_set.labels for fold in small_set.folds}


def test_clips_depend_on_seed_label_and_number_alone(small_set: RecordingSet) -> None:
    fewer = synthetic_recordings(clips_per_label=1)
    by_file = {r.file: r for r in small_set.recordings}
    for recording in fewer.recordings:
        np.testing.assert_array_equal(recording.samples, by_file[recording.file].samples)
    other = synthetic_recordings(clips_per_label=1, seed=1)
    for first, second in zip(fewer.recordings, other.recordings, strict=True):
        assert not np.array_equal(first.samples, second.samples)


def test_clips_of_a_class_differ(small_set: RecordingSet) -> None:
    for label in small_set.labels:
        clips = [r.samples for r in small_set.recordings if r.label == label]
        similarity = np.abs(np.corrcoef(clips) - np.eye(len(clips)))
        assert similarity.max() < 0.9, label


def test_classes_have_their_character(small_set: RecordingSet) -> None:
    """Glass is short and bright, knocks are short and dull, fans are steady: known order of centroid and length."""
    median_hz, median_s = {}, {}
    for label in small_set.labels:
        clips = [r for r in small_set.recordings if r.label == label]
        median_hz[label] = np.median([centroid_hz(r.samples) for r in clips])
        median_s[label] = np.median([np.subtract(*r.active_span_s()[::-1]) for r in clips])
    assert median_hz["glass_breaking"] > 2 * median_hz["speech"] > 2 * 200
    assert median_hz["glass_breaking"] > 4 * median_hz["door_knock"]
    assert median_s["glass_breaking"] < 1.5
    for label in ("rain", "fan", "water"):
        assert median_s[label] > 2.8


def test_brightness_alone_does_not_tell_glass_from_cutlery(small_set: RecordingSet) -> None:
    """The hard foreign class overlaps with the wake class in brightness."""
    glass, cutlery = (
        [centroid_hz(r.samples) for r in small_set.recordings if r.label == label]
        for label in ("glass_breaking", "cutlery_clatter")
    )
    assert max(cutlery) > min(glass)


@pytest.mark.parametrize("rate_hz", [8_000, 44_100])
def test_other_rates_and_lengths(rate_hz: int) -> None:
    recordings = synthetic_recordings(clips_per_label=1, rate_hz=rate_hz, duration_s=1.5).recordings
    assert {r.samples.size for r in recordings} == {round(1.5 * rate_hz)}


@pytest.mark.parametrize(
    ("keywords", "words"),
    [({"clips_per_label": 0}, "at least 1"), ({"rate_hz": 100}, "at least 4000"), ({"duration_s": 0.1}, "1 to 3600")],
)
def test_impossible_sets_are_refused(keywords: dict[str, int], words: str) -> None:
    with pytest.raises(InputError, match=words):
        synthetic_recordings(**keywords)


def test_struck_mode_is_a_damped_sine() -> None:
    """exp(-t / tau) sin(2 pi f t) sample for sample, and modes over the Nyquist frequency are left out."""
    sound = struck_modes(np.array([500.0, 9000.0]), np.array([0.05, 0.05]), np.array([0.7, 1.0]), RATE_HZ)
    time_s = np.arange(sound.size) / RATE_HZ
    np.testing.assert_allclose(sound, 0.7 * np.exp(-time_s / 0.05) * np.sin(2 * np.pi * 500 * time_s), atol=1e-12)
    assert np.exp(-time_s[-1] / 0.05) < 1.1e-3


def test_formants_stand_where_they_are_put() -> None:
    noise = np.random.default_rng(0).standard_normal(160_000)
    vowel = formants(noise, (700.0, 2000.0), (60.0, 90.0), RATE_HZ)
    power = np.square(np.abs(np.fft.rfft(vowel))).reshape(-1)[:80_000].reshape(-1, 400).mean(axis=1)
    frequencies_hz = (np.arange(power.size) + 0.5) * 40
    low, high = frequencies_hz < 1300, frequencies_hz >= 1300
    assert frequencies_hz[low][power[low].argmax()] == pytest.approx(700, abs=40)
    assert frequencies_hz[high][power[high].argmax()] == pytest.approx(2000, abs=60)


def test_voice_has_the_pitch_asked_for() -> None:
    voice = glottal_pulses(np.full(32_000, 125.0), RATE_HZ, np.random.default_rng(0), breath=0.0)
    lags = np.arange(80, 200)
    likeness = [np.corrcoef(voice[:-lag], voice[lag:])[0, 1] for lag in lags]
    assert RATE_HZ / lags[int(np.argmax(likeness))] == pytest.approx(125.0, rel=0.02)


def test_room_decays_by_60_db_in_its_time() -> None:
    click = np.zeros(16_000)
    click[0] = 1.0
    heard = reverberate(click, 0.4, 1.0, RATE_HZ, np.random.default_rng(0))
    assert heard.size == click.size
    early, late = (np.square(heard[start : start + 640]).mean() for start in (160, 160 + 4_800))
    assert 10 * np.log10(early / late) == pytest.approx(45.0, abs=2.0)
    assert not heard[6_401:].round(12).any()
