"""The digital second stage: windows, the network's size and invariances, training that learns and repeats, scores."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightsleeper.errors import InputError
from lightsleeper.learning.features import LogMel
from lightsleeper.learning.second_stage import (
    Examples,
    SecondStage,
    SecondStageSettings,
    fit_second_stage,
    score_windows,
    stage_windows,
)
from lightsleeper.recordings import Scene

RATE_HZ = 16_000.0
SAMPLES = 16_000
SHORT = SecondStageSettings(channels=(8, 16), steps=60, period=10, batch=16)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def scene(samples: np.ndarray, rate_hz: float = RATE_HZ) -> Scene:
    return Scene(pressure_pa=samples.astype(np.float32), rate_hz=rate_hz, events=())


def ramp(seconds: float) -> np.ndarray:
    """Every sample tells its own place, and none is zero."""
    return np.arange(1, round(seconds * RATE_HZ) + 1)


def clicks_and_hums(count: int, seed: int) -> Examples:
    """Half short high bursts, half low ones, both over noise and equally loud."""
    rng = np.random.default_rng(seed)
    pressure = 1e-3 * rng.standard_normal((count, SAMPLES))
    wake = np.arange(count) % 2 == 0
    time_s = np.arange(SAMPLES) / RATE_HZ
    for row, is_wake in zip(pressure, wake, strict=True):
        frequency_hz = rng.uniform(3000, 5000) if is_wake else rng.uniform(300, 800)
        onset_s = rng.uniform(0.3, 0.5)
        decay = (time_s > onset_s) * np.exp(-(time_s - onset_s) / 0.1)
        row[:] += 5e-3 * decay * np.sin(2 * np.pi * frequency_hz * time_s)
    return Examples(pressure_pa=pressure.astype(np.float32), wake=wake)


@pytest.fixture(scope="module")
def fitted():
    return fit_second_stage(clicks_and_hums(80, seed=0), seed=4, settings=SHORT)


@settings(max_examples=40, deadline=None)
@given(time_s=st.floats(-1.0, 6.0), before_s=st.floats(0.0, 1.0), window_s=st.floats(1.0, 2.5))
def test_a_window_begins_before_the_wake_and_is_zero_beyond_the_scene(time_s, before_s, window_s):
    samples = ramp(4.0)
    (window,) = stage_windows([scene(samples)], [[time_s]], window_s=window_s, before_s=before_s)
    start = round((time_s - before_s) * RATE_HZ)
    place = start + np.arange(round(window_s * RATE_HZ))
    expected = np.where((place >= 0) & (place < samples.size), place + 1, 0)
    assert window.dtype == np.float32
    np.testing.assert_array_equal(window, expected)


def test_windows_follow_scenes_and_times_in_order():
    first, second, third = scene(ramp(3.0)), scene(-ramp(3.0)), scene(ramp(3.0))
    windows = stage_windows([first, second, third], [[2.0, 1.0], np.zeros(0), [0.5]], window_s=0.5, before_s=0.25)
    np.testing.assert_array_equal(windows[:, 0], [28_001, 12_001, 4_001])
    assert windows.shape == (3, 8000)


def test_no_wakes_give_no_windows():
    assert stage_windows([scene(ramp(1.0))], [[]]).shape == (0, 32_000)


@pytest.mark.parametrize(
    ("scenes", "times", "options", "match"),
    [
        ([scene(ramp(1.0))], [], {}, "1 scenes but 0 lists of times"),
        ([], [], {}, "at least one"),
        ([scene(ramp(1.0)), scene(ramp(1.0), 8000.0)], [[], []], {}, "of one sample rate"),
        ([scene(ramp(1.0))], [[0.5, np.nan]], {}, "not a finite time"),
        ([scene(ramp(1.0))], [[0.5]], {"before_s": 3.0}, "before_s is 3"),
    ],
)
def test_windows_that_cannot_be_cut_are_refused(scenes, times, options, match):
    with pytest.raises(InputError, match=match):
        stage_windows(scenes, times, **options)


def test_examples_must_match_and_hold_both_kinds():
    with pytest.raises(InputError, match="do not match"):
        Examples(pressure_pa=np.zeros((3, 100), np.float32), wake=np.array([True, False]))
    with pytest.raises(InputError, match="3 of 3 windows hold the wake sound"):
        Examples(pressure_pa=np.zeros((3, 100), np.float32), wake=np.ones(3, bool))


@pytest.mark.parametrize("channels", [(8,), (8, 12), (16, 32, 64)])
@pytest.mark.parametrize("samples", [8000, 32_000])
def test_macs_are_those_that_the_convolutions_do(channels, samples):
    features = LogMel()
    model = SecondStage(features, samples=samples, channels=channels)
    counted = []

    def count(module: torch.nn.Module, _inputs: object, output: torch.Tensor) -> None:
        counted.append(module.weight[0].numel() * output[0].numel())

    for module in model.modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
            module.register_forward_hook(count)
    model(torch.zeros(1, features.frames(samples), features.bands))
    assert model.macs == sum(counted)
    assert model.parameter_count == sum(v.numel() for v in model.state_dict().values())


def test_the_standard_network_is_small():
    model = SecondStage(LogMel(), samples=32_000)
    assert model.parameter_count <= 25_000
    assert model.macs <= 2_000_000


def test_the_first_weights_depend_on_the_seed_alone():
    before = torch.get_rng_state()
    one, same, other = (SecondStage(LogMel(), samples=SAMPLES, seed=seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["body.0.weight"], other["body.0.weight"])


def test_gain_of_the_microphone_does_not_matter(fitted):
    model, _ = fitted
    pressure = clicks_and_hums(6, seed=8).pressure_pa
    np.testing.assert_allclose(score_windows(model, 2 * pressure), score_windows(model, pressure), atol=0.02)


def test_training_separates_what_differs_in_pitch(fitted):
    model, curve = fitted
    unseen = clicks_and_hums(60, seed=1)
    scores = score_windows(model, unseen.pressure_pa)
    assert np.mean((scores > 0.5) == unseen.wake) > 0.95
    assert curve.loss[-1] < 0.5 * curve.loss[0]


def test_the_curve_has_a_point_for_every_part_of_the_steps(fitted):
    _, curve = fitted
    assert curve.step[-1] == SHORT.steps
    assert curve.step.shape == curve.loss.shape == curve.averaged_loss.shape
    assert np.all(np.diff(curve.step) > 0)
    assert np.all(np.isfinite(curve.averaged_loss))


def test_a_seed_repeats_the_fit_and_leaves_global_randomness_alone():
    brief = dataclasses.replace(SHORT, steps=12, period=4)
    examples = clicks_and_hums(20, seed=2)
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    fits = [fit_second_stage(examples, seed=seed, settings=brief) for seed in (7, 7, 8)]
    scores = [score_windows(model, examples.pressure_pa) for model, _ in fits]
    np.testing.assert_array_equal(scores[0], scores[1])
    np.testing.assert_array_equal(fits[0][1].loss, fits[1][1].loss)
    assert np.any(scores[0] != scores[2])
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002


def test_training_leaves_the_examples_alone_and_reports_each_step():
    examples = clicks_and_hums(10, seed=3)
    before = examples.pressure_pa.copy()
    steps = []
    fit_second_stage(examples, seed=0, settings=dataclasses.replace(SHORT, steps=5), report=steps.append)
    assert steps == [1] * 5
    np.testing.assert_array_equal(examples.pressure_pa, before)


def test_the_weights_kept_are_the_average():
    """A period longer than the run samples from its second half on, so the average is not the last step's weights."""
    examples = clicks_and_hums(20, seed=5)
    averaged, _ = fit_second_stage(examples, seed=1, settings=dataclasses.replace(SHORT, steps=8, period=8))
    last, _ = fit_second_stage(examples, seed=1, settings=dataclasses.replace(SHORT, steps=8, period=1000))
    assert not torch.equal(averaged.state_dict()["head.weight"], last.state_dict()["head.weight"])


def test_scores_do_not_depend_on_the_batch(fitted):
    model, _ = fitted
    pressure = clicks_and_hums(11, seed=6).pressure_pa
    scores = score_windows(model, pressure)
    assert scores.shape == (11,)
    assert scores.dtype == np.float64
    assert np.all((scores > 0) & (scores < 1))
    np.testing.assert_allclose(score_windows(model, pressure, batch=3), scores, rtol=1e-4)
    assert score_windows(model, pressure[:0]).shape == (0,)


def test_windows_of_another_length_are_refused(fitted):
    model, _ = fitted
    with pytest.raises(InputError, match="8000 samples"):
        score_windows(model, np.zeros((2, 8000), np.float32))


@pytest.mark.parametrize(
    ("change", "match"),
    [({"channels": ()}, "channels"), ({"steps": 0}, "steps is 0"), ({"batch": 1}, "batch is 1")],
)
def test_impossible_settings_are_refused(change, match):
    with pytest.raises(InputError, match=match):
        dataclasses.replace(SHORT, **change)
