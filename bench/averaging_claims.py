"""What the first talk claims of weight averaging, held against finished runs of `lightsleeper bench averaging`.

Reads runs.jsonl of a benchmark's --out folder and trains nothing. For each task and each of PSWA, PWALKS and PSWM:
score minus constant SGD's at SGD's best rate and at about 3 and 10 times that, paired by seed; minus EMA's and
Lookahead's, each at its own best rate; the share of the run after which the mean score reaches SGD's last one at its
best rate; usable range; worst drop over an epoch; failed runs. Of Settle, by its start: score, and minus one-cycle's at
its best rate. Points are of 100; intervals Student's, 95 %, over the
seeds that both sides have. Best rates are chosen on the test set, for every method alike.

Example: python bench/averaging_claims.py --out averaging --json claims.json
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from lightsleeper.benchmarks.results_file import Result, read_results
from lightsleeper.benchmarks.rivals import family_of
from lightsleeper.benchmarks.tables import summarise

OWN = ("pswa", "pwalks", "pswm")
Runs = dict[float, dict[int, Result]]
"""By rate and seed."""


def by_method(results: Iterable[Result]) -> dict[str, Runs]:
    found: dict[str, Runs] = defaultdict(lambda: defaultdict(dict))
    for result in results:
        found[result.key.method][result.key.rate][result.key.seed] = result
    return found


def last(result: Result) -> float:
    return 100.0 * result.scores[-1]


def best_rate(runs: Runs, seeds: set[int]) -> float:
    whole = {rate: of_rate for rate, of_rate in runs.items() if seeds <= set(of_rate)}
    return max(whole, key=lambda rate: np.mean([last(whole[rate][seed]) for seed in seeds]))


def difference(one: dict[int, Result], other: dict[int, Result]) -> dict[str, Any]:
    """Mean of the first minus the second over common seeds, with its interval's half-width (None for one seed)."""
    seeds = sorted(set(one) & set(other))
    values = [last(one[seed]) - last(other[seed]) for seed in seeds]
    half = None
    if len(values) > 1:
        half = float(stats.t.ppf(0.975, len(values) - 1)) * float(np.std(values, ddof=1)) / len(values) ** 0.5
    return {"points": float(np.mean(values)), "half_width": half, "seeds": len(values)}


def share_to(target: float, of_rate: dict[int, Result]) -> float | None:
    """Share of the run until the mean score over seeds reaches the target."""
    mean = 100.0 * np.mean([result.scores for result in of_rate.values()], axis=0)
    steps = next(iter(of_rate.values())).at_steps
    return next((step / steps[-1] for step, score in zip(steps, mean, strict=True) if score >= target - 1e-9), None)


def claims(methods: dict[str, Runs], rows: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    seeds = set.intersection(*(set(of_rate) for of_rate in methods["sgd"].values()))
    sgd = methods["sgd"]
    best = best_rate(sgd, seeds)
    grid = sorted(sgd)
    higher = grid[grid.index(best) :][:3]
    target = float(np.mean([last(sgd[best][seed]) for seed in seeds]))
    found = []
    for name in ("sgd", *OWN):
        runs = methods.get(name)
        if runs is None or not all(rate in runs for rate in higher):
            continue
        row: dict[str, Any] = {
            "method": name,
            "sgd_best_rate": best,
            "over_sgd": {f"{rate / best:.0f}x": difference(runs[rate], sgd[rate]) for rate in higher},
            "over_sgd_at_its_best": {f"{rate / best:.0f}x": difference(runs[rate], sgd[best]) for rate in higher},
            "share_to_sgd": {f"{rate / best:.0f}x": share_to(target, runs[rate]) for rate in higher},
            "range": rows[name]["usable_range"],
            "worst_drop_points": 100.0 * rows[name]["worst_drop_epoch"],
            "failed": rows[name]["diverged"] + rows[name]["at_chance"],
            "runs": rows[name]["runs"],
        }
        for other in ("ema", "lookahead"):
            if other in methods:
                at = best_rate(methods[other], seeds)
                row[f"over_{other}"] = difference(runs[best], methods[other][at])
        found.append(row)
    return found


def starts(methods: dict[str, Runs]) -> dict[str, dict[str, Any]]:
    """Settle by its start: score, difference from one-cycle at its best rate, share of the run to one-cycle's score."""
    if not {"settle", "one_cycle"} <= set(methods):
        return {}
    settle, tuned = methods["settle"], methods["one_cycle"]
    seeds = set.intersection(*(set(of_rate) for of_rate in settle.values()))
    best = tuned[best_rate(tuned, seeds)]
    target = float(np.mean([last(best[seed]) for seed in seeds]))
    return {
        f"{rate:g}": {
            "score": float(np.mean([last(settle[rate][seed]) for seed in seeds])),
            "over_one_cycle": difference(settle[rate], best),
            "share_to_one_cycle": share_to(target, settle[rate]),
        }
        for rate in sorted(settle)
    }


def text(value: Any) -> str:
    if not isinstance(value, dict):
        return "never" if value is None else f"{value:.3g}"
    if "points" in value:
        half = "" if value["half_width"] is None else f" +- {value['half_width']:.1f}"
        return f"{value['points']:+.1f}{half}"
    return ", ".join(f"{key}: {text(one)}" for key, one in value.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    tasks: dict[str, list[Result]] = defaultdict(list)
    for key, result in read_results(given.out / "runs.jsonl").items():
        if key.scenario == "clean" and key.version == family_of(key.method).version:
            tasks[key.task].append(result)
    report: dict[str, Any] = {}
    for name, results in tasks.items():
        rows = {row["method"]: row for row in summarise({result.key: result for result in results})}
        report[name] = claims(by_method(results), rows)
        print(
            f"\n{name}, {results[0].train_size} training examples; SGD's best rate {report[name][0]['sgd_best_rate']:g}"
        )
        by_start = starts(by_method(results))
        for row in [*report[name], *({"method": f"settle from {rate}"} | row for rate, row in by_start.items())]:
            print(f"  {row['method']}")
            for key, value in row.items():
                if key not in ("method", "sgd_best_rate"):
                    print(f"    {key:<22}{text(value)}")
    if given.json:
        given.json.write_text(json.dumps(report, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
