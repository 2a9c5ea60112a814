"""The main job: from labelled recordings to a designed, measured always-on sensor in a run folder."""

import ctypes
import dataclasses
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from lightsleeper.design.first_stage import design_first_stage
from lightsleeper.design.material import check_label, gather
from lightsleeper.design.measure import Design, measure
from lightsleeper.design.progress import Progress
from lightsleeper.design.second_stage import design_second_stage
from lightsleeper.design.spec import Spec
from lightsleeper.design.storage import save_design, write_json
from lightsleeper.design.summary import (
    check_parts,
    measured_blocks,
    scene_conditions,
    set_conditions,
    summarise,
    versions,
)
from lightsleeper.design.traces import collect_traces
from lightsleeper.errors import InputError
from lightsleeper.recordings import RecordingSet, unite_sources

__all__ = ["design_into", "evaluate_design"]

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Of malloc.h."""
LARGEST_KEPT_BYTES = 32 << 20
"""The largest that glibc takes for a block."""
KEPT_BYTES = 1 << 30


class _Clock(Progress):
    """Passes progress on and keeps the wall-clock of every step."""

    def __init__(self, inner: Progress) -> None:
        self._inner = inner
        self._marks: list[tuple[str, float]] = []

    def begin(self, step: str, total: int) -> None:
        self._marks.append((step, time.monotonic()))
        self._inner.begin(step, total)

    def advance(self, units: int = 1) -> None:
        self._inner.advance(units)

    def timings(self) -> list[dict[str, Any]]:
        """Seconds of each step so far."""
        ends = [mark for _, mark in self._marks[1:]] + [time.monotonic()]
        return [
            {"step": step, "seconds": round(end - start, 3)}
            for (step, start), end in zip(self._marks, ends, strict=True)
        ]


def design_into(folder: Path, spec: Spec, progress: Progress) -> dict[str, Any]:
    """Design for `spec` and write everything but the report into `folder`; returns the summary.

    The same spec gives the same summary.json to the bit on the same machine; wall-clock stands in timings.json.
    """
    clock = _Clock(progress)
    _prepare_process()
    check_parts(spec)  # now, and not after minutes of training
    material = gather(spec, clock)
    first = design_first_stage(material, spec, clock)
    digital = design_second_stage(first, material, spec, clock)
    design = Design(spec=spec, frontend=first.frontend, model=digital.model, threshold=digital.threshold)
    asked = spec.evaluation
    measured = measure(
        design,
        material.test,
        dense_hours=asked.dense_hours,
        floor_hours=asked.floor_hours,
        snr_db=asked.snr_db,
        seed=spec.seed,
        progress=clock,
    )
    clock.begin("writing the run", 0)
    summary = summarise(design, material, first, digital, measured)
    save_design(design, folder)
    np.savez_compressed(folder / "traces.npz", **collect_traces(design, first, digital, measured))  # type: ignore[arg-type]
    write_json(folder / "summary.json", summary)
    write_json(folder / "timings.json", clock.timings())
    return summary


def evaluate_design(
    design: Design, recordings: RecordingSet, *, hours: float, snr_db: float | None, seed: int, progress: Progress
) -> dict[str, Any]:
    """Figures of a finished design on recordings that it never saw, in the keys of summary.json.

    Args:
        design: the design.
        recordings: none of which the design may have seen.
        hours: dense hours, and as many of bare floor.
        snr_db: level of the wake events over the floor; None takes the spec's.
        seed: of the streams.
        progress: told of the steps.
    """
    _prepare_process()
    united, moved = unite_sources(recordings.recordings)
    check_label(united, design.spec.wake)
    if all(recording.label == design.spec.wake for recording in united):
        raise InputError(f"all recordings are {design.spec.wake}; other sounds are needed to count false wakes")
    if snr_db is not None:
        scene = design.spec.scene.model_copy(update={"wake_snr_db": snr_db})
        design = dataclasses.replace(design, spec=design.spec.model_copy(update={"scene": scene}))
    measured = measure(
        design,
        united,
        dense_hours=hours,
        floor_hours=hours,
        snr_db=design.spec.evaluation.snr_db,
        seed=seed,
        progress=progress,
    )
    task = (
        scene_conditions(design.spec, measured) | set_conditions(recordings) | {"train_clips": 0, "moved": list(moved)}
    )
    blocks = measured_blocks(design, measured)
    return {"task": task, **blocks, "seeds": {"design": design.spec.seed, "streams": seed}, "versions": versions()}


def _prepare_process() -> None:
    """Make torch, BLAS and the allocator fit for work that is spread over whole scenes and networks."""
    # Threads inside a sum would only reorder it, and the summary would depend on the number of cores.
    torch.set_num_threads(1)
    threadpool_limits(limits=1, user_api="blas")
    _keep_freed_memory()


def _keep_freed_memory() -> None:
    """Let glibc keep what tensors free: pages given back to the kernel at every step cost a fault each to get again."""
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if libc is not None and hasattr(libc, "mallopt"):
        libc.mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT_BYTES)
        libc.mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
