"""The example of a device that adapts to its room: who hears what, what is stored, and that training changes it."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from lightsleeper.design import Design, Spec
from lightsleeper.detection import Stream
from lightsleeper.errors import InputError
from lightsleeper.learning import LogMel, SecondStage, initial_frontend, score_windows
from lightsleeper.recordings import Recording

RATE_HZ = 16_000


@pytest.fixture(scope="module")
def example() -> ModuleType:
    path = Path(__file__).parents[1] / "examples" / "adaptive_device.py"
    spec = importlib.util.spec_from_file_location("adaptive_device", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def design() -> Design:
    model = SecondStage(LogMel(), samples=RATE_HZ, channels=(4, 6), seed=1)
    return Design(spec=Spec(wake="dog"), frontend=initial_frontend(bands=2, neurons=2), model=model, threshold=0.5)


def clip(label: str, source: str) -> Recording:
    return Recording(np.ones(100, np.float32), RATE_HZ, label=label, source=source, fold=None, file=f"{label}/{source}")


def test_no_source_is_lived_with_and_held_back(example: ModuleType) -> None:
    room = [clip(label, source) for label in ("dog", "rain") for source in ("a", "b", "c") for _ in range(2)]
    lived, held_back = example.halves(room, "dog")
    assert len(lived) + len(held_back) == len(room)
    assert {r.label for r in lived} == {r.label for r in held_back} == {"dog", "rain"}
    for label in ("dog", "rain"):
        assert not {r.source for r in lived if r.label == label} & {r.source for r in held_back if r.label == label}
    with pytest.raises(InputError, match="one source of dog"):
        example.halves([clip("dog", "a"), clip("rain", "a")], "dog")


def woken(example: ModuleType, pictures: np.ndarray, true: np.ndarray):
    """An hour with a wake every minute, true ones in wake events and false ones in foreign sounds."""
    times = 60.0 * np.arange(len(true)) + 5.0
    stream = Stream(
        scores=np.zeros(3600 * 125),
        rate_hz=125.0,
        onsets_s=times - 1.0,
        ends_s=times + 1.0,
        labels=np.array(["dog" if t else "rain" for t in true]),
        wake=true,
    )
    return example.Woken(streams=[stream], dense=1, times_s=[times], pictures=pictures, true=true)


def test_judged_are_the_wakes_that_are_kept(example: ModuleType, design: Design) -> None:
    true = np.array([True, True, True, True, False, False])
    heard = woken(example, np.zeros((6, 1), np.float32), true)
    logits = np.array([2.0, 1.0, 0.0, -1.0, 0.5, -2.0], np.float32)
    assert example.threshold_keeping(logits, true, 0.75) == 0.0
    figures = example.judge(design, heard, logits, 0.0)
    assert figures["recall"] == figures["true_wakes_kept"] == 0.75
    assert figures["false_wakes_kept"] == 0.5
    assert figures["false_accepts_per_hour"] > 0
    assert example.judge(design, heard, logits, 0.75)["false_accepts_per_hour"] == 0


@pytest.mark.slow
def test_training_in_a_process_of_its_own_parts_what_was_alike(
    example: ModuleType, design: Design, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    true = np.arange(60) % 2 == 0
    time = np.arange(RATE_HZ) / RATE_HZ
    tone = np.sin(2 * np.pi * 900.0 * time) * (time % 0.2 < 0.05)
    sound = (0.02 * rng.standard_normal((60, RATE_HZ)) + 0.1 * true[:, None] * tone).astype(np.float32)
    pictures = example.stored(design, sound)
    heard = woken(example, pictures, true)
    before = score_windows(design.model, sound)
    after = example.adapt(tmp_path, heard, design, samples=600).infer(pictures)[:, 0]

    def apart(scores: np.ndarray) -> float:
        return float((scores[true].mean() - scores[~true].mean()) / scores.std())

    assert abs(apart(np.log(before / (1.0 - before)))) < apart(after) - 0.05
    assert (after[true] > 0).mean() > 0.9
    assert (after[~true] < 0).mean() > 0.9
