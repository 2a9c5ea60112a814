"""The test of a chip: which sounds it hears, what the factory trims it with, and how it is judged."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lightsleeper.circuits import Chip, Factory, FrontEnd, FrontEndStream, TrimRange
from lightsleeper.design.material import Material
from lightsleeper.design.spec import Spec
from lightsleeper.design.streams import streams_of
from lightsleeper.detection import Decision, Stream, evaluate, operating_curve
from lightsleeper.learning import floor_of
from lightsleeper.recordings import Recording, Scene, mix_scene

__all__ = ["ChipTest", "Result"]

EVENTS_PER_HOUR = 280.0
"""Wake events, and as many foreign sounds: as dense as the gap lets ordinary clips be."""
GAP_S = 2.5
"""Wakes closer than 2 s are one."""
TEST_SEED = 8_000_000
CHUNK_S = 1.0
"""Simulated at once: what sixteen chips make of it stays in the cache."""


@dataclass(frozen=True, slots=True)
class Result:
    """What one chip did in the test.

    Attributes:
        hits: wake events heard.
        false_wakes: wakes at foreign sounds and on bare floor.
        false_wakes_per_hour: at the density of the standard scene; in so dense a scene the rate on the bare floor, of
            which little is heard, weighs heavily, so that it serves to compare and not to report.
        recall_at_rate: best recall over all thresholds at no more false wakes an hour than asked for.
    """

    hits: int
    false_wakes: int
    false_wakes_per_hour: float
    recall_at_rate: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, eq=False)
class ChipTest:
    """Sounds and rules of the test; the same for every chip.

    Attributes:
        frontend: the design.
        scenes: wake events and foreign sounds of recordings that the design never saw, as many in each; the first is
            for every chip, the others for those about which it leaves doubt.
        sequence: what the factory plays while it trims, of recordings that the design was trained on.
        foreign_per_hour: of the standard scene.
        noise_seed: row r of every group of chips hears the same noise.
    """

    frontend: FrontEnd
    scenes: tuple[Scene, ...]
    sequence: Scene
    foreign_per_hour: float
    noise_seed: int

    @classmethod
    def of(
        cls,
        frontend: FrontEnd,
        material: Material,
        spec: Spec,
        *,
        test_s: float,
        retests: int,
        sequence_s: float,
        seed: int,
    ) -> "ChipTest":
        """Mix the scenes, 1 + `retests` of `test_s` each, and the sequence from the recordings of a design."""
        first = TEST_SEED + 10_000 * seed
        seeds = [first, *range(first + 100, first + 100 + retests)]
        return cls(
            frontend=frontend,
            scenes=tuple(_scene(material.test, spec, duration_s=test_s, seed=seed) for seed in seeds),
            sequence=_scene(material.train, spec, duration_s=sequence_s, seed=first + 1),
            foreign_per_hour=spec.scene.foreign_per_hour,
            noise_seed=first + 2,
        )

    @property
    def wake_events(self) -> int:
        """Number of wake events in each scene."""
        return sum(event.wake for event in self.scenes[0].events)

    @property
    def foreign_sounds(self) -> int:
        """Number of foreign sounds in each scene."""
        return len(self.scenes[0].events) - self.wake_events

    def factory(self, trim_range: TrimRange, *, rows: int) -> Factory:
        """Where chips are trimmed on the sequence, `rows` side by side."""
        volts = self.sequence.pressure_pa * self._sensitivity
        rate_hz, noise_seed = self.sequence.rate_hz, self.noise_seed + 1
        return Factory(self.frontend, volts, rate_hz, rows=rows, noise_seed=noise_seed, trim_range=trim_range)

    def judge(
        self, chips: Sequence[Chip], *, per_hour: float, scenes: Sequence[int] = (), noise: int = 0
    ) -> list[Result]:
        """Results of chips side by side, each at its own threshold.

        Args:
            chips: as many as the columns hold.
            per_hour: rate for `Result.recall_at_rate`.
            scenes: which each of them hears; none given: all hear the first.
            noise: another number is another noise; so is another scene for the first chip.
        """
        numbers = scenes or [0] * len(chips)
        heard = [self.scenes[number] for number in numbers]
        rate_hz = heard[0].rate_hz
        stream = FrontEndStream(
            self.frontend,
            rows=len(chips),
            rate_hz=rate_hz,
            noise_seed=self.noise_seed + 1000 * noise + 10 * numbers[0],
            chips=chips,
        )
        step = round(CHUNK_S * rate_hz)
        chunks = (slice(i, i + step) for i in range(0, heard[0].pressure_pa.size, step))
        pressures_pa = (np.stack([scene.pressure_pa[chunk] for scene in heard]) for chunk in chunks)
        integrals_v = np.concatenate([stream.process(part * self._sensitivity) for part in pressures_pa], axis=1)
        comparators = [row.frontend.comparator for row in stream.built]
        decisions = [Decision(threshold=c.threshold_v, hysteresis=c.hysteresis_v) for c in comparators]
        made = zip(heard, integrals_v, decisions, strict=True)
        return [self._result(streams_of([scene], [row]), decision, per_hour) for scene, row, decision in made]

    @property
    def _sensitivity(self) -> np.float32:
        return np.float32(self.frontend.microphone.sensitivity_v_per_pa)

    def _result(self, streams: Sequence[Stream], decision: Decision, per_hour: float) -> Result:
        figures = evaluate(streams, (), decision, foreign_per_hour=self.foreign_per_hour)
        curve = operating_curve(streams, decision=decision, foreign_per_hour=self.foreign_per_hour)
        within = np.maximum.accumulate(curve.false_wakes_per_hour) <= per_hour
        return Result(
            hits=figures.hits,
            false_wakes=figures.false_wakes,
            false_wakes_per_hour=figures.false_wakes_per_hour,
            recall_at_rate=float(curve.recall[within].max(initial=0.0)),
        )


def _scene(recordings: Sequence[Recording], spec: Spec, *, duration_s: float, seed: int) -> Scene:
    settings = spec.scene.settings(
        duration_s=duration_s, wake_per_hour=EVENTS_PER_HOUR, foreign_per_hour=EVENTS_PER_HOUR
    )
    return mix_scene(
        wake=[r for r in recordings if r.label == spec.wake],
        foreign=[r for r in recordings if r.label != spec.wake],
        floor=floor_of(recordings),
        settings=dataclasses.replace(settings, gap_s=GAP_S),
        seed=seed,
    )
