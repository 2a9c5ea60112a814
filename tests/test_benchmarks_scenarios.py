"""Batches of a run: permutations, glitch, lasting change, recording order."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmark_task import BLOBS, blobs
from lightsleeper.benchmarks.scenarios import GLITCH_BATCHES, batches, check_scenario, rotated, test_labels
from lightsleeper.benchmarks.tasks import TASKS
from lightsleeper.errors import InputError

labels_after = test_labels
labels_after.__test__ = False  # type: ignore[attr-defined]  # a function of the benchmark, no test


def streams(scenario: str, *, steps: int = 150, seed: int = 3) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return list(batches(blobs(), batch=4, steps=steps, seed=seed, scenario=scenario))  # type: ignore[arg-type]


@given(batch=st.integers(1, 50), steps=st.integers(1, 30), seed=st.integers(0, 5))
def test_an_epoch_shows_every_example_once(batch: int, steps: int, seed: int):
    data = blobs(train=40, test=1)
    seen = torch.cat([x for x, _ in batches(data, batch=batch, steps=steps, seed=seed)])
    assert len(seen) == batch * steps
    for epoch in seen.split(40):
        assert len(torch.unique(epoch, dim=0)) == len(epoch)


def test_equal_seeds_give_equal_batches_and_others_do_not():
    first, again, other = streams("clean"), streams("clean"), streams("clean", seed=4)
    assert all(torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in zip(first, again, strict=True))
    assert any(not torch.equal(a[0], b[0]) for a, b in zip(first, other, strict=True))


def test_glitch_corrupts_forty_batches_from_a_third_on_and_nothing_else():
    clean, glitch = streams("clean"), streams("glitch")
    for step, ((x, y), (bad_x, bad_y)) in enumerate(zip(clean, glitch, strict=True)):
        if 50 <= step < 50 + GLITCH_BATCHES:
            assert torch.equal(bad_x, 20 * x)
        else:
            assert torch.equal(bad_x, x)
            assert torch.equal(bad_y, y)
    during = slice(50, 50 + GLITCH_BATCHES)
    agree = torch.cat([a[1] == b[1] for a, b in zip(clean[during], glitch[during], strict=True)]).float().mean()
    assert 0.2 < agree < 0.47  # at random among three classes; four standard errors of 160 labels


def test_change_rotates_labels_from_half_time_on_for_training_and_test():
    data = blobs()
    for step, ((x, y), (new_x, new_y)) in enumerate(zip(streams("clean"), streams("change"), strict=True)):
        assert torch.equal(x, new_x)
        assert torch.equal(new_y, rotated(y, 3) if step >= 75 else y)
    assert torch.equal(labels_after(data, "change", done=75, steps=150), data.y_test)
    assert torch.equal(labels_after(data, "change", done=76, steps=150), rotated(data.y_test, 3))
    assert torch.equal(labels_after(data, "clean", done=150, steps=150), data.y_test)


def test_rotation_is_a_permutation_without_fixed_point():
    labels = torch.arange(7)
    assert sorted(rotated(labels, 7).tolist()) == labels.tolist()
    assert not bool((rotated(labels, 7) == labels).any())


def test_ordered_takes_examples_as_recorded():
    data = blobs()
    seen = torch.cat([x for x, _ in streams("ordered", steps=45)])
    assert torch.equal(seen[:120], data.x_train)
    assert torch.equal(seen[120:], data.x_train[:60])


@pytest.mark.parametrize(
    ("task", "scenario", "says"),
    [
        (TASKS["digits"], "ordered", "no recording order"),
        (TASKS["ecg_anomaly"], "change", "without labels"),
        (TASKS["digits"], "storm", "clean, glitch, change, ordered"),
    ],
)
def test_a_scenario_without_meaning_is_refused(task, scenario, says):
    with pytest.raises(InputError, match=says):
        check_scenario(task, scenario)
    check_scenario(BLOBS, "ordered")
