"""Compare ways to train the wake network: recall on folds that it never heard, at given false wakes an hour.

Everything but the way of training is the product's; the bank stays at its starting values. Minutes a fold.
Example: python bench/wake_training.py --recordings DIR --wake glass_breaking --steps 600 1200 --seeds 0 1
"""

import argparse
import dataclasses
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from joblib import Parallel, delayed
from numpy.typing import NDArray

from lightsleeper.averaging import PSWA, Settle
from lightsleeper.circuits import FrontEnd
from lightsleeper.design import Silent, load_spec
from lightsleeper.design.first_stage import decision_of, training_material, untrained
from lightsleeper.design.material import Material, gather
from lightsleeper.design.spec import Spec
from lightsleeper.design.streams import decide, make_streams, streams_of
from lightsleeper.detection import Stream, operating_curve
from lightsleeper.learning import (
    TRAINING_RATE_HZ,
    NetworkSettings,
    WakeNetwork,
    Windows,
    cut_windows,
    scene_envelopes,
)
from lightsleeper.learning.training import fit
from lightsleeper.learning.wake_stage import network_task
from lightsleeper.recordings import Scene

BUDGETS_PER_HOUR = (4.0, 6.0, 8.0, 12.0)


def pswa(network: WakeNetwork, *, base: str, rate: float, period: int) -> PSWA:
    if base == "adamw":
        return PSWA(
            torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=1e-4, betas=(0.9, 0.99)), period=period
        )
    return PSWA(torch.optim.SGD(network.parameters(), lr=rate, momentum=0.9), period=period)


def settle(network: WakeNetwork, *, rate: float) -> Settle:
    return Settle(network.parameters(), lr=rate)


METHODS: dict[str, Callable[[WakeNetwork], PSWA | Settle]] = {
    **{f"pswa(adamw {rate:g})": partial(pswa, base="adamw", rate=rate, period=100) for rate in (0.007, 0.02, 0.06)},
    **{f"pswa(sgd {rate:g})": partial(pswa, base="sgd", rate=rate, period=100) for rate in (0.003, 0.01, 0.03, 0.1)},
    **{f"settle {rate:g}": partial(settle, rate=rate) for rate in (0.01, 1.0)},
}


@dataclass(frozen=True)
class Fold:
    """What the networks of one test fold learn from and are judged on."""

    number: int
    windows: Windows
    scenes: list[Scene]
    dense: int
    envelopes_v: NDArray[np.float32]


def prepare(fold: int, spec: Spec) -> tuple[FrontEnd, Fold]:
    spec = spec.model_copy(update={"evaluation": spec.evaluation.model_copy(update={"test_fold": fold})})
    material: Material = gather(spec, Silent())
    frontend = untrained(spec)
    scenes, folds = training_material(material, spec, Silent())
    windows = cut_windows(scene_envelopes(frontend, scenes, noise_seed=spec.seed + 1), scenes, folds)
    hours = spec.evaluation.dense_hours
    streams = make_streams(material.test, spec, dense_hours=hours, floor_hours=hours, seed=7_000_000 + spec.seed)
    heard = [*streams.dense, *streams.floor]
    envelopes_v = scene_envelopes(frontend, heard, noise_seed=spec.seed + 2)
    silent = [dataclasses.replace(scene, pressure_pa=scene.pressure_pa[:1]) for scene in heard]
    return frontend, Fold(fold, windows, silent, len(streams.dense), envelopes_v)


def recalls(frontend: FrontEnd, fold: Fold, foreign_per_hour: float) -> list[float]:
    """Recall on the fold's streams at the lowest threshold that keeps each budget, searched from the top."""
    values = decide(frontend, fold.envelopes_v, rate_hz=fold.scenes[0].rate_hz)
    streams: list[Stream] = streams_of(fold.scenes, values, frame_rate_hz=TRAINING_RATE_HZ)
    curve = operating_curve(
        streams[: fold.dense],
        streams[fold.dense :],
        decision=decision_of(frontend),
        foreign_per_hour=foreign_per_hour,
    )
    kept = [np.cumsum(curve.false_wakes_per_hour > budget) == 0 for budget in BUDGETS_PER_HOUR]
    return [float(curve.recall[k].max(initial=0.0)) for k in kept]


def trial(frontend: FrontEnd, fold: Fold, method: str, steps: int, seed: int, foreign_per_hour: float) -> dict:
    settings = NetworkSettings(steps=steps)
    started = time.perf_counter()
    network, curve = fit(
        lambda: network_task(fold.windows, frontend, seed=seed, settings=settings),
        METHODS[method],
        steps=steps,
        sgd_rate=0.01,
    )
    return {
        "method": method,
        "steps": steps,
        "fold": fold.number,
        "seed": seed,
        "loss": float(curve.averaged_loss[-1]),
        "recall": recalls(network.install(frontend), fold, foreign_per_hour),
        "seconds": round(time.perf_counter() - started, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recordings", required=True)
    parser.add_argument("--wake", required=True)
    parser.add_argument("--folds", type=int, nargs="+", default=[1, 2, 3, 4])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--steps", type=int, nargs="+", default=[600])
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--scenes", type=int, help="training streams; the spec's without")
    parser.add_argument("--workers", type=int, default=-1)
    given = parser.parse_args()
    torch.set_num_threads(1)
    spec = load_spec(None, recordings=given.recordings, wake=given.wake)
    if given.scenes is not None:
        spec = spec.model_copy(update={"training": spec.training.model_copy(update={"scenes": given.scenes})})
    rows = []
    for number in given.folds:
        frontend, fold = prepare(number, spec)
        jobs = [(m, steps, seed) for m in given.methods for steps in given.steps for seed in given.seeds]
        done = Parallel(n_jobs=given.workers, backend="threading", return_as="generator")(
            delayed(trial)(frontend, fold, *job, spec.scene.foreign_per_hour) for job in jobs
        )
        for row in done:
            rows.append(row)
            print(json.dumps(row), flush=True)
    for method in given.methods:
        for steps in given.steps:
            chosen = [row for row in rows if row["method"] == method and row["steps"] == steps]
            recall = dict(
                zip(BUDGETS_PER_HOUR, np.mean([row["recall"] for row in chosen], 0).round(3).tolist(), strict=True)
            )
            loss = float(np.mean([row["loss"] for row in chosen]))
            print(f"{method:22s} {steps:5d} steps: loss {loss:.3f}, recall at false wakes an hour {recall}")


if __name__ == "__main__":
    main()
