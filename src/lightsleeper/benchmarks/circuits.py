"""Speed of the simulated first stage against peers on the same sound: scipy's linear filters, a torch loop, ngspice."""

import math
import shutil
import statistics
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.signal import butter, sosfilt

from lightsleeper.benchmarks.grid import Progress
from lightsleeper.circuits import Chip, FrontEnd, FrontEndStream, LinearBank
from lightsleeper.circuits.adjoint import checkpoint_interval
from lightsleeper.circuits.gradient import bank_envelopes
from lightsleeper.circuits.kernels import STATES
from lightsleeper.circuits.spice.engine import run_ngspice, source_file
from lightsleeper.circuits.spice.excerpt import SOURCE
from lightsleeper.circuits.spice.netlist import amplifier, band, circuit, preamble
from lightsleeper.learning import initial_frontend
from lightsleeper.learning.bank_model import BankModel

__all__ = ["bench_circuits", "circuit_tables"]

Row = dict[str, Any]
Float32 = NDArray[np.float32]
Call = Callable[[], object]
RATE_HZ = 16_000
QUIET_V, LOUD_V = 1e-4, 1e-3
"""Rms of white noise at the microphone: 0.3 and 2.7 linear ranges at the filters."""
RIVAL_BANDS = 16
LOOP_SUBSTEPS = 6
"""Of the torch loop, per sample: as many as the kernel's bands above 4.3 kHz take."""
SHAPES = ((1, 8), (1, 16), (4, 8), (16, 1), (16, 8), (8, 16), (128, 1))
"""(sounds, bands) whose time is compared: 8 to 128 columns."""
TRAINED_SHAPES = ((8, 16), (16, 8))
"""The same, of the adjoint."""
LENGTHS_S = (1, 10, 60)
CHIPS, CHIPS_S = 10_000, 10.0
"""Of the linear bank."""
LINEAR_RANGES = (3e-4, 3e-3, 0.03, 0.1, 0.3, 1.0)
"""Rms at the filters' input at which the linear bank is held against the full simulation."""


def bench_circuits(*, quick: bool, progress: Progress) -> list[Row]:
    """Rows of the kinds `rival`, `gradient`, `scaling`, `memory`, `linear`, `chips`.

    Times are medians of calls in turns, but for the chips, which are timed once.

    Args:
        quick: shorter sounds and fewer repeats.
        progress: told of every round.
    """
    repeats, sound_s = (1, 0.2) if quick else (7, 1.0)
    noise = np.random.default_rng(0).standard_normal((128, round(sound_s * RATE_HZ))).astype(np.float32)
    progress.begin("timing", (2 + len(TRAINED_SHAPES)) * (repeats + 1))
    rows = list(_rivals(noise, repeats, progress))
    rows += _gradient(noise, repeats, progress)
    rows += _scaling(noise, repeats, progress)
    lengths_s = LENGTHS_S[:2] if quick else LENGTHS_S
    progress.begin("measuring memory", len(lengths_s))
    rows += _memory(lengths_s, progress)
    rows += _linear_errors(noise[:1])
    rows.append(_linear_chips(*((200, 1.0) if quick else (CHIPS, CHIPS_S)), progress))
    return rows


def _medians(calls: dict[str, Call], repeats: int, progress: Progress) -> dict[str, float]:
    """Median seconds of each call; they take turns, and the first turn, which may compile, does not count."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(repeats + 1):
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            if turn:
                times[name].append(time.perf_counter() - began)
        progress.advance()
    return {name: statistics.median(values) for name, values in times.items()}


def _rivals(noise: Float32, repeats: int, progress: Progress) -> Iterator[Row]:
    """A bank of 16 bands with three envelopes each, one sound and eight; scipy filters the bands alone."""
    stage = initial_frontend(bands=RIVAL_BANDS)
    length_s = noise.shape[1] / RATE_HZ
    short_s = 0.02
    calls: dict[str, tuple[Call, float]] = {}
    for sounds in (1, 8):
        for kind, rms_v, seed in (("", QUIET_V, None), (", noisy", QUIET_V, 0), (", loud", LOUD_V, None)):
            stream = FrontEndStream(stage, rows=sounds, rate_hz=RATE_HZ, noise_seed=seed)
            volts = rms_v * noise[:sounds]
            name = f"lightsleeper, {sounds} sound{'s' if sounds > 1 else ''} at once{kind}"
            calls[name] = (lambda s=stream, v=volts: s.envelopes(v), sounds * length_s)  # type: ignore[misc]
    linear = LinearBank(stage, rate_hz=RATE_HZ)
    calls["lightsleeper linear, 1 sound at once"] = (lambda: linear.envelopes(QUIET_V * noise[:1]), length_s)
    short = QUIET_V * noise[0, : round(short_s * RATE_HZ)]
    calls["scipy sosfilt, linear bands alone, 32 kHz"] = (_scipy(stage, noise[0]), length_s)
    calls["torch loop over steps, bands and envelopes"] = (lambda: _torch_loop(stage, short), short_s)
    if shutil.which("ngspice"):
        calls["ngspice, steps of 5 us"] = (_ngspice(stage, short, short_s), short_s)
    medians = _medians({name: call for name, (call, _) in calls.items()}, repeats, progress)
    base = medians["scipy sosfilt, linear bands alone, 32 kHz"] / length_s
    for name, (_, sound_s) in calls.items():
        each = medians[name] / sound_s
        yield {
            "kind": "rival",
            "what": name,
            "bands": RIVAL_BANDS,
            "seconds_per_sound_second": each,
            "real_time_factor": 1.0 / each,
            "speed_over_sosfilt": base / each,
            "repeats": repeats,
        }


def _scipy(stage: FrontEnd, sound: Float32) -> Call:
    edges_hz = [(f * 2**-0.35, f * 2**0.35) for f in stage.bank.center_hz]
    sections = [butter(1, pair, "bandpass", fs=2 * RATE_HZ, output="sos") for pair in edges_hz]
    doubled = np.repeat(sound, 2)
    return lambda: [sosfilt(sos, doubled) for sos in sections]


def _torch_loop(stage: FrontEnd, sound_v: Float32) -> torch.Tensor:
    """What one writes first: the same equations, explicit steps, bands side by side, one Python step after another."""
    bank, range_v = stage.bank, stage.bank.range_v(stage.process)
    step_s = 1.0 / (RATE_HZ * LOOP_SUBSTEPS)
    w = torch.tensor([2.0 * math.pi * f * step_s for f in bank.center_hz])
    damping = w / torch.tensor(bank.q)
    up, down = torch.from_numpy(1.0 - np.exp(-step_s / stage.envelopes.times_s())).float().reshape(3, 2, -1).unbind(1)
    output, inside = torch.zeros(bank.bands), torch.zeros(bank.bands)
    envelopes = torch.zeros(3, bank.bands)
    gain = stage.amplifier.gain / range_v
    for sample in torch.from_numpy(gain * sound_v):
        driven = damping * torch.tanh(sample)
        for _ in range(LOOP_SUBSTEPS):
            heard = torch.tanh(output)
            output = output + driven - damping * heard - w * torch.tanh(inside)
            inside = inside + w * torch.tanh(output)
            error = range_v * output.abs() - envelopes
            envelopes = envelopes + torch.where(error > 0, up, down) * error
    return envelopes


def _ngspice(stage: FrontEnd, sound_v: Float32, duration_s: float) -> Call:
    numbers = range(1, stage.bank.bands + 1)
    netlist = circuit(
        "bank",
        preamble(stage, noise=False),
        *amplifier(stage),
        *(line for number in numbers for line in band(stage, number)),
        SOURCE,
        f".tran 5u {duration_s:g} 0 5u uic",
        ".save v(band1)",
    )
    rows = source_file(sound_v.astype(np.float64), float(RATE_HZ))
    return lambda: run_ngspice(netlist, files={"microphone.txt": rows})


def _gradient(noise: Float32, repeats: int, progress: Progress) -> Iterator[Row]:
    """Forward alone, and forward with the adjoint, of as many columns as a call carries.

    The forward run of a sound begins at its samples, hence with the amplifier, which is not trained and has no adjoint.
    """
    for sounds, bands in TRAINED_SHAPES:
        calls, kept_numbers = _training_calls(noise[:sounds], bands)
        medians = _medians(calls, repeats, progress)
        backward_s = medians["both"] - medians["forward"]
        yield {
            "kind": "gradient",
            "sounds": sounds,
            "bands": bands,
            "amplifier_s": medians["amplifier"],
            "forward_s": medians["forward"],
            "forward_and_backward_s": medians["both"],
            "backward_over_bank": backward_s / medians["forward"],
            "backward_over_forward": backward_s / (medians["amplifier"] + medians["forward"]),
            "kept_bytes_per_column_and_step": 4.0 * kept_numbers,
            "repeats": repeats,
        }


def _training_calls(noise: Float32, bands: int) -> tuple[dict[str, Call], float]:
    """What training runs on sounds (B, T), and how many numbers it keeps a column and step."""
    stage, rows = initial_frontend(bands=bands), len(noise)
    stream = FrontEndStream(stage, rows=rows, rate_hz=RATE_HZ)
    bank = BankModel(stage, rate_hz=RATE_HZ, step_rate_hz=stream.step_rate_hz)
    frames = noise.shape[1] // stream.frame_samples
    volts = QUIET_V * noise[:, : frames * stream.frame_samples]
    drive = stream.drive(volts)
    columns = stream.columns

    def forward() -> torch.Tensor:
        return bank_envelopes(
            bank.coefficients().repeat(1, rows),
            columns,
            fixed=stream.fixed_coefficients,
            drive=drive,
            noise=stream.noise,
            state=np.zeros((STATES, columns.width), np.float32),
            words=stream.words,
            hop=stream.hop,
            frames=frames,
        )

    calls: dict[str, Call] = {
        "amplifier": lambda: stream.drive(volts),
        "forward": forward,
        "both": lambda: forward().sum().backward(),  # type: ignore[no-untyped-call]
    }
    return calls, (STATES + 1) / checkpoint_interval(stream.hop)


def _scaling(noise: Float32, repeats: int, progress: Progress) -> Iterator[Row]:
    """Time of a column's step by the number of sounds and bands in a call."""
    streams = {
        f"{rows} x {bands}": FrontEndStream(initial_frontend(bands=bands), rows=rows, rate_hz=RATE_HZ)
        for rows, bands in SHAPES
    }
    calls: dict[str, Call] = {
        name: (lambda s=stream: s.envelopes(QUIET_V * noise[: s.rows]))  # type: ignore[misc]
        for name, stream in streams.items()
    }
    medians = _medians(calls, repeats, progress)
    for (rows, bands), (name, stream) in zip(SHAPES, streams.items(), strict=True):
        steps = noise.shape[1] * stream.step_rate_hz / RATE_HZ
        yield {
            "kind": "scaling",
            "sounds": rows,
            "bands": bands,
            "columns": rows * bands,
            "steps_per_s": stream.step_rate_hz,
            "substeps_per_step": float(stream.substeps.mean()),
            "ns_per_column_and_step": 1e9 * medians[name] / (steps * rows * bands),
            "ns_per_column_and_substep": 1e9 * medians[name] / (steps * rows * stream.substeps.sum()),
            "repeats": repeats,
        }


def _memory(lengths_s: Sequence[int], progress: Progress) -> Iterator[Row]:
    """Largest memory of a stage that hears 16 sounds in pieces of half a second, its decision kept."""
    stage = initial_frontend(bands=8)
    piece = np.zeros((16, RATE_HZ // 2), np.float32)
    FrontEndStream(stage, rows=16, rate_hz=RATE_HZ).process(piece)  # compiles
    for length_s in lengths_s:
        tracemalloc.start()
        stream = FrontEndStream(stage, rows=16, rate_hz=RATE_HZ)
        for _ in range(2 * length_s):
            stream.process(piece)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        yield {"kind": "memory", "sounds": 16, "bands": 8, "length_s": length_s, "peak_bytes": peak}
        progress.advance()


def _linear_errors(noise: Float32) -> Iterator[Row]:
    """Difference of the linear bank's envelopes from those of the full simulation, by the level of white noise."""
    stage = initial_frontend(bands=8)
    for level in LINEAR_RANGES:
        volts = np.float32(level * stage.bank.range_v(stage.process) / stage.amplifier.gain) * noise
        linear_v = LinearBank(stage, rate_hz=RATE_HZ).envelopes(volts)[0, :, :, 0]
        full_v, _ = FrontEndStream(stage, rows=1, rate_hz=RATE_HZ).envelopes(volts)
        error = math.sqrt(float(np.mean((linear_v - full_v) ** 2) / np.mean(full_v**2)))
        yield {"kind": "linear", "rms_linear_ranges": level, "difference_percent": 100.0 * error}


def _linear_chips(chips: int, sound_s: float, progress: Progress) -> Row:
    """One sound through many drawn chips, linear, its envelopes dropped as they come: once, and its memory."""
    stage = initial_frontend(bands=8)
    sound = QUIET_V * np.random.default_rng(1).standard_normal((1, round(sound_s * RATE_HZ))).astype(np.float32)
    progress.begin("timing many chips", 1)
    bank = LinearBank(stage, rate_hz=RATE_HZ, chips=[Chip(seed=seed) for seed in range(chips)])
    tracemalloc.start()
    began = time.perf_counter()
    for _ in bank.pieces(sound):
        pass
    seconds = time.perf_counter() - began
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    progress.advance()
    return {
        "kind": "chips",
        "chips": chips,
        "bands": 8,
        "sound_s": sound_s,
        "seconds": seconds,
        "ns_per_column_and_step": 1e9 * seconds / (chips * 8 * sound_s * bank.step_rate_hz),
        "peak_bytes": peak,
    }


_GRADIENT = (
    *("sounds x bands", "amplifier, s", "bank, s", "backward, s", "backward over bank", "over both"),
    "bytes kept a column and step",
)
_SCALING = ("sounds x bands", "columns", "substeps a step", "ns a column and step", "ns a column and substep")


def circuit_tables(rows: Sequence[Row]) -> Iterator[tuple[str, Sequence[str], list[list[str]]]]:
    """Title, heading and lines of readable tables."""
    of = {
        kind: [row for row in rows if row["kind"] == kind]
        for kind in ("rival", "gradient", "scaling", "memory", "linear", "chips")
    }
    yield (
        f"{RIVAL_BANDS} bands with three envelopes, 16 kHz sound, one core",
        ("what", "ms for a second of sound", "times real time", "speed over sosfilt"),
        [
            [
                row["what"],
                f"{1e3 * row['seconds_per_sound_second']:.3g}",
                f"{row['real_time_factor']:.3g}",
                f"{row['speed_over_sosfilt']:.3g}",
            ]
            for row in of["rival"]
        ],
    )
    yield (
        "gradient: the amplifier, ahead of the bank, is not trained",
        _GRADIENT,
        [
            [
                f"{row['sounds']} x {row['bands']}",
                f"{row['amplifier_s']:.4f}",
                f"{row['forward_s']:.4f}",
                f"{row['forward_and_backward_s'] - row['forward_s']:.4f}",
                f"{row['backward_over_bank']:.2f}",
                f"{row['backward_over_forward']:.2f}",
                f"{row['kept_bytes_per_column_and_step']:.2f}",
            ]
            for row in of["gradient"]
        ],
    )
    yield (
        "scaling: 32,000 steps a second of sound where the bands reach 7 kHz",
        _SCALING,
        [
            [
                f"{row['sounds']} x {row['bands']}",
                str(row["columns"]),
                f"{row['substeps_per_step']:.2f}",
                f"{row['ns_per_column_and_step']:.2f}",
                f"{row['ns_per_column_and_substep']:.2f}",
            ]
            for row in of["scaling"]
        ],
    )
    yield (
        "memory: 16 sounds x 8 bands in pieces",
        ("length, s", "peak, MB"),
        [[str(row["length_s"]), f"{row['peak_bytes'] / 1e6:.1f}"] for row in of["memory"]],
    )
    yield (
        "linear bank against the full simulation: 8 bands, white noise, all envelopes",
        ("rms at the filters, linear ranges", "difference, %"),
        [[f"{row['rms_linear_ranges']:g}", f"{row['difference_percent']:.2f}"] for row in of["linear"]],
    )
    yield (
        "linear bank: one sound through drawn chips of 8 bands",
        ("chips", "length, s", "time, s", "ns a column and step", "peak, MB"),
        [
            [
                str(row["chips"]),
                f"{row['sound_s']:g}",
                f"{row['seconds']:.3g}",
                f"{row['ns_per_column_and_step']:.2f}",
                f"{row['peak_bytes'] / 1e6:.1f}",
            ]
            for row in of["chips"]
        ],
    )
