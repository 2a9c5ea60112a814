"""Validation and test streams: dense scenes, bare floor, and the scores that a first stage gives them."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from lightsleeper.circuits import CONTROL_RATE_HZ, FrontEnd, FrontEndStream
from lightsleeper.design.spec import Spec
from lightsleeper.detection import Stream
from lightsleeper.learning import TRAINING_RATE_HZ, floor_of, rows_for
from lightsleeper.recordings import Recording, Scene, mix_scene

__all__ = [
    "DENSE_FOREIGN_PER_HOUR",
    "DENSE_WAKE_PER_HOUR",
    "SCENE_S",
    "StreamSet",
    "decide",
    "make_streams",
    "streams_of",
]

SCENE_S = 720.0
"""Length of one stream. The default hours make 28 to 30 of them: two even groups of at most 16, one a core."""
SHORT_SCENE_S = 300.0
"""Length of one stream where less than `SCENE_S` of a kind is asked, at least."""
DENSE_WAKE_PER_HOUR = 120.0
DENSE_FOREIGN_PER_HOUR = 240.0
DENSE_GAP_S = 4.0
"""Density of the dense streams; the figures are converted to the spec's density. The gap keeps a wake of one sound from
merging with the next sound's (wakes closer than 2 s are one), as it seldom does at the spec's density."""
WAKE_ONLY_PER_HOUR = 240.0
"""Density of the streams that measure recall at other signal-to-noise ratios."""
FLOOR_SEED = 1_000_000
SNR_SEED = 2_000_000


@dataclass(frozen=True, eq=False)
class StreamSet:
    """Scenes from the same recordings.

    Attributes:
        dense: wake events and foreign sounds.
        floor: no event at all.
        by_snr: wake events alone at other signal-to-noise ratios, dB -> scenes.
    """

    dense: tuple[Scene, ...]
    floor: tuple[Scene, ...]
    by_snr: dict[float, tuple[Scene, ...]]


def make_streams(
    recordings: Sequence[Recording],
    spec: Spec,
    *,
    dense_hours: float,
    floor_hours: float,
    snr_db: Sequence[float] = (),
    seed: int,
) -> StreamSet:
    """Mix the streams; their number is rounded to whole scenes of 12 minutes, or of 5 to 12 where less is asked.

    `snr_db` asks for streams of wake events alone, two scenes each, at those signal-to-noise ratios.
    """
    scene_s = min(SCENE_S, max(SHORT_SCENE_S, 3600.0 * min(dense_hours, floor_hours)))
    wake = [r for r in recordings if r.label == spec.wake]
    foreign = [r for r in recordings if r.label != spec.wake]
    floor = floor_of(recordings)

    def mix(wake_per_hour: float, foreign_per_hour: float, snr: float, scene_seed: int) -> Scene:
        settings = spec.scene.settings(
            duration_s=scene_s, wake_per_hour=wake_per_hour, foreign_per_hour=foreign_per_hour
        )
        settings = dataclasses.replace(settings, wake_snr_db=snr, gap_s=DENSE_GAP_S)
        return mix_scene(wake=wake, foreign=foreign, floor=floor, settings=settings, seed=scene_seed)

    dense, floors = (max(1, round(hours * 3600.0 / scene_s)) for hours in (dense_hours, floor_hours))
    asked_db = spec.scene.wake_snr_db
    jobs = [(DENSE_WAKE_PER_HOUR, DENSE_FOREIGN_PER_HOUR, asked_db, seed + i) for i in range(dense)]
    jobs += [(0.0, 0.0, asked_db, seed + FLOOR_SEED + i) for i in range(floors)]
    jobs += [(WAKE_ONLY_PER_HOUR, 0.0, snr, seed + SNR_SEED + i) for snr in snr_db for i in range(2)]
    scenes = Parallel(n_jobs=-1, backend="threading")(delayed(mix)(*job) for job in jobs)
    rest = scenes[dense + floors :]
    by_snr = {snr: tuple(rest[2 * i : 2 * i + 2]) for i, snr in enumerate(snr_db)}
    return StreamSet(dense=tuple(scenes[:dense]), floor=tuple(scenes[dense : dense + floors]), by_snr=by_snr)


def decide(frontend: FrontEnd, envelopes_v: NDArray[np.float32], *, rate_hz: float) -> list[NDArray[np.float32]]:
    """The integrator's voltage from training envelopes (scenes, frames, 3, bands), a row (frames,) a scene, in V."""
    rows: list[NDArray[np.float32]] = []
    together = rows_for(frontend.bank.bands)
    for start in range(0, len(envelopes_v), together):
        part = envelopes_v[start : start + together]
        stream = FrontEndStream(frontend, rows=len(part), rate_hz=rate_hz, frame_rate_hz=TRAINING_RATE_HZ)
        columns = np.ascontiguousarray(part.transpose(1, 2, 0, 3)).reshape(*part.shape[1:3], -1)
        rows += list(stream.decide(stream.compress(columns)))
    return rows


def streams_of(
    scenes: Sequence[Scene], values: Sequence[NDArray[np.floating]], *, frame_rate_hz: float = CONTROL_RATE_HZ
) -> list[Stream]:
    """Scores and events as `detection` takes them."""
    return [
        Stream(
            scores=np.asarray(score, dtype=np.float64),
            rate_hz=frame_rate_hz,
            onsets_s=np.array([event.onset_s for event in scene.events]),
            ends_s=np.array([event.end_s for event in scene.events]),
            labels=np.array([event.label for event in scene.events], dtype=np.str_),
            wake=np.array([event.wake for event in scene.events], dtype=np.bool_),
        )
        for scene, score in zip(scenes, values, strict=True)
    ]
