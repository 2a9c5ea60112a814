"""Long streams with known events: clips mixed over a continuous floor at stated levels (the standard scene)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from lightsleeper.errors import InputError
from lightsleeper.recordings.floor import make_floor
from lightsleeper.recordings.recording import Recording

__all__ = ["Scene", "SceneEvent", "SceneSettings", "mix_scene"]

REFERENCE_PRESSURE_PA = 20e-6
LEVEL_STEP_S = 60.0
LEVEL_RAMP_S = 5.0
FADE_IN_S = 0.005
MARGIN_S = 0.05


@dataclass(frozen=True)
class SceneEvent:
    """One sound in a scene.

    Attributes:
        label: class of the sound.
        onset_s: start of the sound's active part, in scene time.
        end_s: end of the active part.
        snr_db: rms of the active frames over the rms of the floor at the onset.
        wake: whether the device should wake.
        file: the recording that it was cut from.
    """

    label: str
    onset_s: float
    end_s: float
    snr_db: float
    wake: bool
    file: str


@dataclass(frozen=True)
class SceneSettings:
    """The standard scene, unless said otherwise.

    Attributes:
        duration_s: length, at least 1 s.
        rate_hz: sample rate; recordings must have it.
        floor_db_spl: mean level of the background in dB re 20 uPa.
        floor_spread_db: half width of the uniform spread of the floor level from minute to minute (5 s ramps between).
        wake_snr_db: level of wake events over the floor.
        foreign_snr_db: lowest and highest level of foreign sounds over the floor.
        wake_per_hour: rate of wake events.
        foreign_per_hour: rate of foreign sounds.
        fade_s: length of the fade at each clip's end.
        gap_s: least time between the end of one clip and the start of the next.
    """

    duration_s: float = 1200.0
    rate_hz: float = 16_000.0
    floor_db_spl: float = 40.0
    floor_spread_db: float = 6.0
    wake_snr_db: float = 10.0
    foreign_snr_db: tuple[float, float] = (0.0, 20.0)
    wake_per_hour: float = 20.0
    foreign_per_hour: float = 60.0
    fade_s: float = 0.3
    gap_s: float = 1.5

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not np.all(np.isfinite(value)):
                raise InputError(f"scene: {field.name} is {value}; it must be a finite number")
        for name, minimum in (("duration_s", 1.0), ("rate_hz", 100.0)):
            if getattr(self, name) < minimum:
                raise InputError(f"scene: {name} is {getattr(self, name):g}; it must be at least {minimum:g}")
        for name in ("floor_spread_db", "wake_per_hour", "foreign_per_hour", "fade_s", "gap_s"):
            if getattr(self, name) < 0:
                raise InputError(f"scene: {name} is {getattr(self, name):g}; it must not be negative")
        if len(self.foreign_snr_db) != 2 or self.foreign_snr_db[0] > self.foreign_snr_db[1]:
            raise InputError(f"scene: foreign_snr_db is {self.foreign_snr_db}; give the lowest, then the highest level")


@dataclass(frozen=True, eq=False)
class Scene:
    """A stream with known events.

    Attributes:
        pressure_pa: sound pressure, shape (T,), float32.
        rate_hz: sample rate.
        events: all sounds in order of time.
    """

    pressure_pa: NDArray[np.float32]
    rate_hz: float
    events: tuple[SceneEvent, ...]

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return float(self.pressure_pa.size / self.rate_hz)


@dataclass(frozen=True, slots=True, eq=False)
class _Clip:
    """A recording cut to its active part, faded and brought to unit active rms."""

    samples: NDArray[np.float32]
    recording: Recording
    onset: int
    """Samples before the active part."""
    end: int
    """Sample at which the active part ends."""


def mix_scene(
    *,
    wake: Sequence[Recording],
    foreign: Sequence[Recording],
    floor: Sequence[Recording],
    settings: SceneSettings,
    seed: int,
) -> Scene:
    """Mix wake events and foreign sounds, in random order and without overlap, over a continuous floor.

    Every clip is used equally often; foreign sounds are balanced over their labels first. A clip is cut to its active
    part (50 ms before it, the fade after it) and scaled so that the rms of its active frames stands `snr_db` over the
    floor's rms at its onset. `wake`, `foreign` and `floor` may each be empty. Floor, levels, times and clips have
    random streams of their own, so that changing the SNR changes neither the floor nor the times.

    Raises `InputError` where the events do not fit or a recording has another sample rate.
    """
    for recording in (*wake, *foreign):
        if recording.rate_hz != settings.rate_hz:
            raise InputError(
                f"{recording.file}: has {recording.rate_hz:g} Hz but the scene {settings.rate_hz:g} Hz; "
                "read it at that rate"
            )
    floor_rng, level_rng, clip_rng, snr_rng, time_rng = map(
        np.random.default_rng, np.random.SeedSequence(seed).spawn(5)
    )
    pressure_pa = make_floor(settings.duration_s, floor_recordings=floor, rate_hz=settings.rate_hz, rng=floor_rng)
    level_db = _floor_levels(settings, level_rng)
    _apply_level(pressure_pa, level_db, settings.rate_hz)

    wake_clips = _prepare(_draw(wake, _count(settings.wake_per_hour, settings, wake), clip_rng), settings)
    foreign_clips = _prepare(
        _draw_balanced(foreign, _count(settings.foreign_per_hour, settings, foreign), clip_rng), settings
    )
    kinds = [(clip, True) for clip in wake_clips] + [(clip, False) for clip in foreign_clips]
    sequence = [kinds[index] for index in clip_rng.permutation(len(kinds))]
    starts = _start_times(sequence, pressure_pa.size, settings, time_rng)

    events = []
    for (clip, is_wake), start in zip(sequence, starts, strict=True):
        draw_db = float(snr_rng.uniform(*settings.foreign_snr_db))
        snr_db = settings.wake_snr_db if is_wake else draw_db
        onset_s = (start + clip.onset) / settings.rate_hz
        rms_pa = REFERENCE_PRESSURE_PA * 10 ** ((_level_at(onset_s, level_db) + snr_db) / 20)
        pressure_pa[start : start + clip.samples.size] += np.float32(rms_pa) * clip.samples
        end_s = (start + clip.end) / settings.rate_hz
        events.append(SceneEvent(clip.recording.label, onset_s, end_s, snr_db, is_wake, clip.recording.file))
    return Scene(pressure_pa=pressure_pa, rate_hz=settings.rate_hz, events=tuple(events))


def _floor_levels(settings: SceneSettings, rng: np.random.Generator) -> NDArray[np.float64]:
    """Level of each minute in dB SPL."""
    minutes = int(np.ceil(settings.duration_s / LEVEL_STEP_S))
    return settings.floor_db_spl + settings.floor_spread_db * rng.uniform(-1.0, 1.0, minutes)


def _level_at(time_s: float | NDArray[np.float64], level_db: NDArray[np.float64]) -> NDArray[np.float64]:
    """Floor level in dB SPL: constant for each minute, with straight ramps of 5 s across the change of minutes."""
    changes_s = LEVEL_STEP_S * np.arange(1, level_db.size)
    knots_s = np.concatenate([[0.0], (changes_s[:, None] + np.array([-0.5, 0.5]) * LEVEL_RAMP_S).ravel()])
    knots_db = np.concatenate([[level_db[0]], np.repeat(level_db, 2)[1:-1]])
    return np.asarray(np.interp(time_s, knots_s, knots_db))


def _apply_level(floor: NDArray[np.float32], level_db: NDArray[np.float64], rate_hz: float) -> None:
    """Scale a floor of unit rms to pressure, in place; the ramps alone need a gain for each sample."""
    ramp = round(0.5 * LEVEL_RAMP_S * rate_hz)
    for minute, level in enumerate(level_db):
        first = round(minute * LEVEL_STEP_S * rate_hz) + (ramp if minute else 0)
        change = round((minute + 1) * LEVEL_STEP_S * rate_hz)
        last_minute = minute == level_db.size - 1
        floor[first : None if last_minute else change - ramp] *= np.float32(_pressure_pa(level))
        if not last_minute:
            part = floor[change - ramp : change + ramp]
            times_s = (np.arange(part.size) + (change - ramp)) / rate_hz
            part *= _pressure_pa(_level_at(times_s, level_db)).astype(np.float32)


def _pressure_pa(level_db: float | NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(REFERENCE_PRESSURE_PA * 10 ** (np.asarray(level_db) / 20))


def _count(per_hour: float, settings: SceneSettings, clips: Sequence[Recording]) -> int:
    return round(per_hour * settings.duration_s / 3600) if clips else 0


def _cycle(count: int, rng: np.random.Generator) -> Iterator[int]:
    """Endless random permutations of 0 ... count - 1."""
    while True:
        yield from map(int, rng.permutation(count))


def _draw(recordings: Sequence[Recording], count: int, rng: np.random.Generator) -> list[Recording]:
    """`count` recordings, each as often as the others but for one."""
    indices = _cycle(len(recordings), rng)
    return [recordings[next(indices)] for _ in range(count)]


def _draw_balanced(recordings: Sequence[Recording], count: int, rng: np.random.Generator) -> list[Recording]:
    """`count` recordings: labels equally often, and the recordings of one label equally often."""
    by_label: dict[str, list[Recording]] = {}
    for recording in recordings:
        by_label.setdefault(recording.label, []).append(recording)
    labels = sorted(by_label)
    cycles = {label: _cycle(len(by_label[label]), rng) for label in labels}
    drawn_labels = _cycle(len(labels), rng)
    drawn = [labels[next(drawn_labels)] for _ in range(count)]
    return [by_label[label][next(cycles[label])] for label in drawn]


def _prepare(recordings: Sequence[Recording], settings: SceneSettings) -> list[_Clip]:
    """Cut and fade each recording once, however often it is used."""
    clips: dict[int, _Clip] = {}
    for recording in recordings:
        if id(recording) not in clips:
            clips[id(recording)] = _cut(recording, settings.fade_s)
    return [clips[id(recording)] for recording in recordings]


def _cut(recording: Recording, fade_s: float) -> _Clip:
    """The active part with its margin and fades; where nothing follows it, the fade lies inside its end."""
    rate_hz = recording.rate_hz
    onset_s, end_s = recording.active_span_s()
    first = max(0, round((onset_s - MARGIN_S) * rate_hz))
    last = min(recording.samples.size, round((end_s + fade_s) * rate_hz))
    samples = recording.samples[first:last].copy()
    fade_in, fade_out = round(FADE_IN_S * rate_hz), min(round(fade_s * rate_hz), samples.size)
    rise = _rise(min(fade_in, samples.size))
    samples[: rise.size] *= rise
    samples[samples.size - fade_out :] *= _rise(fade_out)[::-1]
    faded = Recording(samples, rate_hz, recording.label, recording.source, recording.fold, recording.file)
    samples *= np.float32(1.0 / faded.active_rms())
    return _Clip(samples, recording, onset=round(onset_s * rate_hz) - first, end=round(end_s * rate_hz) - first)


def _rise(count: int) -> NDArray[np.float32]:
    """Raised cosine from zero to one, both excluded, shape (count,)."""
    return (0.5 - 0.5 * np.cos(np.pi * (np.arange(count) + 0.5) / max(count, 1))).astype(np.float32)


def _start_times(
    sequence: Sequence[tuple[_Clip, bool]], total: int, settings: SceneSettings, rng: np.random.Generator
) -> list[int]:
    """First sample of each clip; the free time is shared out over the gaps exponentially."""
    gap = round(settings.gap_s * settings.rate_hz)
    lengths = np.array([clip.samples.size for clip, _ in sequence], dtype=np.int64)
    free = total - int(lengths.sum()) - gap * (lengths.size + 1)
    if lengths.size == 0:
        return []
    if free < 0:
        raise InputError(_does_not_fit(sequence, lengths + gap, total, settings))
    shares = rng.standard_exponential(lengths.size + 1)
    before = np.floor(free * np.cumsum(shares[:-1]) / shares.sum()).astype(np.int64)
    occupied = np.concatenate([[0], np.cumsum(lengths + gap)[:-1]])
    return [int(start) for start in before + occupied + gap]


def _does_not_fit(
    sequence: Sequence[tuple[_Clip, bool]], lengths: NDArray[np.int64], total: int, settings: SceneSettings
) -> str:
    is_wake = np.array([wake for _, wake in sequence])
    wake_samples = int(lengths[is_wake].sum())
    needs_more_wake = 2 * wake_samples > int(lengths.sum())
    name, rate = (
        ("wake_per_hour", settings.wake_per_hour)
        if needs_more_wake
        else ("foreign_per_hour", settings.foreign_per_hour)
    )
    return (
        f"scene: {len(sequence)} events with gaps need {lengths.sum() / settings.rate_hz:.0f} s but it lasts "
        f"{total / settings.rate_hz:.0f} s; {name} = {rate:g} is too high, lower it or gap_s"
    )
