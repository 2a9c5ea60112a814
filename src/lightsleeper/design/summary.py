"""summary.json: every headline figure with its conditions, in the keys that DESIGN fixes."""

import math
import platform
import shlex
from importlib.metadata import version
from typing import Any

from lightsleeper.circuits import CONTROL_RATE_HZ, FrontEnd
from lightsleeper.design.first_stage import TRAINING_FOREIGN_PER_HOUR, TRAINING_WAKE_PER_HOUR, FirstStage
from lightsleeper.design.material import Material
from lightsleeper.design.measure import Design, Measured
from lightsleeper.design.second_stage import DigitalStage
from lightsleeper.design.spec import Spec
from lightsleeper.detection import DetectionFigures
from lightsleeper.energy import analyse_first, digitise_first, energy_report, load_catalogue
from lightsleeper.learning import LEAD_S, LISTEN_S, NetworkSettings, SecondStageSettings
from lightsleeper.recordings import RecordingSet

__all__ = ["check_parts", "energy_of", "measured_blocks", "summarise", "versions"]

Block = dict[str, Any]


def measured_blocks(design: Design, measured: Measured) -> Block:
    """`first_stage` and `system` of a design on the recordings it was measured with."""
    first, system = measured.first, measured.system
    power, area = design.frontend.power_w(), design.frontend.area_mm2()
    wakes_per_hour, low, high = _wakes_per_hour(first, design.spec)
    return {
        "first_stage": _detection(first)
        | {
            "recall_by_snr_db": measured.snr_rows(),
            "recall_by_clip": measured.clip_rows(),
            "bands": _bands(design.frontend),
            "threshold_v": design.frontend.comparator.threshold_v,
            "power_w": sum(power.values()),
            "power_by_block_w": power,
            "area_mm2": sum(area.values()),
            "area_by_block_mm2": area,
        },
        "system": {
            "miss_rate": 1.0 - system.recall,
            "miss_rate_interval": [1.0 - system.recall_interval[1], 1.0 - system.recall_interval[0]],
            "false_accepts_per_hour": system.false_wakes_per_hour,
            "false_accepts_per_hour_interval": list(system.false_wakes_per_hour_interval),
            "false_accepts_per_100_foreign": system.false_wakes_per_100_foreign,
            "false_accepts_per_hour_floor": system.false_wakes_per_hour_floor,
            "duty_cycle": wakes_per_hour * design.spec.device.on_time_s / 3600.0,
            "probability_threshold": design.threshold,
        },
        "energy": energy_of(design, wakes_per_hour, (low, high)),
    }


def check_parts(spec: Spec) -> None:
    """Raise InputError where a part of the spec's device stands in no catalogue."""
    catalogue = load_catalogue()
    catalogue.battery(spec.device.battery)
    catalogue.sensor(spec.device.sensor)
    catalogue.microcontroller(spec.device.microcontroller)


def energy_of(design: Design, wakes_per_hour: float, interval: tuple[float, float]) -> Block:
    """Power, battery life and its extension at a rate of wakes, true and false together, with its 95 % interval."""
    device = design.spec.device
    catalogue = load_catalogue()
    analyse = analyse_first(
        catalogue,
        analog_power_w=sum(design.frontend.power_w().values()),
        wakes_per_hour=wakes_per_hour,
        on_time_s=device.on_time_s,
        sensor=device.sensor,
        microcontroller=device.microcontroller,
        analog_source="simulated by this design: bias currents of frontend.json",
    )
    digitise = digitise_first(
        catalogue,
        true_wakes_per_hour=device.events_per_hour,
        # The same detection target for both: a published detector wakes its processor as often as this stage does.
        best_digital_wakes_per_hour=wakes_per_hour,
        on_time_s=device.on_time_s,
        microcontroller=device.microcontroller,
    )
    return energy_report(analyse, digitise, catalogue.battery(device.battery), wakes_per_hour_interval=interval)


def _wakes_per_hour(first: DetectionFigures, spec: Spec) -> tuple[float, float, float]:
    """All wakes with their interval: false ones at the scene's density, and the true events of the device."""
    true = spec.device.events_per_hour
    recall = 1.0 if math.isnan(first.recall) else first.recall
    low, high = first.false_wakes_per_hour_interval
    return first.false_wakes_per_hour + true * recall, low + true * recall, high + true


def summarise(
    design: Design,
    material: Material,
    first: FirstStage,
    digital: DigitalStage,
    measured: Measured,
) -> Block:
    """The whole summary of a run."""
    spec = design.spec
    blocks = measured_blocks(design, measured)
    blocks["first_stage"]["validation"] = _detection(first.validation)
    return {
        "task": _task(spec, material, measured),
        **blocks,
        "training": _training(spec, material, first, digital),
        "reduction": _reduction(design.frontend, spec, measured),
        "limits": _limits(material, measured),
        "seeds": {"design": spec.seed},
        "versions": versions(),
        "command": _command(spec),
    }


def _command(spec: Spec) -> str:
    """What repeats the run; options say it all only where everything else has its default."""
    if spec != Spec(recordings=spec.recordings, wake=spec.wake, seed=spec.seed):
        return "lightsleeper design RUN/spec.toml --out REPEATED"
    recordings = ["--recordings", spec.recordings] if spec.recordings else []
    return shlex.join(
        ["lightsleeper", "design", *recordings, "--wake", spec.wake, "--seed", str(spec.seed), "--out", "RUN"]
    )


def versions() -> Block:
    """Versions of what the figures depend on."""
    names = ("lightsleeper", "numpy", "scipy", "torch", "numba", "soxr", "soundfile")
    return {"python": platform.python_version()} | {name: version(name) for name in names}


def scene_conditions(spec: Spec, measured: Measured) -> Block:
    """What every figure on test streams depends on."""
    first = measured.first
    return {
        "wake": spec.wake,
        "test_clips": measured.clips,
        "test_sources": measured.sources,
        "test_hours": first.hours,
        "test_floor_hours": first.floor_hours,
        "test_events": first.events,
        "test_foreign": first.foreign_sounds,
        "snr_db": spec.scene.wake_snr_db,
        "floor_db_spl": spec.scene.floor_db_spl,
        "foreign_per_hour": spec.scene.foreign_per_hour,
    }


def set_conditions(recordings: RecordingSet) -> Block:
    """Which recordings, how many."""
    return {
        "recordings": recordings.name,
        "synthetic": recordings.synthetic,
        "clips": len(recordings.recordings),
        "sources": len({recording.source for recording in recordings.recordings}),
        "labels": len(recordings.labels),
        "skipped": list(recordings.skipped),
    }


def _task(spec: Spec, material: Material, measured: Measured) -> Block:
    train = material.train
    wake_clips = [recording for recording in train if recording.label == spec.wake]
    return {
        **scene_conditions(spec, measured),
        **set_conditions(material.everything),
        "train_clips": len(train),
        "train_sources": len({recording.source for recording in train}),
        "train_wake_clips": len(wake_clips),
        "test_wake_clips": sum(recording.label == spec.wake for recording in material.test),
        "validation_clips": len(train),
        "validation": "cross-fitted: each training fold is heard by a network trained on the others",
        "test_fold": material.test_fold,
        "moved": list(material.moved),
        "target": spec.target.model_dump(exclude_none=True),
        "events_per_hour": spec.device.events_per_hour,
    }


def _detection(figures: DetectionFigures) -> Block:
    values = figures.as_dict()
    labels = values.pop("by_label")
    latency = {"median": values.pop("latency_median_s"), "p95": values.pop("latency_p95_s")}
    rows = {label: {"wakes": wakes, "sounds": sounds} for label, (wakes, sounds) in sorted(labels.items())}
    return values | {"latency_s": latency, "false_wakes_by_label": rows}


def _bands(frontend: FrontEnd) -> list[Block]:
    power = frontend.bank.band_power_w(frontend.process)
    pairs = zip(frontend.bank.center_hz, frontend.bank.q, power, strict=True)
    return [{"center_hz": f, "q": q, "power_w": float(p)} for f, q, p in pairs]


def _training(spec: Spec, material: Material, first: FirstStage, digital: DigitalStage) -> Block:
    network, second = (
        NetworkSettings(steps=spec.training.network_steps),
        SecondStageSettings(steps=spec.training.digital_steps),
    )
    clips = len(material.train)
    frontend = first.frontend
    weights = frontend.network.hidden_weight.size + 3 * frontend.network.neurons + 1
    circuit = 8 * frontend.bank.bands + 1
    steps = network.steps
    return {
        "wake_stage": {
            "optimizer": "Settle; PSWA(AdamW) through the circuit" if spec.training.circuit_steps else "Settle",
            "parameters": weights + circuit,
            "steps": steps
            + spec.training.first_steps * bool(spec.training.circuit_steps)
            + spec.training.circuit_steps,
            "epochs": steps * network.batch / first.windows,
            "train_clips": clips,
            "windows": first.windows,
            "stream_hours": len(first.scenes) * spec.training.scene_s / 3600.0,
            "seconds": steps * network.batch * (LEAD_S + LISTEN_S),
            "scene_density_per_hour": [TRAINING_WAKE_PER_HOUR, TRAINING_FOREIGN_PER_HOUR],
        },
        "digital_stage": {
            "optimizer": "PSWA(AdamW)",
            "parameters": digital.model.parameter_count,
            "macs": digital.model.macs,
            "steps": second.steps,
            "epochs": second.steps * second.batch / digital.examples,
            "train_clips": clips,
            "windows": digital.examples,
            "positive_windows": digital.positives,
            "seconds": second.steps * second.batch * spec.second_stage.window_s,
            "validation_recall": digital.validation_recall,
            "validation_rejection": digital.validation_rejection,
        },
    }


def _reduction(frontend: FrontEnd, spec: Spec, measured: Measured) -> Block:
    """How many numbers a second enter each step of the first stage, and what leaves it."""
    return {
        "method": "band energies at learnt centre frequencies; no PCA",
        "samples_per_second": spec.scene.rate_hz,
        "envelopes_per_second": 3 * frontend.bank.bands * CONTROL_RATE_HZ,
        "neurons": frontend.network.neurons,
        "wakes_per_hour": measured.first.false_wakes_per_hour,
    }


def _limits(material: Material, measured: Measured) -> list[str]:
    lines = [
        "First stage simulated with noise, soft clipping and tanh transconductors; without mismatch, temperature, 1/f "
        "noise and finite output resistance.",
        "Intervals count events and false wakes; that the same few clips recur in many placements widens them further.",
        "Power of the analog stage follows from its bias currents; microphone, converter and processor are catalogue "
        "figures, each with its source.",
    ]
    if material.everything.synthetic:
        lines.insert(
            0, "Synthetic recordings: the figures show that the chain works, not how well it hears real sound."
        )
    if measured.first.late_hits:
        lines.append(
            f"{measured.first.late_hits} wakes came later than 1 s after the event's end; they count as misses."
        )
    return [*lines, *material.moved]
