"""One run: evaluation points, divergence, scenarios."""

import pytest

from benchmark_task import BLOBS, blobs
from lightsleeper.benchmarks.one_run import EVALUATIONS, run_once
from lightsleeper.benchmarks.rivals import FAMILIES


def run(method: str = "sgd", *, rate: float = 0.1, steps: int = 120, scenario: str = "clean"):
    return run_once(
        BLOBS,
        blobs(),
        FAMILIES[method],
        [method],
        rate=rate,
        seed=0,
        batch=4,
        steps=steps,
        scenario=scenario,  # type: ignore[arg-type]
    )[0]


@pytest.mark.parametrize(("steps", "points"), [(120, EVALUATIONS), (40, EVALUATIONS), (7, 7), (1, 1)])
def test_evaluations_are_evenly_spread_and_end_with_the_run(steps: int, points: int):
    curve = run(steps=steps)
    assert len(curve.scores) == len(curve.at_steps) == points
    assert curve.at_steps[-1] == steps
    assert list(curve.at_steps) == sorted(set(curve.at_steps))


def test_a_diverged_run_ends_at_chance():
    curve = run(rate=1e30)
    assert curve.diverged
    assert curve.scores[-1] == pytest.approx(1 / 3)
    assert len(curve.scores) == EVALUATIONS


@pytest.mark.parametrize("method", ["pswa", "dog", "schedule_free", "lookahead", "adamw"])
def test_methods_that_meet_huge_steps_are_reported_not_raised(method: str):
    curve = run(method, rate=1e30)
    assert len(curve.scores) == EVALUATIONS
    assert all(0 <= score <= 1 for score in curve.scores)


def test_a_lasting_change_shows_as_a_fall_at_half_time_and_is_learned():
    curve = run(rate=0.3, steps=400, scenario="change")
    before, after = curve.scores[19], curve.scores[20]
    assert before > 0.9
    assert after < before
    assert curve.scores[-1] > 0.8


def test_a_glitch_hurts_for_a_while():
    clean, glitch = run(steps=400), run(steps=400, scenario="glitch")
    at = next(index for index, step in enumerate(clean.at_steps) if step > 400 // 3)
    assert glitch.scores[: at - 1] == clean.scores[: at - 1]
    assert min(glitch.scores[at : at + 5]) < min(clean.scores[at : at + 5])
