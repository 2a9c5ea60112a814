"""Measure a finished design on recordings that it never saw: the standard scene's figures for both stages."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lightsleeper.circuits import FrontEnd
from lightsleeper.design.first_stage import decision_of
from lightsleeper.design.progress import Progress
from lightsleeper.design.second_stage import accept, wakes_of
from lightsleeper.design.spec import Spec
from lightsleeper.design.streams import StreamSet, make_streams, streams_of
from lightsleeper.detection import (
    Decision,
    DetectionFigures,
    OperatingCurve,
    Stream,
    evaluate,
    match_wakes,
    operating_curve,
    wilson_interval,
)
from lightsleeper.learning import SecondStage, scene_scores
from lightsleeper.recordings import Recording, Scene

__all__ = ["Design", "Measured", "as_pulses", "measure"]

TEST_SEED = 7_000_000


@dataclass(frozen=True, eq=False)
class Design:
    """A finished always-on system.

    Attributes:
        spec: what was asked.
        frontend: the analog stage with its threshold.
        model: the digital stage.
        threshold: probability from which the digital stage accepts a wake.
    """

    spec: Spec
    frontend: FrontEnd
    model: SecondStage
    threshold: float


@dataclass(frozen=True, eq=False)
class Measured:
    """Figures of a design on unseen recordings.

    Attributes:
        first: figures of the analog stage alone.
        system: figures of both stages.
        recall_by_snr: dB -> (hits, events) of the analog stage.
        recall_by_clip: file of a wake recording -> (hits, events) of the analog stage in the dense streams.
        curve: operating curve of the analog stage.
        streams: the scenes, of which the report shows a minute.
        clips, sources: number of recordings, and of sources among them.
    """

    first: DetectionFigures
    system: DetectionFigures
    recall_by_snr: dict[float, tuple[int, int]]
    recall_by_clip: dict[str, tuple[int, int]]
    curve: OperatingCurve
    streams: StreamSet
    clips: int
    sources: int

    def snr_rows(self) -> dict[str, dict[str, object]]:
        """Recall by signal-to-noise ratio with Wilson intervals."""
        return {
            f"{snr:g}": {
                "recall": hits / events,
                "interval": list(wilson_interval(hits, events)),
                "events": events,
            }
            for snr, (hits, events) in self.recall_by_snr.items()
        }

    def clip_rows(self) -> list[dict[str, object]]:
        """Recall of each wake recording, the hardest first."""
        rows = [
            {"file": file, "recall": hits / events, "events": events}
            for file, (hits, events) in self.recall_by_clip.items()
        ]
        return sorted(rows, key=lambda row: (row["recall"], row["file"]))


def measure(
    design: Design,
    recordings: Sequence[Recording],
    *,
    dense_hours: float,
    floor_hours: float,
    snr_db: Sequence[float],
    seed: int,
    progress: Progress,
) -> Measured:
    """Mix test streams, run both stages over them, count."""
    spec = design.spec
    seed = TEST_SEED + 10_000 * seed
    progress.begin("mixing test streams", 0)
    streams = make_streams(recordings, spec, dense_hours=dense_hours, floor_hours=floor_hours, snr_db=snr_db, seed=seed)
    graded = [scene for scenes in streams.by_snr.values() for scene in scenes]
    scenes = [*streams.dense, *streams.floor, *graded]
    progress.begin("hearing test streams", len(scenes))
    heard = streams_of(scenes, scene_scores(design.frontend, scenes, noise_seed=seed, report=progress.advance))
    count = len(streams.dense)
    tested = count + len(streams.floor)
    decision = decision_of(design.frontend)
    foreign_per_hour = spec.scene.foreign_per_hour
    progress.begin("checking with the digital stage", 0)
    wakes = wakes_of(heard[:tested], decision)
    confirmed = accept(design.model, design.threshold, scenes[:tested], wakes, spec)
    pulses = [as_pulses(stream, times) for stream, times in zip(heard[:tested], confirmed, strict=True)]
    return Measured(
        first=evaluate(heard[:count], heard[count:tested], decision, foreign_per_hour=foreign_per_hour),
        system=evaluate(pulses[:count], pulses[count:], Decision(threshold=0.5), foreign_per_hour=foreign_per_hour),
        recall_by_snr=_by_snr(heard[tested:], list(streams.by_snr), decision),
        recall_by_clip=_by_clip(streams.dense, heard[:count], wakes[:count]),
        curve=operating_curve(heard[:count], heard[count:tested], decision=decision, foreign_per_hour=foreign_per_hour),
        streams=streams,
        clips=len(recordings),
        sources=len({recording.source for recording in recordings}),
    )


def _by_snr(streams: Sequence[Stream], snr_db: Sequence[float], decision: Decision) -> dict[float, tuple[int, int]]:
    if not snr_db:
        return {}
    each = len(streams) // len(snr_db)
    figures = [
        evaluate(streams[i * each : (i + 1) * each], (), decision, foreign_per_hour=0.0) for i in range(len(snr_db))
    ]
    return {snr: (figure.hits, figure.events) for snr, figure in zip(snr_db, figures, strict=True)}


def _by_clip(
    scenes: Sequence[Scene], streams: Sequence[Stream], wakes_s: Sequence[NDArray[np.float64]]
) -> dict[str, tuple[int, int]]:
    counts: dict[str, tuple[int, int]] = {}
    for scene, stream, times in zip(scenes, streams, wakes_s, strict=True):
        hit = match_wakes(times, stream.onsets_s[stream.wake], stream.ends_s[stream.wake]).hit
        files = [event.file for event in scene.events if event.wake]
        for file, one in zip(files, hit.tolist(), strict=True):
            hits, events = counts.get(file, (0, 0))
            counts[file] = (hits + one, events + 1)
    return counts


def as_pulses(stream: Stream, times_s: NDArray[np.float64]) -> Stream:
    """The stream with a score of 1 at the given wakes and 0 elsewhere."""
    values = np.zeros_like(stream.scores)
    values[np.round(times_s * stream.rate_hz).astype(int)] = 1.0
    return dataclasses.replace(stream, scores=values)
