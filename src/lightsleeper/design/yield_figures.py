"""How chips are judged, and the figures of a Monte Carlo."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from lightsleeper.circuits import Chip, Trim, TrimRange
from lightsleeper.circuits.mismatch import check_range
from lightsleeper.design.chip_test import ChipTest
from lightsleeper.detection import wilson_interval
from lightsleeper.errors import InputError

__all__ = ["Rows", "YieldSettings", "yield_figures"]

Rows = list[dict[str, Any]]
"""One chip in one condition each: stage ("before" or "after" calibration), row in its group, seed, temperature_c, and
what `chip_test.Result` holds."""
WORST = 10


@dataclass(frozen=True, slots=True)
class YieldSettings:
    """Size and rules of a Monte Carlo.

    Attributes:
        chips: how many are made; rounded up to whole groups of those that are simulated side by side.
        temperatures_c: at which each trimmed chip is tested, -40 to 125 C.
        weight_law: how weights are stored, see `Chip`.
        bits: of every trim.
        years: age at the test; trims are set when the chip is new.
        test_s: length of the test, s.
        sequence_s: length of the factory's sequence, s.
        recall_points: largest loss of recall of a good chip, of 100 wake events.
        false_wake_points: largest rise of its false wakes, of 100 foreign sounds.
        seed: of chips, sounds and noise.
        effects: whether each effect is measured alone as well.
    """

    chips: int = 96
    temperatures_c: tuple[float, ...] = (-20.0, 27.0, 60.0)
    weight_law: Literal["charge", "ratio"] = "charge"
    bits: int = 6
    years: float = 0.0
    test_s: float = 900.0
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
        check_range("yield", "sequence_s", self.sequence_s, 30.0, 3600.0, "s")
        for name in ("recall_points", "false_wake_points"):
            check_range("yield", name, getattr(self, name), 0.0, 100.0, "points")
        check_range("yield", "seed", self.seed, 0, 1_000_000, "")
        Chip(years=self.years, weight_law=self.weight_law)
        TrimRange(bits=self.bits)


class _Judge:
    """Chips against the nominal stage in the same row, which heard the same noise."""

    def __init__(self, test: ChipTest, settings: YieldSettings, nominal: Rows) -> None:
        self._events, self._foreign = test.wake_events, test.foreign_sounds
        self._settings = settings
        self._hits = [row["hits"] for row in nominal]
        self._false = [row["false_wakes"] for row in nominal]

    def loss(self, row: dict[str, Any]) -> float:
        """Share of the wake events that the nominal stage hears in addition."""
        return float(self._hits[row["row"]] - row["hits"]) / self._events

    def rise(self, row: dict[str, Any]) -> float:
        """False wakes in addition to those of the nominal stage, per foreign sound."""
        return float(row["false_wakes"] - self._false[row["row"]]) / self._foreign

    def good(self, row: dict[str, Any]) -> bool:
        """Within both limits."""
        points = 100.0 * self.loss(row), 100.0 * self.rise(row)
        limits = self._settings.recall_points, self._settings.false_wake_points
        return all(value <= limit + 1e-9 for value, limit in zip(points, limits, strict=True))

    def summary(self, rows: Rows) -> dict[str, Any]:
        """Figures of chips in one condition."""
        losses = np.array([self.loss(row) for row in rows])
        good = sum(self.good(row) for row in rows)
        return {
            "chips": len(rows),
            "yield": good / len(rows),
            "yield_interval": list(wilson_interval(good, len(rows))),
            "recall": float(np.mean([row["hits"] for row in rows])) / self._events,
            "loss_of_recall": float(losses.mean()),
            "loss_of_recall_95_percent": float(np.quantile(losses, 0.95)),
            "false_wakes_per_100_foreign_rise": float(100.0 * np.mean([self.rise(row) for row in rows])),
            "recall_at_nominal_false_wakes": float(np.mean([row["recall_at_rate"] for row in rows])),
        }


def yield_figures(test: ChipTest, settings: YieldSettings, nominal: Rows, jobs: dict[str, Rows]) -> dict[str, Any]:
    """Figures of a Monte Carlo from the rows of its jobs; keys as in docs/yield.md.

    Args:
        test: what was heard.
        settings: how it was judged.
        nominal: rows of the nominal stage, one for each place in a group.
        jobs: rows by name: "noise", "effect NAME" and "chips NUMBER".
    """
    judge = _Judge(test, settings, nominal)
    stage = test.frontend
    neutral = Trim.neutral(stage.bank.bands, stage.network.neurons, TrimRange(bits=settings.bits))
    made = [row for name, rows in jobs.items() if name.startswith("chips ") for row in rows]
    before, after = ([row for row in made if row["stage"] == kind] for kind in ("before", "after"))
    chips = sorted({row["seed"] for row in made})
    failed = {row["seed"] for row in after if not judge.good(row)}
    good = len(chips) - len(failed)
    effects = {name.removeprefix("effect "): judge.summary(rows) for name, rows in jobs.items() if "effect" in name}
    by_temperature = {
        f"{t:g}": judge.summary([row for row in after if row["temperature_c"] == t]) for t in settings.temperatures_c
    }
    false_wakes = float(np.mean([row["false_wakes"] for row in nominal]))
    worst = sorted(after, key=lambda row: (-judge.loss(row), -judge.rise(row)))[:WORST]
    hits = round(float(np.mean([row["hits"] for row in nominal])))
    return {
        "chips": len(chips),
        "temperatures_c": list(settings.temperatures_c),
        "yield": good / len(chips),
        "yield_interval": list(wilson_interval(good, len(chips))),
        "effects": {name: figures["loss_of_recall"] for name, figures in effects.items()},
        "nominal": {
            "recall": hits / test.wake_events,
            "recall_interval": list(wilson_interval(hits, test.wake_events)),
            "false_wakes_per_100_foreign": 100.0 * false_wakes / test.foreign_sounds,
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
