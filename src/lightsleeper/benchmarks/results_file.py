"""File of finished runs: one JSON object a line and method, so that a broken-off benchmark goes on where it stood."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lightsleeper.errors import InputError

__all__ = ["Result", "RunKey", "append_results", "read_results"]


@dataclass(frozen=True, order=True)
class RunKey:
    """What makes a run what it is; runs of equal keys are equal.

    Attributes:
        task, method, scenario: their names.
        batch: examples in a batch.
        steps: batches in the run.
        rate: in the units of the method's grid.
        seed: of the first weights and of the order of examples.
        version: of the method's family.
    """

    task: str
    scenario: str
    batch: int
    steps: int
    method: str
    version: int
    rate: float
    seed: int


@dataclass(frozen=True)
class Result:
    """A finished run of one method.

    Attributes:
        key: what was run.
        at_steps, scores, diverged: as in `Curve`.
        train_size, test_size: examples.
        chance: score of a network that knows nothing.
        score_error: standard error of the last score from the size of the test set alone.
        seconds: of the run, in which all methods of a family share.
    """

    key: RunKey
    at_steps: tuple[int, ...]
    scores: tuple[float, ...]
    diverged: bool
    train_size: int
    test_size: int
    chance: float
    score_error: float
    seconds: float


def read_results(path: Path) -> dict[RunKey, Result]:
    """Finished runs by key; none where there is no file. A last line without its end is left out.

    Raises:
        InputError: a line in the middle is no result.
    """
    if not path.is_file():
        return {}
    results = {}
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
        try:
            result = _result(json.loads(line))
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(
                f"{path}: line {number} is no result of this benchmark: remove it, or give another --out"
            ) from error
        results[result.key] = result
    return results


def _result(row: dict[str, Any]) -> Result:
    sequences = {name: tuple(row[name]) for name in ("at_steps", "scores")}
    return Result(**{**row, **sequences, "key": RunKey(**row["key"])})


def append_results(path: Path, results: Iterable[Result]) -> None:
    """Add finished runs, each as one whole line; a half-written line that an earlier run left is cut off first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_file():
        _cut_half_line(path)
    text = "".join(json.dumps(asdict(result), allow_nan=False) + "\n" for result in results)
    with path.open("ab") as stream:
        stream.write(text.encode())


def _cut_half_line(path: Path) -> None:
    with path.open("rb+") as stream:
        content = stream.read()
        if content and not content.endswith(b"\n"):
            stream.truncate(content.rfind(b"\n") + 1)
