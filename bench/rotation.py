"""Rotate the test fold: how well the first stage hears sounds of every fold that it never saw. Runs for minutes a fold.

Example: python bench/rotation.py --recordings DIR --wake glass_breaking --folds 1 2 3 4
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np

from lightsleeper.design import Silent, design_into, load_spec

BUDGETS_PER_HOUR = (4.0, 6.0, 8.0, 12.0)


def recall_at(folder: Path, budget_per_hour: float) -> float:
    """Recall on the test streams at the lowest threshold that keeps the budget, searched from the top."""
    traces = np.load(folder / "traces.npz")
    kept = np.cumsum(traces["det_false_wakes_per_hour"] > budget_per_hour) == 0
    return float(traces["det_recall"][kept].max(initial=0.0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recordings", required=True)
    parser.add_argument("--wake", required=True)
    parser.add_argument("--folds", type=int, nargs="+", default=[1, 2, 3, 4])
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rows = []
    for fold in given.folds:
        spec = load_spec(None, recordings=given.recordings, wake=given.wake, seed=given.seed)
        spec = spec.model_copy(update={"evaluation": spec.evaluation.model_copy(update={"test_fold": fold})})
        with tempfile.TemporaryDirectory() as folder:
            summary = design_into(Path(folder), spec, Silent())
            first = summary["first_stage"]
            row = {
                "wake": given.wake,
                "test_fold": fold,
                "seed": given.seed,
                "recall": first["recall"],
                "false_wakes_per_hour": first["false_wakes_per_hour"],
                "false_wakes_per_hour_floor": first["false_wakes_per_hour_floor"],
                "recall_at": {f"{budget:g}": recall_at(Path(folder), budget) for budget in BUDGETS_PER_HOUR},
                "events": first["events"],
                "recall_by_clip": {
                    Path(clip["file"]).stem: round(clip["recall"], 2) for clip in first["recall_by_clip"]
                },
                "system_recall": 1.0 - summary["system"]["miss_rate"],
                "false_accepts_per_hour": summary["system"]["false_accepts_per_hour"],
                "test_wake_clips": summary["task"]["test_wake_clips"],
            }
        rows.append(row)
        print(json.dumps(row), flush=True)
    mean = {key: float(np.mean([row["recall_at"][key] for row in rows])) for key in rows[0]["recall_at"]}
    print(json.dumps({"wake": given.wake, "mean_recall_at": mean, "folds": given.folds}))


if __name__ == "__main__":
    main()
