"""Monte Carlo over chips and temperatures: how many of those made do what was designed, and what costs the others."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np

from lightsleeper.circuits import EFFECTS, Chip, Factory, FilterErrors, Mismatch, TrimRange
from lightsleeper.circuits.spice import OtaKind, identify_filters
from lightsleeper.design.chip_test import ChipTest
from lightsleeper.design.material import gather
from lightsleeper.design.measure import Design
from lightsleeper.design.progress import Progress
from lightsleeper.design.yield_figures import Judge, Row, Rows, YieldSettings, yield_figures
from lightsleeper.errors import InputError
from lightsleeper.learning import rows_for
from lightsleeper.recordings import Recording

__all__ = ["digest_of", "effect_jobs", "measure_yield"]

Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]
"""As joblib delays it; it returns a name and rows."""
DRIFT_YEARS = 10.0
SUPPLY_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class _Job:
    """One group of chips side by side.

    Attributes:
        name: group of chips, or what the chips are.
        chips: untrimmed.
        temperatures_c: at which they are tested after calibration; none: they are not calibrated.
        noise: which noise they hear; 0 is that of the nominal stage.
    """

    name: str
    chips: tuple[Chip, ...]
    temperatures_c: tuple[float, ...] = ()
    noise: int = 0

    def run(self, test: ChipTest, judge: Judge, factory: Factory | None = None) -> Rows:
        """A row a chip and condition; without a factory no chip is calibrated."""
        before = self._tested("before", self.chips, test, judge)
        after: list[tuple[Row, Chip]] = []
        if factory:
            trimmed = factory.trim(self.chips)
            for temperature_c in self.temperatures_c:
                there = [dataclasses.replace(chip, temperature_c=temperature_c) for chip in trimmed]
                after += self._tested("after", there, test, judge)
        doubtful = [(row, chip) for row, chip in (before if self.noise else after) if judge.near(row)]
        self._test_again(doubtful, test, judge)
        return [row for row, _ in before + after]

    def _tested(self, stage: str, chips: Sequence[Chip], test: ChipTest, judge: Judge) -> list[tuple[Row, Chip]]:
        results = test.judge(chips, per_hour=judge.per_hour, noise=self.noise)
        made = []
        for number, (chip, result) in enumerate(zip(chips, results, strict=True)):
            row = {"stage": stage, "row": number, "seed": chip.seed, "temperature_c": chip.temperature_c, "tests": 1}
            made.append((row | result.as_dict() | {"first": [result.hits, result.false_wakes]}, chip))
        return made

    def _test_again(self, doubtful: Sequence[tuple[Row, Chip]], test: ChipTest, judge: Judge) -> None:
        """Add the other scenes to the rows of chips about which the first left doubt."""
        again = [(row, chip, scene) for scene in range(1, len(test.scenes)) for row, chip in doubtful]
        for first in range(0, len(again), len(self.chips)):
            rows, chips, scenes = zip(*again[first : first + len(self.chips)], strict=True)
            results = test.judge(chips, per_hour=judge.per_hour, scenes=scenes, noise=self.noise)
            for row, result in zip(rows, results, strict=True):
                row["tests"] += 1
                row["hits"] += result.hits
                row["false_wakes"] += result.false_wakes


class _Store:
    """Finished jobs in a file, a line each, so that a broken-off Monte Carlo goes on where it stood."""

    def __init__(self, path: Path, digest: str) -> None:
        self._path, self._digest = path, digest
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        whole = text[: text.rfind("\n") + 1]
        if whole != text:
            path.write_text(whole, encoding="utf-8")
        try:
            lines = [json.loads(line) for line in whole.splitlines()]
            self.done: dict[str, Rows] = {line["job"]: line["rows"] for line in lines if line["digest"] == digest}
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{path}: is no file of finished chips; remove it") from None

    def add(self, job: str, rows: Rows) -> None:
        self.done[job] = rows
        line = json.dumps({"digest": self._digest, "job": job, "rows": rows}, allow_nan=False)
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:
            raise InputError(f"{self._path}: cannot be written ({error.strerror})") from None

    def complete(self, calls: Mapping[str, Call], title: str, *, workers: int, progress: Progress) -> dict[str, Rows]:
        """Rows of all by name; only what is missing is called."""
        missing = [call for name, call in calls.items() if name not in self.done]
        progress.begin(title, len(missing))
        for name, rows in joblib.Parallel(n_jobs=workers, return_as="generator_unordered")(missing):
            self.add(name, rows)
            progress.advance()
        return {name: self.done[name] for name in calls}


def measure_yield(
    design: Design, settings: YieldSettings, *, store: Path, workers: int, progress: Progress
) -> dict[str, Any]:
    """Make chips, test them before and after calibration, and each effect alone.

    Jobs go through joblib, hence also to a cluster whose backend the caller has chosen.

    Args:
        design: the finished design; its recordings are read again.
        settings: see `YieldSettings`.
        store: file of finished chips; those of the same design, settings and sounds are not made again.
        workers: processes; -1 for all.
        progress: told of every finished group.

    Returns:
        Plain values for JSON: `chips`, `temperatures_c`, `yield`, `yield_interval` (after calibration, each chip at all
        temperatures), `effects` (name -> loss of recall of chips with this effect alone, before calibration), and
        beside them what stands in docs/yield.md.
    """
    systematic = identify_filters(design.frontend, OtaKind.FIVE_TRANSISTOR) if settings.transistors else None
    material = gather(design.spec, progress)
    progress.begin("mixing the test", 0)
    test = ChipTest.of(
        design.frontend,
        material,
        design.spec,
        test_s=settings.test_s,
        retests=settings.retests,
        sequence_s=settings.sequence_s,
        seed=settings.seed,
    )
    finished = _Store(store, digest_of(design, settings, material.everything.recordings, systematic))
    rows = rows_for(design.frontend.bank.bands)
    here = design.frontend.process.temperature_c
    nominal = Chip(temperature_c=here, effects=())
    scenes = {f"nominal {scene}": joblib.delayed(_nominal)(test, scene, rows) for scene in range(len(test.scenes))}
    heard = finished.complete(scenes, "testing the nominal stage", workers=workers, progress=progress)
    judge = Judge(test, settings, list(heard.values()))
    jobs = [_Job("noise", (nominal,) * rows, noise=1)]
    if settings.effects:
        supply_v = design.frontend.process.supply_v
        jobs += effect_jobs(nominal, settings, rows=rows, supply_v=supply_v, systematic=systematic)
    groups = -(-settings.chips // rows)
    made = dataclasses.replace(
        nominal, effects=EFFECTS, systematic=systematic, weight_law=settings.weight_law, years=settings.years
    )
    jobs += [_group(index, rows, settings, made) for index in range(groups)]
    factory = None
    if any(job.name not in finished.done for job in jobs):
        progress.begin("trimming: what the nominal stage hears", 0)
        factory = test.factory(TrimRange(bits=settings.bits), rows=rows)
    calls = {job.name: joblib.delayed(_named)(job, test, judge, factory) for job in jobs}
    done = finished.complete(calls, "testing chips", workers=workers, progress=progress)
    return yield_figures(test, settings, judge, done)


def _nominal(test: ChipTest, scene: int, rows: int) -> tuple[str, Rows]:
    chips = (Chip(temperature_c=test.frontend.process.temperature_c, effects=()),) * rows
    results = test.judge(chips, per_hour=np.inf, scenes=[scene] * rows)
    return f"nominal {scene}", [result.as_dict() for result in results]


def _named(job: _Job, test: ChipTest, judge: Judge, factory: Factory | None) -> tuple[str, Rows]:
    return job.name, job.run(test, judge, factory if job.temperatures_c else None)


def digest_of(
    design: Design,
    settings: YieldSettings,
    recordings: Sequence[Recording],
    systematic: FilterErrors | None = None,
) -> str:
    """What a finished chip hangs on: all but how many there are.

    The transistors count by the errors that they make, the recordings by what is in them, wherever they lie.
    """
    kept = dataclasses.asdict(settings)
    for name in ("chips", "effects", "transistors"):
        del kept[name]
    spread = dataclasses.asdict(Mismatch()) | dataclasses.asdict(TrimRange())
    common = [dataclasses.asdict(systematic)] if systematic else []
    spec = design.spec.model_dump(mode="json", exclude={"recordings"})
    names = [(each.file, each.label, each.source, each.fold) for each in recordings]
    text = json.dumps([design.frontend.to_dict(), spec, kept, spread, *common, names], sort_keys=True)
    digest = hashlib.sha256(text.encode())
    for each in recordings:
        digest.update(each.samples.tobytes())
    return digest.hexdigest()[:16]


def _group(index: int, rows: int, settings: YieldSettings, chip: Chip) -> _Job:
    first = 1_000_000 * settings.seed + index * rows
    chips = tuple(dataclasses.replace(chip, seed=seed) for seed in range(first, first + rows))
    return _Job(f"chips {index}", chips, settings.temperatures_c)


def effect_jobs(
    nominal: Chip, settings: YieldSettings, *, rows: int, supply_v: float, systematic: FilterErrors | None = None
) -> list[_Job]:
    """Each effect alone, on `rows` chips that are not calibrated; `supply_v` is the nominal supply."""
    nominal = dataclasses.replace(nominal, weight_law=settings.weight_law)
    shares = (1.0 - SUPPLY_SHARE, 1.0 + SUPPLY_SHARE)
    jobs = [
        _Job(
            "effect supply", tuple(dataclasses.replace(nominal, supply_v=supply_v * shares[i % 2]) for i in range(rows))
        )
    ]
    for temperature_c in settings.temperatures_c:
        if temperature_c != nominal.temperature_c:
            chips = (dataclasses.replace(nominal, temperature_c=temperature_c),) * rows
            jobs.append(_Job(f"effect temperature {temperature_c:g} C", chips))
    if systematic:
        jobs.append(_Job("effect transistors", (dataclasses.replace(nominal, systematic=systematic),) * rows))
    for effect in EFFECTS:
        years = DRIFT_YEARS if effect == "drift" else 0.0
        seeds = range(1_000_000 * settings.seed, 1_000_000 * settings.seed + rows)
        chips = tuple(dataclasses.replace(nominal, seed=seed, effects=(effect,), years=years) for seed in seeds)
        jobs.append(_Job(f"effect {effect}", chips))
    return jobs
