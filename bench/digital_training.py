"""Compare ways to train the digital stage, on sounds of folds that it never heard. Minutes.

A first stage is designed once; then each training fold is left out in turn. Shown is the area under the ROC curve of
the left-out windows, and the loss on the probe of the training windows.
Example: python bench/digital_training.py --recordings DIR --wake glass_breaking --steps 350 --seeds 0 1
"""

import argparse
import json
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from joblib import Parallel, delayed
from numpy.typing import NDArray
from scipy.stats import rankdata

from lightsleeper.averaging import PSWA, Settle
from lightsleeper.design import Silent, load_spec
from lightsleeper.design.first_stage import design_first_stage
from lightsleeper.design.material import gather
from lightsleeper.design.second_stage import training_examples
from lightsleeper.errors import LightsleeperError
from lightsleeper.learning import Examples, SecondStage, SecondStageSettings, score_windows
from lightsleeper.learning.second_stage import second_stage_task
from lightsleeper.learning.training import fit


def pswa_adamw(model: SecondStage, *, rate: float) -> PSWA:
    return PSWA(torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=1e-2), period=50)


def pswa_sgd(model: SecondStage, *, rate: float) -> PSWA:
    return PSWA(torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9), period=50)


def settle(model: SecondStage, *, rate: float) -> Settle:
    return Settle(model.parameters(), lr=rate)


METHODS: dict[str, Callable[[SecondStage], PSWA | Settle]] = {
    **{f"pswa(adamw {rate:g})": partial(pswa_adamw, rate=rate) for rate in (0.003, 0.01, 0.03)},
    **{f"pswa(sgd {rate:g})": partial(pswa_sgd, rate=rate) for rate in (0.01, 0.03, 0.1, 0.3)},
    **{f"settle {rate:g}": partial(settle, rate=rate) for rate in (0.01, 1.0)},
}


def area(scores: NDArray[np.float64], wake: NDArray[np.bool_]) -> float:
    """Area under the ROC curve (Mann-Whitney)."""
    ranks, count = rankdata(scores), int(wake.sum())
    return float((ranks[wake].sum() - count * (count + 1) / 2) / (count * (wake.size - count)))


def trial(examples: Examples, folds: NDArray[np.int64], method: str, steps: int, seed: int, fold: int) -> dict:
    kept = folds != fold
    part = Examples(examples.pressure_pa[kept], examples.wake[kept])
    started = time.perf_counter()
    start = second_stage_task(part, seed=seed, settings=SecondStageSettings(steps=steps))
    told = {"method": method, "steps": steps, "fold": fold, "seed": seed}
    try:
        model, curve = fit(start, METHODS[method], steps=steps, sgd_rate=0.03)
    except LightsleeperError:  # the loss became infinite
        return told | {"loss": float("inf"), "area": 0.5}
    seconds = time.perf_counter() - started
    scores = score_windows(model, examples.pressure_pa[~kept])
    return told | {
        "loss": float(curve.averaged_loss[-1]),
        "sgd_loss": float(curve.sgd_loss[-1]),
        "area": area(scores, examples.wake[~kept]),
        "seconds": round(seconds, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recordings", required=True)
    parser.add_argument("--wake", required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--steps", type=int, nargs="+", default=[350])
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--workers", type=int, default=-1)
    given = parser.parse_args()
    torch.set_num_threads(1)
    spec = load_spec(None, recordings=given.recordings, wake=given.wake)
    material = gather(spec, Silent())
    examples, folds = training_examples(design_first_stage(material, spec, Silent()), spec)
    jobs = [
        (method, steps, seed, fold)
        for method in given.methods
        for steps in given.steps
        for seed in given.seeds
        for fold in material.folds
    ]
    rows = []
    done = Parallel(n_jobs=given.workers, backend="threading", return_as="generator")(
        delayed(trial)(examples, folds, *job) for job in jobs
    )
    for row in done:
        rows.append(row)
        print(json.dumps(row), flush=True)
    for method in given.methods:
        for steps in given.steps:
            chosen = [row for row in rows if row["method"] == method and row["steps"] == steps]
            loss, mean = (float(np.mean([row[key] for row in chosen])) for key in ("loss", "area"))
            print(f"{method:20s} {steps:5d} steps: loss {loss:.4f}, area {mean:.4f}")


if __name__ == "__main__":
    main()
