"""Cut training streams into windows, one a sound or a stretch of bare floor, as the wake stage's training examples."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from lightsleeper.circuits import MOST_COLUMNS, Chip, FrontEnd, FrontEndStream
from lightsleeper.errors import InputError
from lightsleeper.learning.augment import augment, cut_piece
from lightsleeper.recordings import FLOOR_LABELS, Recording, Scene, SceneEvent, SceneSettings, mix_scene

__all__ = [
    "LEAD_S",
    "LISTEN_S",
    "TRAINING_RATE_HZ",
    "Windows",
    "cut_windows",
    "floor_of",
    "rows_for",
    "scene_envelopes",
    "scene_scores",
    "training_scenes",
]

TRAINING_RATE_HZ = 125.0
"""Frames per second in training: one for four of the simulation, which is four times the speed at a quarter of the
memory. Neurons and integrator are the same circuit, only stepped more coarsely; thresholds and figures are never taken
from it."""
MOST_ROWS = 16
CHUNK_S = 1.0
"""Simulated at once: what sixteen sounds make of it stays in the cache."""
LEAD_S = 1.0
"""Time before the onset that a window shows: the neurons' memory must settle."""
LISTEN_S = 6.0
"""Longest stretch of a sound that is judged."""
TOLERANCE_S = 1.0
"""A wake counts until this long after the end of the event (DESIGN, standard scene)."""
AFTER_S = 1.4
"""A foreign sound is blamed for wakes until this long after its end."""
PIECE_SHARE = 0.35
"""Share of the training events that are a piece of the wake sound."""
SETTLE_S = 3.0
"""Start of a stream that no window may touch."""


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """Training examples of the wake stage.

    Attributes:
        envelopes_v: (n, frames, 3, bands) fast, slow and floor envelopes, `TRAINING_RATE_HZ` frames per second, V.
        judged: (n, frames) True where a high score is a wake of this example.
        wake: (n,) True where the stage should wake.
        fold: (n,) fold of the recordings, for cross-fitting.
        scene, start: (n,) which scene and at which frame the window begins.
    """

    envelopes_v: NDArray[np.float32]
    judged: NDArray[np.bool_]
    wake: NDArray[np.bool_]
    fold: NDArray[np.int64]
    scene: NDArray[np.int64]
    start: NDArray[np.int64]


def rows_for(bands: int) -> int:
    """Signals that are simulated side by side: sixteen, or as many as the kernel's columns hold."""
    return min(MOST_ROWS, MOST_COLUMNS // bands)


def floor_of(recordings: Sequence[Recording]) -> tuple[Recording, ...]:
    """Those recordings that may serve as continuous background."""
    return tuple(r for r in recordings if r.label in FLOOR_LABELS)


def training_scenes(
    recordings: Sequence[Recording],
    wake: str,
    *,
    piece_lengths_s: tuple[float, float],
    settings: SceneSettings,
    count: int,
    seed: int,
) -> list[Scene]:
    """`count` scenes of varied recordings and pieces of the wake sound; each draws variants of its own, seeded."""
    seeds = np.random.SeedSequence(seed).spawn(count)
    jobs = (delayed(_training_scene)(recordings, wake, piece_lengths_s, settings, one) for one in seeds)
    return list(Parallel(n_jobs=-1, backend="threading")(jobs))


def _training_scene(
    recordings: Sequence[Recording],
    wake: str,
    piece_lengths_s: tuple[float, float],
    settings: SceneSettings,
    seed: np.random.SeedSequence,
) -> Scene:
    rng = np.random.default_rng(seed)
    chosen = [r for r in recordings if r.label == wake]
    others = [r for r in recordings if r.label != wake]
    parts = [cut_piece(r, piece_lengths_s, rng) if rng.random() < PIECE_SHARE else r for r in chosen]
    needed = round(settings.foreign_per_hour * settings.duration_s / 3600.0) + 8
    picked = rng.permutation(len(others))[:needed]
    return mix_scene(
        wake=[augment(r, rng) for r in parts],
        foreign=[augment(others[i], rng) for i in picked],
        floor=floor_of(recordings),
        settings=settings,
        seed=int(rng.integers(2**31)),
    )


def scene_envelopes(
    frontend: FrontEnd,
    scenes: Sequence[Scene],
    *,
    noise_seed: int,
    chips: Sequence[Chip] | None = None,
    report: Callable[[int], None] | None = None,
) -> NDArray[np.float32]:
    """Envelopes of scenes of equal length at the training rate, (scenes, frames, 3, bands), in V.

    Args:
        frontend: the stage.
        scenes: streams of equal length.
        noise_seed: of the circuit's noise.
        chips: the chip that hears each scene; its envelopes are those that the nominal logarithm would turn into the
            voltages that the chip's network sees, so that they hold the mismatch of everything in front of the
            network. None is the nominal stage.
        report: called with the number of scenes that are done.
    """

    def envelopes(group: Sequence[int], seed: int) -> NDArray[np.float32]:
        heard = [scenes[index] for index in group]
        stream = FrontEndStream(
            frontend,
            rows=len(heard),
            rate_hz=heard[0].rate_hz,
            noise_seed=seed,
            frame_rate_hz=TRAINING_RATE_HZ,
            chips=None if chips is None else [chips[index] for index in group],
        )
        joined = np.concatenate([stream.envelopes(chunk)[0] for chunk in _chunks(frontend, heard)])
        if chips is not None:
            logs_v = stream.compress(joined).reshape(len(heard), len(joined), 3, -1)
            knee_v, slope_v = np.float32(frontend.compressor.knee_v), np.float32(frontend.process.slope_v)
            return np.asarray(np.maximum(knee_v * np.expm1(logs_v / slope_v), np.float32(0.0)))
        return joined.reshape(len(joined), 3, len(heard), -1).transpose(2, 0, 1, 3)

    return np.concatenate(_by_groups(envelopes, frontend, len(scenes), noise_seed, report))


def scene_scores(
    frontend: FrontEnd | Sequence[FrontEnd],
    scenes: Sequence[Scene],
    *,
    noise_seed: int,
    report: Callable[[int], None] | None = None,
) -> list[NDArray[np.float32]]:
    """The integrator's voltage over scenes of equal length at the control rate, (frames,) each, in V.

    Args:
        frontend: the stage, or one for each scene; these must be the same but for their networks.
        scenes: streams of equal length.
        noise_seed: of the circuit's noise.
        report: called with the number of scenes that are done.
    """
    each = [frontend] * len(scenes) if isinstance(frontend, FrontEnd) else list(frontend)
    if len(each) != len(scenes):
        raise InputError(f"{len(each)} stages for {len(scenes)} scenes; give one, or one for each")

    def integrals(group: Sequence[int], seed: int) -> NDArray[np.float32]:
        heard = [scenes[index] for index in group]
        stream = FrontEndStream(each[0], rows=len(group), rate_hz=heard[0].rate_hz, noise_seed=seed)
        networks = _rows_by_network([each[index] for index in group], heard[0].rate_hz)
        values = []
        for chunk in _chunks(each[0], heard):
            logs_v = stream.compress(stream.envelopes(chunk)[0])
            value = np.empty(logs_v.shape[:2], np.float32)
            for network, rows in networks:
                value[rows] = network.decide(logs_v[rows])
            values.append(value)
        return np.concatenate(values, axis=1)

    return [row for group in _by_groups(integrals, each[0], len(scenes), noise_seed, report) for row in group]


def _rows_by_network(stages: Sequence[FrontEnd], rate_hz: float) -> list[tuple[FrontEndStream, list[int]]]:
    """For each different stage the stream that decides for it, and the rows that it decides."""
    rows: dict[int, list[int]] = {}
    for row, stage in enumerate(stages):
        rows.setdefault(id(stage), []).append(row)
    return [(FrontEndStream(stages[of[0]], rows=len(of), rate_hz=rate_hz), of) for of in rows.values()]


def _by_groups(
    run: Callable[[Sequence[int], int], NDArray[np.float32]],
    frontend: FrontEnd,
    count: int,
    noise_seed: int,
    report: Callable[[int], None] | None,
) -> list[NDArray[np.float32]]:
    """`run` on the indices of as many scenes as fit side by side, each group with a noise seed of its own.

    Groups run in parallel and are of equal size, but for one scene.
    """
    groups = np.array_split(np.arange(count), -(-count // rows_for(frontend.bank.bands)))

    def one(number: int) -> NDArray[np.float32]:
        part = run(groups[number].tolist(), noise_seed + number)
        if report is not None:
            report(groups[number].size)
        return part

    return list(Parallel(n_jobs=-1, backend="threading")(delayed(one)(number) for number in range(len(groups))))


def _chunks(frontend: FrontEnd, scenes: Sequence[Scene]) -> Iterator[NDArray[np.float32]]:
    """Microphone voltages of scenes side by side, (scenes, samples), a second at a time."""
    sensitivity = np.float32(frontend.microphone.sensitivity_v_per_pa)
    step = round(CHUNK_S * scenes[0].rate_hz)
    for start in range(0, scenes[0].pressure_pa.size, step):
        yield np.stack([scene.pressure_pa[start : start + step] for scene in scenes]) * sensitivity


def cut_windows(envelopes_v: NDArray[np.float32], scenes: Sequence[Scene], folds: Sequence[int]) -> Windows:
    """Windows around every event, and one in each gap of over a second between events.

    Args:
        envelopes_v: (scenes, frames, 3, bands).
        scenes: the scenes, whose events say where to cut.
        folds: fold of each scene's recordings.
    """
    lead, length = round(LEAD_S * TRAINING_RATE_HZ), round((LEAD_S + LISTEN_S) * TRAINING_RATE_HZ)
    rows: list[tuple[int, int, int, bool]] = []
    for index, scene in enumerate(scenes):
        for onset_s, end_s, wake in _stretches(scene.events):
            start = round(onset_s * TRAINING_RATE_HZ) - lead
            if onset_s >= SETTLE_S and start + length <= envelopes_v.shape[1]:
                judged = min(round((end_s - onset_s) * TRAINING_RATE_HZ), length - lead)
                rows.append((index, start, judged, wake))
    if not rows:
        raise InputError("no training stream is long enough for a window: raise training.scene_s")
    scene_index, starts, lengths = (np.array([row[i] for row in rows], dtype=np.int64) for i in range(3))
    frames = np.arange(length)
    return Windows(
        envelopes_v=np.stack([envelopes_v[i, s : s + length] for i, s in zip(scene_index, starts, strict=True)]),
        judged=(frames >= lead) & (frames < lead + lengths[:, None]),
        wake=np.array([row[3] for row in rows]),
        fold=np.asarray(folds)[scene_index],
        scene=scene_index,
        start=starts,
    )


def _stretches(events: Sequence[SceneEvent]) -> list[tuple[float, float, bool]]:
    """(from, to, wake) of every event and of every gap of over 1 s between events."""
    stretches = []
    free_s = SETTLE_S
    for index, event in enumerate(events):
        if event.onset_s - max(free_s, SETTLE_S) > 1.0:
            stretches.append((max(free_s, SETTLE_S), event.onset_s, False))
        following_s = events[index + 1].onset_s if index + 1 < len(events) else np.inf
        free_s = event.end_s + AFTER_S
        until_s = event.end_s + TOLERANCE_S if event.wake else min(free_s, following_s)
        stretches.append((event.onset_s, until_s, event.wake))
    return stretches
