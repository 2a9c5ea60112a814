"""Summaries of hand-made curves with known answers."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark_task import a_result
from lightsleeper.benchmarks.printed import SUMMARY_HEADING, summary_tables
from lightsleeper.benchmarks.tables import summarise, usable_range, worst_drop

RATES = (0.01, 0.1, 1.0, 10.0)


@pytest.mark.parametrize(
    ("scores", "low", "high"),
    [
        ((0.5, 0.9, 0.5, 0.5), 0.1, 0.1),
        ((0.88, 0.9, 0.89, 0.5), 0.01, 1.0),
        ((0.9, 0.5, 0.895, 0.9), 0.01, 0.01),  # a gap ends the range
        ((0.879, 0.9, 0.881, 0.9), 0.1, 10.0),
        ((0.1, 0.1, 0.1, 0.1), 0.01, 10.0),
    ],
)
def test_usable_range(scores, low, high):
    assert usable_range(RATES, scores) == (low, high)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_usable_range_holds_the_best_and_only_good_rates(scores: list[float]):
    rates = [2.0**index for index in range(len(scores))]
    low, high = usable_range(rates, scores)
    inside = [score for rate, score in zip(rates, scores, strict=True) if low <= rate <= high]
    assert max(inside) == max(scores)
    assert min(inside) >= max(scores) - 0.02 - 1e-9


@pytest.mark.parametrize(
    ("scores", "apart", "drop"),
    [
        ([0.1, 0.5, 0.9], 1, 0.0),
        ([0.1, 0.5, 0.3, 0.6, 0.2], 1, 0.4),
        ([0.1, 0.5, 0.3, 0.6, 0.2], 2, 0.1),  # of 0.1, 0.3, 0.2
        ([0.7], 1, 0.0),
    ],
)
def test_worst_drop(scores, apart, drop):
    assert worst_drop(scores, apart=apart) == pytest.approx(drop)


def made() -> dict:
    """One-cycle ends at 0.8 on average at its best rate of two; SGD passes that at three quarters, then falls."""
    results = [
        a_result([0.2, 0.4, 0.6, 0.78], method="one_cycle", rate=0.1, seed=0),
        a_result([0.2, 0.4, 0.6, 0.82], method="one_cycle", rate=0.1, seed=1),
        a_result([0.2, 0.3, 0.4, 0.5], method="one_cycle", rate=1.0, seed=0),
        a_result([0.2, 0.3, 0.4, 0.5], method="one_cycle", rate=1.0, seed=1),
        a_result([0.3, 0.7, 0.85, 0.7], method="sgd", rate=0.1, seed=0),
        a_result([0.3, 0.7, 0.75, 0.7], method="sgd", rate=0.1, seed=1),
        a_result([0.3, 0.6, 0.6, 0.69], method="sgd", rate=1.0, seed=0),
        a_result([0.3, 0.6, 0.6, 0.69], method="sgd", rate=1.0, seed=1),
        a_result([0.3, 0.1, 0.1, 0.1], method="sgd", rate=3.0, seed=0, diverged=True),
        a_result([0.3, 0.1, 0.1, 0.14], method="sgd", rate=3.0, seed=1),
    ]
    return {result.key: result for result in results}


def test_summary_of_hand_made_curves():
    sgd, one_cycle = summarise(made())
    assert (sgd["method"], one_cycle["method"]) == ("sgd", "one_cycle")
    assert sgd["target"] == one_cycle["target"] == pytest.approx(0.8)
    assert one_cycle["best_rate"] == 0.1
    assert one_cycle["steps_to_target"] == 400
    assert one_cycle["score_interval"] == pytest.approx([0.8 - 12.706 * 0.02, 0.8 + 12.706 * 0.02], abs=1e-4)
    assert one_cycle["usable_range"] == 1.0
    assert sgd["best_rate"] == 0.1
    assert sgd["at_grid_edge"]
    assert sgd["usable_range"] == pytest.approx(10.0)
    assert sgd["range_at_grid_edge"]
    assert sgd["steps_to_target"] == 300
    assert sgd["share_to_target"] == 0.75
    assert sgd["worst_drop"] == sgd["worst_drop_epoch"] == pytest.approx((0.15 + 0.05) / 2)
    assert (sgd["diverged"], sgd["at_chance"], sgd["runs"]) == (1, 1, 6)
    assert [rate["rate"] for rate in sgd["rates"]] == [0.1, 1.0, 3.0]
    assert sgd["rates"][0]["curve"] == pytest.approx([0.3, 0.7, 0.8, 0.7])


def test_one_seed_has_no_interval_and_no_one_cycle_no_target():
    result = a_result([0.3, 0.5])
    (row,) = summarise({result.key: result})
    assert row["score_interval"] is None
    assert row["target"] is None
    assert row["steps_to_target"] is None
    assert not row["at_grid_edge"]


def test_tasks_batches_and_scenarios_are_kept_apart():
    results = [a_result([0.5], batch=batch, scenario=scenario) for batch in (1, 8) for scenario in ("clean", "glitch")]
    rows = summarise({result.key: result for result in results})
    assert {(row["batch"], row["scenario"]) for row in rows} == {
        (1, "clean"),
        (1, "glitch"),
        (8, "clean"),
        (8, "glitch"),
    }


def test_printed_table_holds_the_sizes_and_the_marks():
    ((title, lines),) = summary_tables(summarise(made()))
    assert "400 training examples, batch 4, 400 steps" in title
    assert "s.e. up to 3.0 points" in title
    assert all(len(line) == len(SUMMARY_HEADING) for line in lines)
    sgd = dict(zip(SUMMARY_HEADING, lines[0], strict=True))
    assert sgd["at rate"] == "0.1 !"
    assert sgd["range"] == ">10x"
    assert sgd["to target"] == "0.75"
    assert sgd["drop"] == "10.0"
    assert sgd["failed"] == "1+1 of 6"
    assert not any(math.isnan(rate["score"]) for row in summarise(made()) for rate in row["rates"])
