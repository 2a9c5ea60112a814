"""Design the digital stage: learn from what the first stage lets through, cross-fit its threshold."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from lightsleeper.design.first_stage import FirstStage, decision_of
from lightsleeper.design.material import Material
from lightsleeper.design.progress import Progress
from lightsleeper.design.spec import Spec
from lightsleeper.detection import Decision, Stream, attribute_wakes
from lightsleeper.learning import (
    Curve,
    Examples,
    SecondStage,
    SecondStageSettings,
    fit_second_stage,
    score_windows,
    stage_windows,
)
from lightsleeper.recordings import Scene

__all__ = [
    "DigitalStage",
    "accept",
    "are_true",
    "design_second_stage",
    "training_examples",
    "wakes_of",
    "woken_windows",
]

TYPICAL_LATENCY_S = 0.1
"""Delay of the example windows cut at the onset of every training sound."""
EAGER_V = 20e-3
"""Training wakes are taken this far below the threshold too, so that there are hard examples enough."""


@dataclass(frozen=True, eq=False)
class DigitalStage:
    """A designed digital stage.

    Attributes:
        model: the network.
        threshold: probability from which a wake is accepted.
        curve: training curve.
        examples, positives: number of training windows, and of those that hold the wake sound.
        validation_recall, validation_rejection: share of true wakes of unheard folds that it accepts, and of false
            ones that it rejects, at the threshold; None where there were none.
    """

    model: SecondStage
    threshold: float
    curve: Curve
    examples: int
    positives: int
    validation_recall: float | None
    validation_rejection: float | None


def wakes_of(streams: Sequence[Stream], decision: Decision) -> list[NDArray[np.float64]]:
    """Times of the first stage's wakes in every stream, in s."""
    return [decision.wakes(stream.scores, rate_hz=stream.rate_hz) for stream in streams]


def accept(
    model: SecondStage, threshold: float, scenes: Sequence[Scene], wakes_s: Sequence[NDArray[np.float64]], spec: Spec
) -> list[NDArray[np.float64]]:
    """Those wakes of every scene that the digital stage confirms, in s."""
    if not any(times.size for times in wakes_s):
        return [times.copy() for times in wakes_s]
    probability = score_windows(model, woken_windows(scenes, wakes_s, spec))
    bounds = np.cumsum([times.size for times in wakes_s])[:-1]
    parts = np.split(probability, bounds)
    return [times[part >= threshold] for times, part in zip(wakes_s, parts, strict=True)]


def design_second_stage(first: FirstStage, material: Material, spec: Spec, progress: Progress) -> DigitalStage:
    """Train on windows of the training scenes; choose the threshold on wakes of folds that neither stage heard."""
    examples, folds = training_examples(first, spec)
    settings = SecondStageSettings(steps=spec.training.digital_steps)
    left_out: list[int | None] = [None, *material.folds]
    progress.begin("training the digital stage", len(left_out))

    def fit(fold: int | None) -> tuple[SecondStage, Curve]:
        kept = folds != (-1 if fold is None else fold)
        part = Examples(examples.pressure_pa[kept], examples.wake[kept])
        fitted = fit_second_stage(part, seed=spec.seed, settings=settings, compare=fold is None)
        progress.advance()
        return fitted

    fits = Parallel(n_jobs=-1, backend="threading")(delayed(fit)(fold) for fold in left_out)
    model, curve = fits[0]
    judged = [_judge(first, fold, cross, spec) for fold, (cross, _) in zip(material.folds, fits[1:], strict=True)]
    probability = np.concatenate([p for p, _ in judged])
    true = np.concatenate([t for _, t in judged])
    threshold = float(np.quantile(probability[true], 1.0 - spec.second_stage.keep_recall)) if true.any() else 0.5
    return DigitalStage(
        model=model,
        threshold=threshold,
        curve=curve,
        examples=len(examples.wake),
        positives=int(examples.wake.sum()),
        validation_recall=float((probability[true] >= threshold).mean()) if true.any() else None,
        validation_rejection=float((probability[~true] < threshold).mean()) if not true.all() else None,
    )


def woken_windows(scenes: Sequence[Scene], times_s: Sequence[NDArray[np.float64]], spec: Spec) -> NDArray[np.float32]:
    """What the digital stage hears of wakes at these times of every scene, (wakes, samples) in Pa."""
    options = {"window_s": spec.second_stage.window_s, "before_s": spec.second_stage.preroll_s}
    return stage_windows(scenes, times_s, **options)


def are_true(streams: Sequence[Stream], times_s: Sequence[NDArray[np.float64]]) -> NDArray[np.bool_]:
    """Whether each time lies in a wake event or its tolerance."""
    parts = [
        attribute_wakes(times, stream.onsets_s[stream.wake], stream.ends_s[stream.wake]) >= 0
        for stream, times in zip(streams, times_s, strict=True)
    ]
    return np.concatenate(parts)


def training_examples(first: FirstStage, spec: Spec) -> tuple[Examples, NDArray[np.int64]]:
    """Windows at every sound of the training scenes and at every eager wake, and the fold of each."""
    comparator = first.frontend.comparator
    eager = Decision(threshold=comparator.threshold_v - EAGER_V, hysteresis=comparator.hysteresis_v)
    wakes = wakes_of(first.training, eager)
    times = [
        np.concatenate([stream.onsets_s + TYPICAL_LATENCY_S, woken])
        for stream, woken in zip(first.training, wakes, strict=True)
    ]
    examples = Examples(woken_windows(first.scenes, times, spec), are_true(first.training, times))
    return examples, np.repeat(np.asarray(first.fold_of_scene), [t.size for t in times])


def _judge(
    first: FirstStage, fold: int, model: SecondStage, spec: Spec
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Probabilities of the wakes in a fold's validation streams by a model that never heard it, and which are true."""
    heard = first.heard[fold]
    scenes, streams = [*heard.streams.dense, *heard.streams.floor], [*heard.dense, *heard.floor]
    wakes = wakes_of(streams, decision_of(first.frontend))
    if not any(times.size for times in wakes):
        return np.zeros(0), np.zeros(0, dtype=np.bool_)
    return score_windows(model, woken_windows(scenes, wakes, spec)), are_true(streams, wakes)
