"""How chips are judged, and the figures of a Monte Carlo."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from lightsleeper.circuits import Chip, Trim, TrimRange
from lightsleeper.circuits.mismatch import check_range
from lightsleeper.design.chip_test import ChipTest
from lightsleeper.detection import wilson_interval
from lightsleeper.errors import InputError

__all__ = ["Judge", "Row", "Rows", "YieldSettings", "yield_figures"]

Row = dict[str, Any]
"""One chip in one condition each: stage ("before" or "after" calibration), row in its group, seed, temperature_c, tests
(how many it heard), what `chip_test.Result` holds (hits and false wakes in all of them, the rest in the first), first
(hits and false wakes in the first)."""
Rows = list[Row]
WORST = 10
EXACT = 1e-9
"""Sums of shares are not exact."""
NEAR_EVENTS = 2.0
"""A calibrated chip whose worse figure lies within so many events of its limit is tested again: the circuit's noise
alone scatters the hits of a test of 280 events by 1.2 (docs/yield.md)."""


@dataclass(frozen=True, slots=True)
class YieldSettings:
    """Size and rules of a Monte Carlo.

    Attributes:
        chips: how many are made; rounded up to whole groups of those that are simulated side by side.
        temperatures_c: at which each trimmed chip is tested, -40 to 125 C.
        weight_law: how weights are stored, see `Chip`.
        transistors: whether all chips have in common what five-transistor transconductors make of the filters, which
            ngspice identifies.
        bits: of every trim.
        years: age at the test; trims are set when the chip is new.
        test_s: length of a test, s.
        retests: how many more tests a calibrated chip hears that came within two events of a limit; all then decide.
        sequence_s: length of the factory's sequence, s.
        recall_points: largest loss of recall of a good chip, of 100 wake events.
        false_wake_points: largest rise of its false wakes, of 100 foreign sounds.
        seed: of chips, sounds and noise.
        effects: whether each effect is measured alone as well.
    """

    chips: int = 96
    temperatures_c: tuple[float, ...] = (-20.0, 27.0, 60.0)
    weight_law: Literal["charge", "ratio"] = "charge"
    transistors: bool = False
    bits: int = 6
    years: float = 0.0
    test_s: float = 900.0
    retests: int = 3
    sequence_s: float = 600.0
    recall_points: float = 2.0
    false_wake_points: float = 2.0
    seed: int = 0
    effects: bool = True

    def __post_init__(self) -> None:
        check_range("yield", "chips", self.chips, 1, 1_000_000, "")
        if not self.temperatures_c:
            raise InputError("yield: temperatures_c is empty; give at least one temperature")
        for temperature_c in self.temperatures_c:
            check_range("yield", "temperatures_c", temperature_c, -40.0, 125.0, "C")
        check_range("yield", "test_s", self.test_s, 60.0, 36_000.0, "s")
        check_range("yield", "retests", self.retests, 0, 20, "")
        check_range("yield", "sequence_s", self.sequence_s, 30.0, 3600.0, "s")
        for name in ("recall_points", "false_wake_points"):
            check_range("yield", name, getattr(self, name), 0.0, 100.0, "points")
        check_range("yield", "seed", self.seed, 0, 1_000_000, "")
        Chip(years=self.years, weight_law=self.weight_law)
        TrimRange(bits=self.bits)


class Judge:
    """Chips against the nominal stage that heard the same tests, on the mean over the noises of a group.

    Args:
        test: what was heard.
        settings: the limits.
        nominal: rows of the nominal stage in each test.
    """

    def __init__(self, test: ChipTest, settings: YieldSettings, nominal: Sequence[Rows]) -> None:
        self._events, self._foreign = test.wake_events, test.foreign_sounds
        self._settings = settings
        self._hits, self._false_wakes = (
            np.cumsum([np.mean([row[name] for row in rows]) for rows in nominal]) for name in ("hits", "false_wakes")
        )
        self.per_hour = float(np.mean([row["false_wakes_per_hour"] for row in nominal[0]]))
        self.recall = float(self._hits[-1]) / (len(nominal) * self._events)
        self.recall_interval = wilson_interval(round(float(self._hits[-1])), len(nominal) * self._events)
        self.false_wakes = float(self._false_wakes[-1]) / (len(nominal) * self._foreign)

    def loss(self, row: Row) -> float:
        """Share of the wake events that the nominal stage hears in addition."""
        return self._loss(row["hits"], row["tests"])

    def rise(self, row: Row) -> float:
        """False wakes in addition to those of the nominal stage, per foreign sound."""
        return self._rise(row["false_wakes"], row["tests"])

    def good(self, row: Row) -> bool:
        """Within both limits."""
        return self._within(self.loss(row), self.rise(row))

    def good_at_first(self, row: Row) -> bool:
        """Within both limits in the first test."""
        hits, false_wakes = row["first"]
        return self._within(self._loss(hits, 1), self._rise(false_wakes, 1))

    def near(self, row: Row) -> bool:
        """Whether the worse figure of the first test is so close to its limit that noise may have decided."""
        lost = self._events * (self.loss(row) - self._settings.recall_points / 100.0)
        added = self._foreign * (self.rise(row) - self._settings.false_wake_points / 100.0)
        return abs(max(lost, added)) <= NEAR_EVENTS + EXACT

    def _loss(self, hits: int, tests: int) -> float:
        return (float(self._hits[tests - 1]) - hits) / (tests * self._events)

    def _rise(self, false_wakes: int, tests: int) -> float:
        return (false_wakes - float(self._false_wakes[tests - 1])) / (tests * self._foreign)

    def _within(self, loss: float, rise: float) -> bool:
        limits = self._settings.recall_points, self._settings.false_wake_points
        return all(100.0 * share <= limit + EXACT for share, limit in zip((loss, rise), limits, strict=True))

    def summary(self, rows: Rows) -> dict[str, Any]:
        """Figures of chips in one condition."""
        losses = np.array([self.loss(row) for row in rows])
        good = sum(self.good(row) for row in rows)
        return {
            "chips": len(rows),
            "yield": good / len(rows),
            "yield_interval": list(wilson_interval(good, len(rows))),
            "yield_first_test": sum(self.good_at_first(row) for row in rows) / len(rows),
            "tested_again": sum(row["tests"] > 1 for row in rows),
            "recall": float(np.mean([row["hits"] / row["tests"] for row in rows])) / self._events,
            "loss_of_recall": float(losses.mean()),
            "loss_of_recall_95_percent": float(np.quantile(losses, 0.95)),
            "false_wakes_per_100_foreign_rise": float(100.0 * np.mean([self.rise(row) for row in rows])),
            "recall_at_nominal_false_wakes": float(np.mean([row["recall_at_rate"] for row in rows])),
        }


def yield_figures(test: ChipTest, settings: YieldSettings, judge: Judge, jobs: dict[str, Rows]) -> dict[str, Any]:
    """Figures of a Monte Carlo from the rows of its jobs; keys as in docs/yield.md.

    Args:
        test: what was heard.
        settings: what was asked for.
        judge: of the chips.
        jobs: rows by name: "noise", "effect NAME" and "chips NUMBER".
    """
    stage = test.frontend
    neutral = Trim.neutral(stage.bank.bands, stage.network.neurons, TrimRange(bits=settings.bits))
    made = [row for name, rows in jobs.items() if name.startswith("chips ") for row in rows]
    before, after = ([row for row in made if row["stage"] == kind] for kind in ("before", "after"))
    chips = sorted({row["seed"] for row in made})
    failed, failed_first = (
        {row["seed"] for row in after if not good(row)} for good in (judge.good, judge.good_at_first)
    )
    good = len(chips) - len(failed)
    effects = {name.removeprefix("effect "): judge.summary(rows) for name, rows in jobs.items() if "effect" in name}
    by_temperature = {
        f"{t:g}": judge.summary([row for row in after if row["temperature_c"] == t]) for t in settings.temperatures_c
    }
    worst = sorted(after, key=lambda row: (-judge.loss(row), -judge.rise(row)))[:WORST]
    return {
        "chips": len(chips),
        "temperatures_c": list(settings.temperatures_c),
        "yield": good / len(chips),
        "yield_interval": list(wilson_interval(good, len(chips))),
        "yield_first_test": 1.0 - len(failed_first) / len(chips),
        "effects": {name: figures["loss_of_recall"] for name, figures in effects.items()},
        "nominal": {
            "recall": judge.recall,
            "recall_interval": list(judge.recall_interval),
            "false_wakes_per_100_foreign": 100.0 * judge.false_wakes,
        },
        "before_calibration": judge.summary(before),
        "after_calibration": by_temperature,
        "noise_alone": judge.summary(jobs["noise"]),
        "effects_in_full": effects,
        "worst_chips": [
            {
                "seed": row["seed"],
                "temperature_c": row["temperature_c"],
                "loss_of_recall": judge.loss(row),
                "false_wakes_per_100_foreign_rise": 100.0 * judge.rise(row),
            }
            for row in worst
        ],
        "points": [[row["stage"], row["temperature_c"], judge.loss(row), 100.0 * judge.rise(row)] for row in made],
        "conditions": {
            **dataclasses.asdict(settings),
            "temperatures_c": list(settings.temperatures_c),
            "trim_bits_per_chip": neutral.total_bits,
            "wake_events": test.wake_events,
            "foreign_sounds": test.foreign_sounds,
        },
    }
