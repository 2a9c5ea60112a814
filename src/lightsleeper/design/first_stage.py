"""Design the analog stage: train through the circuit, cross-fit a threshold on unheard folds."""

import dataclasses
from dataclasses import dataclass
from itertools import islice

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from lightsleeper.circuits import Chip, FrontEnd
from lightsleeper.design.material import Material
from lightsleeper.design.progress import Progress
from lightsleeper.design.spec import Spec
from lightsleeper.design.streams import StreamSet, decide, make_streams, streams_of
from lightsleeper.detection import (
    Decision,
    DetectionFigures,
    Stream,
    evaluate,
    operating_curve,
    threshold_for_budget,
    threshold_for_recall,
)
from lightsleeper.learning import (
    TRAINING_RATE_HZ,
    CircuitSettings,
    Curve,
    NetworkSettings,
    WakeNetwork,
    Windows,
    cut_windows,
    fit_circuit,
    fit_network,
    initial_frontend,
    piece_lengths_s,
    scene_envelopes,
    scene_scores,
    training_scenes,
)
from lightsleeper.recordings import Scene

__all__ = ["FirstStage", "Heard", "decision_of", "design_first_stage", "training_material", "untrained"]

TRAINING_WAKE_PER_HOUR = 120.0
TRAINING_FOREIGN_PER_HOUR = 420.0
VALIDATION_SEED = 10_000
CHIP_SEED = 500_000_000
"""Chips of training are others than those of a yield whose seed is below 500."""


@dataclass(frozen=True, eq=False)
class Heard:
    """What a network heard of a fold it was not trained on.

    Attributes:
        streams: the fold's validation scenes.
        dense, floor: scores of those scenes.
    """

    streams: StreamSet
    dense: list[Stream]
    floor: list[Stream]


@dataclass(frozen=True, eq=False)
class FirstStage:
    """A designed analog stage and how it came about.

    Attributes:
        frontend: the stage with its threshold.
        scenes: the training scenes; `fold_of_scene` says from which fold each is.
        training: scores of the training scenes, each by the network that never heard its fold.
        heard: fold -> cross-fitted scores.
        validation: figures of the cross-fitted networks at the chosen threshold.
        curve: training curve of the final network.
        circuit_loss: (steps,) loss while the circuit moved.
        windows: number of training examples.
    """

    frontend: FrontEnd
    scenes: list[Scene]
    fold_of_scene: list[int]
    training: list[Stream]
    heard: dict[int, Heard]
    validation: DetectionFigures
    curve: Curve
    circuit_loss: NDArray[np.float64]
    windows: int


def decision_of(frontend: FrontEnd) -> Decision:
    """The comparator as a detection rule: wakes closer than 2 s are one (standard scene)."""
    comparator = frontend.comparator
    return Decision(threshold=comparator.threshold_v, hysteresis=comparator.hysteresis_v)


def design_first_stage(material: Material, spec: Spec, progress: Progress) -> FirstStage:
    """Train bank and network on all training folds, and choose the threshold on folds unheard in training.

    For the threshold each training fold is in turn left out: a network trained on the other folds hears the fold's
    clips and hours of its bare floor. The pooled scores of all of them stand for unheard sound. The bank is shared.
    """
    scenes, fold_of_scene = training_material(material, spec, progress)
    frontend = untrained(spec)
    frontend, circuit_loss = _move_circuit(frontend, scenes, fold_of_scene, spec, progress)
    progress.begin("simulating training streams", len(scenes))
    chips = _training_chips(frontend, spec, len(scenes))
    envelopes = scene_envelopes(frontend, scenes, noise_seed=spec.seed + 1, chips=chips, report=progress.advance)
    windows = cut_windows(envelopes, scenes, fold_of_scene)
    settings = NetworkSettings(steps=spec.training.network_steps)
    left_out: list[int | None] = [None, *material.folds]
    progress.begin("training networks", settings.steps * len(left_out))
    fits = Parallel(n_jobs=-1, backend="threading")(
        delayed(fit_network)(
            _without(windows, fold),
            frontend,
            seed=spec.seed,
            settings=settings,
            compare=fold is None,
            report=progress.advance,
        )
        for fold in left_out
    )
    (network, curve), cross = fits[0], dict(zip(material.folds, (fit[0] for fit in fits[1:]), strict=True))
    heard = _hear(material, frontend, cross, spec, progress)
    frontend = network.install(frontend)
    threshold = _choose_threshold(heard, frontend, spec)
    comparator = dataclasses.replace(frontend.comparator, threshold_v=threshold)
    frontend = dataclasses.replace(frontend, comparator=comparator)
    dense = [stream for part in heard.values() for stream in part.dense]
    floor = [stream for part in heard.values() for stream in part.floor]
    validation = evaluate(dense, floor, decision_of(frontend), foreign_per_hour=spec.scene.foreign_per_hour)
    return FirstStage(
        frontend=frontend,
        scenes=scenes,
        fold_of_scene=fold_of_scene,
        training=_hear_training(frontend, cross, scenes, fold_of_scene, envelopes),
        heard=heard,
        validation=validation,
        curve=curve,
        circuit_loss=circuit_loss,
        windows=len(windows.wake),
    )


def untrained(spec: Spec) -> FrontEnd:
    """The stage that training starts from."""
    stage = spec.first_stage
    frontend = initial_frontend(bands=stage.bands, neurons=stage.neurons, low_hz=stage.low_hz, high_hz=stage.high_hz)
    return dataclasses.replace(
        frontend,
        bank=dataclasses.replace(frontend.bank, capacitance_f=stage.capacitance_f),
        amplifier=dataclasses.replace(frontend.amplifier, gain=stage.amplifier_gain),
        comparator=dataclasses.replace(frontend.comparator, hysteresis_v=stage.hysteresis_v),
    )


def training_material(material: Material, spec: Spec, progress: Progress) -> tuple[list[Scene], list[int]]:
    """Training scenes, each from the recordings of one fold, so that a fold can be left out."""
    per_fold = max(1, spec.training.scenes // len(material.folds))
    settings = spec.scene.settings(
        duration_s=spec.training.scene_s,
        wake_per_hour=TRAINING_WAKE_PER_HOUR,
        foreign_per_hour=TRAINING_FOREIGN_PER_HOUR,
    )
    lengths_s = piece_lengths_s([r for r in material.train if r.label == spec.wake])
    progress.begin("mixing training streams", per_fold * len(material.folds))
    scenes: list[Scene] = []
    folds: list[int] = []
    for index, (fold, recordings) in enumerate(material.folds.items()):
        seed = 1000 * spec.seed + index
        scenes += training_scenes(
            recordings, spec.wake, piece_lengths_s=lengths_s, settings=settings, count=per_fold, seed=seed
        )
        folds += [fold] * per_fold
        progress.advance(per_fold)
    return scenes, folds


def _move_circuit(
    frontend: FrontEnd, scenes: list[Scene], fold_of_scene: list[int], spec: Spec, progress: Progress
) -> tuple[FrontEnd, NDArray[np.float64]]:
    """Train the bank through the circuit, after a first network has learnt what to listen for."""
    if spec.training.circuit_steps == 0:
        return frontend, np.zeros(0)
    progress.begin("simulating training streams", len(scenes))
    envelopes = scene_envelopes(frontend, scenes, noise_seed=spec.seed, report=progress.advance)
    windows = cut_windows(envelopes, scenes, fold_of_scene)
    progress.begin("training a first network", spec.training.first_steps)
    settings = NetworkSettings(steps=spec.training.first_steps)
    network, _ = fit_network(
        windows, frontend, seed=spec.seed, settings=settings, compare=False, report=progress.advance
    )
    progress.begin("training through the circuit", spec.training.circuit_steps)
    return fit_circuit(
        windows,
        scenes,
        frontend,
        network,
        seed=spec.seed,
        settings=CircuitSettings(steps=spec.training.circuit_steps),
        report=progress.advance,
    )


def _training_chips(frontend: FrontEnd, spec: Spec, scenes: int) -> list[Chip] | None:
    """The chip that hears each training scene, uncalibrated; None where the nominal stage hears them all."""
    count = spec.training.chips
    if not count:
        return None
    here = frontend.process.temperature_c
    seeds = [CHIP_SEED + 1000 * spec.seed + index % count for index in range(scenes)]
    return [Chip(seed=seed, temperature_c=here) for seed in seeds]


def _without(windows: Windows, fold: int | None) -> Windows:
    """The windows of all other folds."""
    if fold is None:
        return windows
    kept = windows.fold != fold
    return Windows(**{f.name: getattr(windows, f.name)[kept] for f in dataclasses.fields(Windows)})


def _hear(
    material: Material, frontend: FrontEnd, cross: dict[int, WakeNetwork], spec: Spec, progress: Progress
) -> dict[int, Heard]:
    """Scores of every fold by the network that never heard it."""
    hours = spec.evaluation.validation_hours
    progress.begin("mixing validation streams", len(cross))
    streams: dict[int, StreamSet] = {}
    for index, fold in enumerate(cross):
        seed = VALIDATION_SEED * (spec.seed + 1) + 100 * index
        streams[fold] = make_streams(material.folds[fold], spec, dense_hours=hours, floor_hours=hours, seed=seed)
        progress.advance()
    scenes = {fold: [*part.dense, *part.floor] for fold, part in streams.items()}
    installed = {fold: network.install(frontend) for fold, network in cross.items()}
    together = [scene for fold in cross for scene in scenes[fold]]
    progress.begin("validating on unheard folds", len(together))
    values = scene_scores(
        [installed[fold] for fold in cross for _ in scenes[fold]],
        together,
        noise_seed=VALIDATION_SEED * (spec.seed + 1),
        report=progress.advance,
    )
    known = iter(streams_of(together, values))
    return {
        fold: Heard(
            streams=part, dense=list(islice(known, len(part.dense))), floor=list(islice(known, len(part.floor)))
        )
        for fold, part in streams.items()
    }


def _hear_training(
    frontend: FrontEnd,
    cross: dict[int, WakeNetwork],
    scenes: list[Scene],
    fold_of_scene: list[int],
    envelopes: NDArray[np.float32],
) -> list[Stream]:
    """Scores of the training scenes as a device would give them: it has not learnt the sounds that it will hear.

    The final network has, and wakes early in sounds that it knows; what it wakes on would teach the digital stage
    another place of the sound than the one it is asked about. They are decided at the rate of training.
    """
    values: list[NDArray[np.float32]] = []
    for fold, network in cross.items():
        own = [index for index, of in enumerate(fold_of_scene) if of == fold]
        values += decide(network.install(frontend), envelopes[own], rate_hz=scenes[0].rate_hz)
    return streams_of(scenes, values, frame_rate_hz=TRAINING_RATE_HZ)


def _choose_threshold(heard: dict[int, Heard], frontend: FrontEnd, spec: Spec) -> float:
    """Threshold for the spec's target on the pooled cross-fitted scores."""
    curve = operating_curve(
        [stream for part in heard.values() for stream in part.dense],
        [stream for part in heard.values() for stream in part.floor],
        decision=decision_of(frontend),
        foreign_per_hour=spec.scene.foreign_per_hour,
    )
    if spec.target.false_wakes_per_hour is not None:
        return threshold_for_budget(curve, false_wakes_per_hour=spec.target.false_wakes_per_hour)
    assert spec.target.recall is not None, "the spec holds one of the two"
    return threshold_for_recall(curve, recall=spec.target.recall)
