"""A run folder with realistic values, for the report's tests."""

import json
from pathlib import Path
from typing import Any

import numpy as np

CENTRES_HZ = (180.0, 320.0, 560.0, 980.0, 1700.0, 2900.0, 4700.0, 7100.0)
PERIOD_S = 1 / 250


def summary() -> dict[str, Any]:
    """Every key of the contract, nothing absent."""
    first = first_stage()
    return {
        "task": task(),
        "first_stage": first | {"validation": {key: first[key] for key in ("recall", "recall_interval", "latency_s")}},
        "system": {
            "miss_rate": 0.075,
            "miss_rate_interval": [0.036, 0.151],
            "false_accepts_per_hour": 0.48,
            "false_accepts_per_hour_interval": [0.06, 1.73],
            "duty_cycle": 0.0137,
        },
        "energy": energy(),
        "training": {
            stage: {
                "optimizer": optimizer,
                "parameters": parameters,
                "steps": steps,
                "epochs": 30,
                "train_clips": 1180,
                "seconds": 41.7,
            }
            for stage, optimizer, parameters, steps in (
                ("wake_stage", "PSWA(Adam)", 233, 900),
                ("digital_stage", "PSWA(SGD)", 18_433, 1400),
            )
        },
        "reduction": {"samples_per_second": 16000, "envelopes_per_second": 6000, "decisions_per_second": 250},
        "limits": [
            "Simulated circuit at 27 °C; no chip was made.",
            "Clips are shorter than 5 s and faded at both ends.",
            "The pre-roll buffer's power is left out.",
        ],
        "seeds": {"design": 7, "scene": {"validation": 11, "test": 12}},
        "versions": {"lightsleeper": "0.1.0", "numpy": "2.3.1", "torch": "2.8.0"},
        "command": "lightsleeper design --recordings sounds --wake glass_breaking --seed 7 --out run",
    }


def task() -> dict[str, Any]:
    return {
        "wake": "glass_breaking",
        "recordings": "household sounds",
        "synthetic": False,
        "clips": 2000,
        "sources": 1630,
        "train_clips": 1180,
        "validation_clips": 400,
        "test_clips": 420,
        "train_sources": 960,
        "test_sources": 341,
        "labels": ["glass_breaking", "dog", "door_knock", "rain", "clapping"],
        "test_hours": 4.0,
        "test_floor_hours": 1.5,
        "test_events": 80,
        "test_foreign": 960,
        "snr_db": 10.0,
        "floor_db_spl": 40.0,
        "foreign_per_hour": 60,
        "target": {"false_wakes_per_hour": 6.0, "hit_margin_s": 1.0},
    }


def first_stage() -> dict[str, Any]:
    blocks_w = {"amplifier": 7.1e-6, "filters": 9.4e-6, "envelopes": 3.2e-6, "network": 1.1e-6, "comparator": 0.2e-6}
    return {
        "recall": 0.95,
        "recall_interval": [0.878, 0.98],
        "hits": 76,
        "events": 80,
        "false_wakes_per_hour": 4.31,
        "false_wakes_per_hour_interval": [3.12, 5.87],
        "false_wakes_per_100_foreign": 6.67,
        "false_wakes_per_100_foreign_interval": [5.12, 8.53],
        "false_wakes_per_hour_floor": 0.31,
        "false_wakes_per_hour_floor_interval": [0.008, 1.73],
        "late_hits": 2,
        "latency_s": {"median": 0.184, "p95": 0.522},
        "awake_share": 0.0137,
        "threshold_v": 0.271,
        "bands": [{"center_hz": hz, "q": 2.0 + hz / 4000, "power_w": 1.2e-9 * hz} for hz in CENTRES_HZ],
        "power_w": sum(blocks_w.values()),
        "power_by_block_w": blocks_w,
        "area_mm2": 0.413,
        "area_by_block_mm2": {"amplifier": 0.02, "filters": 0.25, "envelopes": 0.143},
        "recall_by_snr_db": {
            "0": {"recall": 0.6, "interval": [0.455, 0.73], "events": 45},
            "5": {"recall": 0.82, "interval": [0.687, 0.908], "events": 45},
            "10": {"recall": 0.95, "interval": [0.878, 0.98], "events": 80},
            "20": {"recall": 0.978, "interval": [0.884, 0.996], "events": 45},
        },
        "false_wakes_by_label": {
            "dog": {"wakes": 4, "sounds": 31},
            "door_knock": {"wakes": 9, "sounds": 28},
            "rain": {"wakes": 0, "sounds": 30},
            "clapping": {"wakes": 11, "sounds": 29},
            "keyboard_typing": {"wakes": 3, "sounds": 33},
            "washing_machine": {"wakes": 0, "sounds": 27},
        },
    }


def energy() -> dict[str, Any]:
    """Block of lightsleeper.energy.energy_report, written by hand."""
    floor_w, wake_j, cell_j = 67e-6, 0.0524, 225 * 3.6 * 3.0 * 0.85
    rate = np.concatenate(([0.0], np.geomspace(0.1, 1000, 41)))
    power_w = floor_w + wake_j * rate / 3600
    ours_w = floor_w + wake_j * 10.2 / 3600
    rivals_w = {"catalogue": 1.337e-3, "best_digital": 3.4e-4, "energy_gated": 1.9e-4}

    def days(watt: Any) -> Any:
        return cell_j / watt / 86400

    def part(
        name: str, state: str, watt: float, source: str = "datasheet", evidence: str = "primary"
    ) -> dict[str, Any]:
        return {"part": name, "state": state, "power_w": watt, "source": source, "evidence": evidence}

    def system(watt: float, wakes: float, parts: list[dict[str, Any]]) -> dict[str, Any]:
        excluded = ["radio", "battery self-discharge"]
        return {
            "power_w": watt,
            "battery_days": days(watt),
            "wakes_per_hour": wakes,
            "parts": parts,
            "excluded": excluded,
        }

    microphone = part("ICS-40310", "active", 16e-6, "ICS-40310 datasheet 2014: 16 uA at 1.0 V", "abstract")
    asleep = part("STM32U575", "stop2", 15e-6)
    first = part("analog first stage", "always on", 36e-6, "this design", "derived")
    rivals = {
        "catalogue": [part("ICS-41350", "low_power", 333e-6), part("STM32U575", "1 inference/s", 1004e-6)],
        "best_digital": [microphone, asleep, part("ADC core", "14 bit, 16 kS/s", 309e-6, "ADC survey", "derived")],
        "energy_gated": [part("VM1010", "listening", 5.4e-6), part("STM32U575", "active after wakes", 184.6e-6)],
    }
    return {
        "analyse_first": system(
            ours_w, 10.2, [microphone, first, asleep, part("STM32U575", "active after wakes", ours_w - floor_w)]
        )
        | {
            "wakes_per_hour_interval": [7.4, 14.1],
            "battery_days_interval": [float(days(floor_w + wake_j * r / 3600)) for r in (14.1, 7.4)],
        },
        "digitise_first": {name: system(rivals_w[name], 5.0, parts) for name, parts in rivals.items()},
        "battery_life_extension_percent": {name: 100 * (watt / ours_w - 1) for name, watt in rivals_w.items()},
        "battery_life_extension_percent_interval": {
            name: [100 * (watt / (floor_w + wake_j * r / 3600) - 1) for r in (14.1, 7.4)]
            for name, watt in rivals_w.items()
        },
        "break_even_wakes_per_hour": {name: (watt - floor_w) * 3600 / wake_j for name, watt in rivals_w.items()},
        "battery": {
            "name": "CR2032",
            "capacity_mah": 225.0,
            "voltage_v": 3.0,
            "source": "typical",
            "evidence": "abstract",
        },
        "usable": 0.85,
        "curve": {
            "wakes_per_hour": rate.tolist(),
            "analyse_first": {"power_w": power_w.tolist(), "battery_days": days(power_w).tolist()},
            "digitise_first": {
                name: {"power_w": [watt] * rate.size, "battery_days": [days(watt)] * rate.size}
                for name, watt in rivals_w.items()
            },
        },
    }


def traces(seconds: float = 60.0) -> dict[str, np.ndarray]:
    """Arrays of a minute with three wake events and five foreign sounds."""
    generator = np.random.default_rng(5)
    time_s = np.arange(0, seconds, PERIOD_S)
    onset_s = np.array([4.0, 11.5, 18.0, 24.0, 31.0, 38.5, 46.0, 53.0])
    end_s = onset_s + np.array([1.5, 3.0, 1.2, 4.0, 1.8, 2.0, 3.0, 2.2])
    wake = np.array([True, False, False, False, True, False, True, False])
    labels = np.array(["glass_breaking", "dog", "door_knock", "rain"])[[0, 1, 2, 3, 0, 1, 0, 2]]
    envelope = np.full(time_s.size, 0.002)
    drive = np.zeros(time_s.size)
    for start, end, wanted in zip(onset_s, end_s, wake, strict=True):
        inside = (time_s >= start) & (time_s < end)
        envelope[inside] += 0.02 * np.exp(-(time_s[inside] - start) / 0.6)
        drive[inside] += (0.5 if wanted else 0.12) * np.exp(-(time_s[inside] - start) / 0.9)
    noisy = envelope * (1 + 0.3 * np.abs(generator.standard_normal(time_s.size)))
    tilt = np.linspace(0.4, 1.5, len(CENTRES_HZ))[:, None]
    fast_v = 3 * noisy * tilt
    integral_v = 0.05 + np.convolve(drive, np.exp(-np.arange(100) / 40) / 40)[: time_s.size]
    frequency_hz = np.geomspace(50, 16000, 120)
    gain_db = [-10 * np.log10(1 + (3 * (frequency_hz / hz - hz / frequency_hz)) ** 2) for hz in CENTRES_HZ]
    threshold_v = np.linspace(0.05, 0.6, 60)
    arrays = {
        "det_threshold_v": threshold_v,
        "det_false_wakes_per_hour": 60 * np.exp(-threshold_v * 9.6),
        "det_recall": 1 / (1 + np.exp((threshold_v - 0.45) * 16)),
        "response_frequency_hz": frequency_hz,
        "response_db": np.array(gain_db),
        "timeline_time_s": time_s,
        "timeline_pressure_low_pa": -noisy,
        "timeline_pressure_high_pa": 0.95 * noisy,
        "timeline_fast_v": fast_v,
        "timeline_slow_v": 0.5 * fast_v,
        "timeline_floor_v": np.full_like(fast_v, 0.004),
        "timeline_hidden_v": 0.2 * np.tanh(np.outer(np.linspace(-2, 2, 8), drive + 0.1 * noisy)),
        "timeline_score_v": drive - 0.1,
        "timeline_integral_v": integral_v,
        "timeline_event_onset_s": onset_s,
        "timeline_event_end_s": end_s,
        "timeline_event_wake": wake,
        "timeline_event_label": labels,
        "timeline_wakes_s": onset_s[wake] + 0.2,
    }
    for stage, steps in (("wake_stage", 900), ("digital_stage", 1400)):
        step = np.arange(0, steps, 10)
        loss = 0.08 + 0.6 * np.exp(-step / 200)
        arrays |= {
            f"training_{stage}_step": step,
            f"training_{stage}_loss": loss * np.exp(0.25 * generator.standard_normal(step.size)),
            f"training_{stage}_averaged_loss": 0.9 * loss,
            f"training_{stage}_sgd_loss": 1.5 * loss,
        }
    return arrays


def frontend() -> dict[str, Any]:
    return {
        "process": {"supply_v": 1.8, "temperature_c": 27.0},
        "bank": {"center_hz": list(CENTRES_HZ), "capacitance_f": 2e-12, "linearisation": 3},
        "network": {"hidden_weight": [[0.25] * 24] * 8, "output_weight": [0.5] * 8, "saturates": True},
    }


def write_run(
    folder: Path,
    *,
    figures: dict[str, Any] | None = None,
    arrays: dict[str, np.ndarray] | None = None,
) -> Path:
    """Write the folder; what is not given is the realistic run."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "summary.json").write_text(json.dumps(summary() if figures is None else figures), encoding="utf-8")
    (folder / "frontend.json").write_text(json.dumps(frontend()), encoding="utf-8")
    np.savez(folder / "traces.npz", **(traces() if arrays is None else arrays))
    return folder
