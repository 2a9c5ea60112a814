"""A device that adapts its second stage to its own room in idle time, from wakes that somebody confirmed.

The design has never heard the room: its recordings are those of the fold that the design kept for its test. Half of
their sources are lived with: the first stage wakes on them, and of each wake it becomes known whether it was true (the
owner confirms, or does not). The device stores pictures of log-mel energies and that answer, never sound. The last
layer of the second stage then trains on them, in C and without torch, as `lightsleeper train --idle` does it. The other
half of the sources is held back: on them false accepts are counted before and after.

Example: python examples/adaptive_device.py glass --hours 8 --samples 20000
"""

import argparse
import dataclasses
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from lightsleeper.design import Design, Silent, export_c, load_design
from lightsleeper.design.first_stage import decision_of
from lightsleeper.design.material import gather
from lightsleeper.design.measure import as_pulses
from lightsleeper.design.second_stage import are_true, wakes_of, woken_windows
from lightsleeper.design.streams import make_streams, streams_of
from lightsleeper.detection import Decision, Stream, evaluate
from lightsleeper.device import Rule, StateFile, TrainerLibrary, build_library
from lightsleeper.errors import InputError
from lightsleeper.learning import scene_scores
from lightsleeper.learning.second_stage import pictures_of
from lightsleeper.recordings import Recording

Pictures = NDArray[np.float32]
STAGE = "second_stage"


@dataclasses.dataclass(frozen=True, eq=False)
class Woken:
    """What the first stage woke for in some streams.

    Attributes:
        streams: the streams, the first `dense` of them with sounds, the others bare floor.
        times_s: times of the wakes of each.
        pictures: (wakes, inputs) log-mel pictures, which is all that the device stores.
        true: (wakes,) the answer: was it the wake sound?
    """

    streams: list[Stream]
    dense: int
    times_s: list[NDArray[np.float64]]
    pictures: Pictures
    true: NDArray[np.bool_]


def halves(recordings: Sequence[Recording], wake: str) -> tuple[list[Recording], list[Recording]]:
    """Recordings of the room to live with and to hold back; no source is in both."""
    parts: tuple[list[Recording], list[Recording]] = ([], [])
    for label in sorted({r.label for r in recordings}):
        sources = sorted({r.source for r in recordings if r.label == label})
        if label == wake and len(sources) < 2:
            raise InputError(f"the room has one source of {wake}; two are needed")
        place = {source: index % 2 for index, source in enumerate(sources)}
        for recording in (r for r in recordings if r.label == label):
            parts[place[recording.source]].append(recording)
    return parts


def stored(design: Design, pressure_pa: NDArray[np.float32]) -> Pictures:
    """(n, samples) sound -> (n, inputs) pictures of log-mel energies, all that the device keeps of it."""
    pictures = pictures_of(torch.from_numpy(design.model.features(pressure_pa)))
    return np.ascontiguousarray(pictures.numpy().reshape(len(pressure_pa), -1), dtype=np.float32)


def live(design: Design, recordings: Sequence[Recording], *, hours: float, seed: int) -> Woken:
    """Let the first stage listen to hours of streams of these recordings."""
    streams = make_streams(recordings, design.spec, dense_hours=hours, floor_hours=0.25, seed=seed)
    scenes = [*streams.dense, *streams.floor]
    heard = streams_of(scenes, scene_scores(design.frontend, scenes, noise_seed=seed))
    times_s = wakes_of(heard, decision_of(design.frontend))
    windows = woken_windows(scenes, times_s, design.spec)
    return Woken(
        streams=heard,
        dense=len(streams.dense),
        times_s=times_s,
        pictures=stored(design, windows),
        true=are_true(heard, times_s),
    )


def judge(design: Design, woken: Woken, logits: NDArray[np.float32], threshold: float) -> dict[str, float]:
    """Recall and false accepts an hour of both stages, at the standard density of foreign sounds."""
    kept = logits >= threshold
    parts = np.split(kept, np.cumsum([times.size for times in woken.times_s])[:-1])
    pulses = [
        as_pulses(stream, times[part]) for stream, times, part in zip(woken.streams, woken.times_s, parts, strict=True)
    ]
    figures = evaluate(
        pulses[: woken.dense],
        pulses[woken.dense :],
        Decision(threshold=0.5),
        foreign_per_hour=design.spec.scene.foreign_per_hour,
    )
    return {
        "recall": figures.recall,
        "false_accepts_per_hour": figures.false_wakes_per_hour,
        "true_wakes_kept": float(kept[woken.true].mean()),
        "false_wakes_kept": float(kept[~woken.true].mean()),
    }


def adapt(folder: Path, woken: Woken, design: Design, *, samples: int) -> TrainerLibrary:
    """Train the last layer on the stored wakes in a process without torch, and return the model that comes of it."""
    export_c(design, folder / "firmware", rule=Rule(averaging="settle"), trainable="last")
    library = build_library(folder / "firmware" / f"{STAGE}.h", folder / "stage.so")
    np.savez(folder / "wakes.npz", x=woken.pictures, y=woken.true.astype(np.int32))
    program = "import sys; from lightsleeper.cli import run; sys.exit(run(sys.argv[1:]))"
    files = ["--library", library, "--data", folder / "wakes.npz", "--state", folder / "state"]
    budget = ["--cpu", "100%", "--memory", "256MB", "--load", "100%", "--cpu-pressure", "100%"]
    command = [sys.executable, "-c", program, "train", "--idle", *files, *budget, "--samples", samples]
    subprocess.run([str(part) for part in command], check=True)
    trained = TrainerLibrary(library)
    with StateFile(folder / "state", model_version=trained.model_version, state_bytes=trained.saved_bytes) as file:
        assert file.loaded.state is not None, "the trainer saves before it ends"
        trained.restore(file.loaded.state)
    return trained


def threshold_keeping(logits: NDArray[np.float32], true: NDArray[np.bool_], share: float) -> float:
    """Highest threshold that keeps this share of the true wakes."""
    kept = max(1, round(share * int(true.sum())))
    return float(np.sort(logits[true])[-kept])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder made by `lightsleeper design`")
    parser.add_argument("--hours", type=float, default=8.0, help="of dense streams to live with, and to be tested on")
    parser.add_argument("--samples", type=int, default=20_000, help="steps of training, one wake each")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    design = load_design(given.run)
    room = gather(design.spec, Silent()).test
    lived, held_back = (
        live(design, part, hours=given.hours, seed=9_000_000 + 1000 * given.seed + 500 * index)
        for index, part in enumerate(halves(room, design.spec.wake))
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        export_c(design, folder / "before", rule=Rule(averaging="none"), trainable="last")
        before = TrainerLibrary(build_library(folder / "before" / f"{STAGE}.h", folder / "before.so"))
        after = adapt(folder, lived, design, samples=given.samples)
        rows = {}
        # Both keep, of the wakes that they were confirmed on, the same share of true ones: the device can know that.
        share = float(np.mean(before.infer(lived.pictures)[lived.true, 0] >= logit(design.threshold)))
        for title, model in (("before", before), ("after", after)):
            threshold = threshold_keeping(model.infer(lived.pictures)[:, 0], lived.true, share)
            rows[title] = judge(design, held_back, model.infer(held_back.pictures)[:, 0], threshold)
    told = {
        "stored_true": int(lived.true.sum()),
        "stored_false": int((~lived.true).sum()),
        "stored_bytes": int(lived.pictures.nbytes),
        "tested_true": int(held_back.true.sum()),
        "tested_false": int((~held_back.true).sum()),
    }
    print(json.dumps(told | rows, indent=2))


def logit(probability: float) -> float:
    """Log-odds."""
    return float(np.log(probability / (1.0 - probability)))


if __name__ == "__main__":
    main()
