"""The main job on a tiny run: the summary's contract, its honesty, and that it repeats to the bit."""

import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from design_run import WAKE, TinyRun, repeated_run, shuffled, tiny_material, tiny_run, tiny_spec
from lightsleeper.design import Silent, load_design, load_spec
from lightsleeper.design.first_stage import _training_chips, design_first_stage, untrained
from lightsleeper.design.streams import make_streams, streams_of
from lightsleeper.detection import Stream, wilson_interval
from lightsleeper.learning import scene_scores
from lightsleeper.report.values import format_value, resolve

pytestmark = pytest.mark.slow

CONTRACT = {
    "task": "wake recordings synthetic clips sources train_clips test_clips test_hours test_events snr_db",
    "first_stage": (
        "recall recall_interval false_wakes_per_hour false_wakes_per_hour_interval latency_s "
        "false_wakes_per_100_foreign false_wakes_per_hour_floor late_hits bands power_w area_mm2"
    ),
    "system": ("miss_rate miss_rate_interval false_accepts_per_hour false_accepts_per_hour_interval duty_cycle"),
    "energy": "analyse_first digitise_first battery_life_extension_percent",
    "training": "wake_stage digital_stage",
    "seeds": "design",
    "versions": "lightsleeper python numpy torch",
}
"""DESIGN, "Contracts that stay stable"."""
STAGE_KEYS = {"optimizer", "parameters", "steps", "epochs", "train_clips", "seconds"}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    return tiny_run(tmp_path_factory)


@pytest.fixture(scope="module")
def summary(tiny: TinyRun) -> dict[str, Any]:
    return tiny.summary


def leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for name, item in items:
            yield from leaves(item, f"{key}.{name}")
    else:
        yield key, value


def test_the_folder_holds_every_file(tiny: TinyRun):
    assert {path.name for path in tiny.folder.iterdir()} == {
        *("spec.toml", "summary.json", "frontend.json", "traces.npz", "timings.json", "report.html", "demo.ipynb"),
        *("wake_stage.safetensors", "digital_stage.safetensors", "digital_stage.json", "frontend.cir"),
    }
    assert [path.name for path in tiny.folder.parent.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("block", CONTRACT)
def test_the_summary_keeps_its_contract(block: str, summary: dict[str, Any]):
    assert set(CONTRACT[block].split()) <= set(summary[block])


def test_the_summary_is_strict_json_of_finite_figures(tiny: TinyRun):
    def refuse(constant: str) -> None:
        pytest.fail(f"summary.json holds {constant}")

    data = json.loads((tiny.folder / "summary.json").read_text(encoding="utf-8"), parse_constant=refuse)
    wrong = [key for key, value in leaves(data) if isinstance(value, float) and not math.isfinite(value)]
    negative = [
        key
        for key, value in leaves(data)
        if isinstance(value, float) and value < 0 and not re.search("_percent|voltage|_v$", key)
    ]
    assert wrong == negative == []


def test_the_task_states_what_was_learnt_and_tested(summary: dict[str, Any]):
    task, material = summary["task"], tiny_material()
    assert task["wake"] == WAKE
    assert task["synthetic"] is True
    assert "synthetic" in task["recordings"]
    assert "Synthetic recordings" in summary["limits"][0]
    assert task["clips"] == len(material.everything.recordings) == task["train_clips"] + task["test_clips"]
    train, test = ({r.source for r in part} for part in (material.train, material.test))
    assert not train & test
    assert (task["train_sources"], task["test_sources"]) == (len(train), len(test))
    assert task["sources"] == len(train | test)
    assert task["test_clips"] == len(material.test)
    assert task["test_wake_clips"] == sum(r.label == WAKE for r in material.test) >= 3
    assert (task["test_hours"], task["test_events"], task["test_foreign"], task["snr_db"]) == (0.4, 36, 72, 10.0)
    assert task["target"] == {"false_wakes_per_hour": 6.0}


def test_every_interval_contains_its_figure(summary: dict[str, Any]):
    blocks = [summary[name] for name in ("first_stage", "system")]
    blocks += [summary["first_stage"]["validation"], summary["energy"]["analyse_first"]]
    blocks += _extensions(summary["energy"])
    pairs = [(key, block) for block in blocks for key in block if f"{key}_interval" in block]
    assert len(pairs) >= 14
    for key, block in pairs:
        low, high = block[f"{key}_interval"]
        assert low <= block[key] <= high, key
        assert low < high, key


def test_recall_is_graded_by_level(summary: dict[str, Any]):
    assert set(summary["first_stage"]["recall_by_snr_db"]) == {"10"}
    row = summary["first_stage"]["recall_by_snr_db"]["10"]
    hits = round(row["recall"] * row["events"])
    assert row["events"] == 48
    assert row["recall"] == hits / row["events"]
    assert row["interval"] == list(wilson_interval(hits, row["events"]))


def test_recall_is_told_for_every_clip_of_the_test(summary: dict[str, Any]):
    first = summary["first_stage"]
    rows = first["recall_by_clip"]
    assert {row["file"] for row in rows} == {r.file for r in tiny_material().test if r.label == WAKE}
    assert sum(row["events"] for row in rows) == first["events"]
    assert sum(row["recall"] * row["events"] for row in rows) == pytest.approx(first["hits"])
    assert [row["recall"] for row in rows] == sorted(row["recall"] for row in rows), "the hardest first"


def _extensions(energy: dict[str, Any]) -> list[dict[str, Any]]:
    values, intervals = (energy[f"battery_life_extension_percent{end}"] for end in ("", "_interval"))
    assert set(values) == set(intervals)
    return [{"extension": values[name], "extension_interval": intervals[name]} for name in values]


@pytest.mark.parametrize("part", ["test", "validation"])
def test_figures_of_the_first_stage_agree(part: str, summary: dict[str, Any]):
    first = summary["first_stage"] if part == "test" else summary["first_stage"]["validation"]
    assert first["recall"] == first["hits"] / first["events"]
    assert first["recall_interval"] == list(wilson_interval(first["hits"], first["events"]))
    assert first["hits"] + first["late_hits"] <= first["events"]
    by_label = first["false_wakes_by_label"]
    assert WAKE not in by_label
    assert sum(row["sounds"] for row in by_label.values()) == first["foreign_sounds"]
    foreign_wakes = sum(row["wakes"] for row in by_label.values())
    assert foreign_wakes + first["floor_wakes"] == first["false_wakes"]
    assert first["false_wakes_per_100_foreign"] == pytest.approx(100 * foreign_wakes / first["foreign_sounds"])
    assert first["false_wakes_per_hour_floor"] == pytest.approx(first["floor_wakes"] / first["floor_hours"])
    rate = 0.6 * first["false_wakes_per_100_foreign"] + first["false_wakes_per_hour_floor"]
    assert first["false_wakes_per_hour"] == pytest.approx(rate), "60 foreign sounds an hour"
    assert 0 < first["latency_s"]["median"] <= first["latency_s"]["p95"] < 10


def test_validation_keeps_the_budget(summary: dict[str, Any]):
    assert summary["first_stage"]["validation"]["false_wakes_per_hour"] <= 6.0


def test_power_and_area_are_sums_of_blocks(tiny: TinyRun, summary: dict[str, Any]):
    first, frontend = summary["first_stage"], load_design(tiny.folder).frontend
    assert first["power_w"] == pytest.approx(sum(first["power_by_block_w"].values()))
    assert first["area_mm2"] == pytest.approx(sum(first["area_by_block_mm2"].values()))
    assert first["power_by_block_w"] == pytest.approx(frontend.power_w())
    assert 1e-7 < first["power_w"] < 1e-3
    assert [band["center_hz"] for band in first["bands"]] == list(frontend.bank.center_hz)
    assert first["threshold_v"] == frontend.comparator.threshold_v


def test_the_system_agrees_with_its_stages(summary: dict[str, Any]):
    first, system, device = summary["first_stage"], summary["system"], tiny_spec().device
    assert 0 <= system["miss_rate"] <= 1
    assert system["miss_rate"] >= 1 - first["recall"] - 1e-12, "the second stage adds no hit"
    assert system["false_accepts_per_hour"] <= first["false_wakes_per_hour"]
    wakes = first["false_wakes_per_hour"] + device.events_per_hour * first["recall"]
    assert summary["energy"]["analyse_first"]["wakes_per_hour"] == pytest.approx(wakes)
    assert system["duty_cycle"] == pytest.approx(wakes * device.on_time_s / 3600)
    assert 0 <= system["probability_threshold"] <= 1


def test_energy_adds_up_from_parts_with_sources(summary: dict[str, Any]):
    energy = summary["energy"]
    ours, rivals = energy["analyse_first"], energy["digitise_first"]
    assert len(rivals) >= 2
    for name, system in {"analyse_first": ours, **rivals}.items():
        assert system["power_w"] == pytest.approx(sum(part["power_w"] for part in system["parts"])), name
        assert all(len(part["source"].strip()) > 10 for part in system["parts"]), name
        capacity_j = energy["battery"]["capacity_mah"] * 3.6 * energy["battery"]["voltage_v"] * energy["usable"]
        assert system["battery_days"] == pytest.approx(capacity_j / system["power_w"] / 86_400), name
    assert energy["battery"]["source"]
    assert any(part["power_w"] == pytest.approx(summary["first_stage"]["power_w"]) for part in ours["parts"]), (
        "the analog stage itself"
    )
    for name, rival in rivals.items():
        extension = 100 * (ours["battery_days"] / rival["battery_days"] - 1)
        assert energy["battery_life_extension_percent"][name] == pytest.approx(extension)


OPTIMIZERS = {"wake_stage": "Settle; PSWA(AdamW) through the circuit", "digital_stage": "PSWA(AdamW)"}


def test_training_is_stated_for_each_stage(summary: dict[str, Any]):
    for stage, entry in summary["training"].items():
        assert set(entry) >= STAGE_KEYS, stage
        assert entry["optimizer"] == OPTIMIZERS[stage]
        assert entry["train_clips"] == summary["task"]["train_clips"]
        assert all(entry[key] > 0 for key in ("parameters", "steps", "epochs", "seconds")), stage
    assert summary["training"]["digital_stage"]["parameters"] <= 25_000


def test_the_spec_is_kept_and_the_command_repeats_it(tiny: TinyRun, summary: dict[str, Any]):
    assert load_spec(tiny.folder / "spec.toml") == tiny_spec()
    assert summary["command"] == "lightsleeper design RUN/spec.toml --out REPEATED"
    assert summary["seeds"] == {"design": 0}


def test_timings_stand_apart_from_the_figures(tiny: TinyRun):
    steps = json.loads((tiny.folder / "timings.json").read_text(encoding="utf-8"))
    assert steps[0]["step"] == "reading recordings"
    assert sum(step["seconds"] for step in steps) > 1.0
    assert all(step["seconds"] >= 0 for step in steps)


def test_the_traces_show_a_minute_with_a_wake_event(tiny: TinyRun):
    with np.load(tiny.folder / "traces.npz", allow_pickle=False) as arrays:
        assert arrays["timeline_event_wake"].any()
        assert np.ptp(arrays["timeline_time_s"]) == pytest.approx(60.0, abs=0.02)
        assert arrays["timeline_fast_v"].shape == (8, arrays["timeline_time_s"].size)
        assert set(arrays["timeline_event_label"][arrays["timeline_event_wake"]]) == {WAKE}


def test_every_figure_of_the_report_is_in_the_summary(tiny: TinyRun, summary: dict[str, Any]):
    html = (tiny.folder / "report.html").read_text(encoding="utf-8")
    shown = re.findall(r'data-key="([^"]+)" data-style="([^"]+)">([^<]*)<', html)
    assert len(shown) > 150
    assert [key for key, _, _ in shown if resolve(summary, key.replace("&#39;", "'")) is None] == []
    for key, style, text in shown[:40]:
        assert text.replace("&#39;", "'").replace("&amp;", "&") == format_value(resolve(summary, key), style), key
    assert "Not drawn" not in html


def test_the_notebook_is_a_notebook(tiny: TinyRun):
    notebook = json.loads((tiny.folder / "demo.ipynb").read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert code
    for cell in code:
        compile("".join(cell["source"]), "cell", "exec")


@pytest.mark.parametrize(
    "name", ["summary.json", "frontend.json", "frontend.cir", "traces.npz", "report.html", "demo.ipynb"]
)
def test_the_same_seed_gives_the_same_bytes(name: str, tiny: TinyRun, tmp_path_factory: pytest.TempPathFactory):
    again = repeated_run(tmp_path_factory)
    assert again.folder != tiny.folder
    assert (again.folder / name).read_bytes() == (tiny.folder / name).read_bytes()


def test_sums_do_not_depend_on_the_threads_of_blas():
    program = """
import hashlib, numpy as np
from lightsleeper.design.main_job import _prepare_process
from lightsleeper.learning.features import LogMel
_prepare_process()
noise = np.random.default_rng(0).standard_normal((100, 32_000)).astype(np.float32)
print(hashlib.sha256(LogMel()(noise).tobytes()).hexdigest())
"""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

    def printed(count: str) -> bytes:
        environment = os.environ | dict.fromkeys(names, count)
        return subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True).stdout

    assert printed("1") == printed("4")


def test_a_run_appears_where_another_was_killed(tmp_path_factory: pytest.TempPathFactory):
    folder = repeated_run(tmp_path_factory).folder
    shown = [path.name for path in folder.parent.iterdir() if path.is_dir() and not path.name.startswith(".")]
    assert shown == [folder.name]


def peaks(streams: list[Stream]) -> tuple[np.ndarray, np.ndarray]:
    """Highest score of every wake event and of every foreign sound."""
    found: dict[bool, list[float]] = {True: [], False: []}
    for stream in streams:
        for onset_s, end_s, wake in zip(stream.onsets_s, stream.ends_s, stream.wake, strict=True):
            part = stream.scores[round(onset_s * stream.rate_hz) : round((end_s + 1.0) * stream.rate_hz)]
            found[bool(wake)].append(float(part.max()))
    return np.array(found[True]), np.array(found[False])


def separation(streams: list[Stream]) -> float:
    """Area under the curve of wake events against foreign sounds: 0.5 is chance."""
    wake, foreign = peaks(streams)
    difference = wake[:, None] - foreign[None, :]
    return float((difference > 0).mean() + 0.5 * (difference == 0).mean())


def heard_on_test(frontend: Any, recordings: Any) -> list[Stream]:
    scenes = make_streams(recordings, tiny_spec(), dense_hours=0.3, floor_hours=0.1, seed=5).dense
    return streams_of(scenes, scene_scores(frontend, scenes, noise_seed=5))


def test_true_labels_are_learnt(tiny: TinyRun, summary: dict[str, Any]):
    assert separation(heard_on_test(load_design(tiny.folder).frontend, tiny_material().test)) > 0.75
    first = summary["first_stage"]
    assert first["recall_interval"][0] > first["false_wakes_per_100_foreign"] / 100


def test_training_streams_are_heard_by_chips_in_turn():
    def seeds(count: int, seed: int) -> list[int]:
        training = tiny_spec().training.model_copy(update={"chips": count})
        spec = tiny_spec().model_copy(update={"training": training, "seed": seed})
        chips = _training_chips(untrained(spec), spec, 7)
        return [] if chips is None else [chip.seed for chip in chips]

    first = seeds(3, 0)
    assert len(set(first)) == 3
    assert first[:3] * 2 == first[:6]
    assert not set(first) & set(seeds(3, 1))
    assert seeds(0, 0) == []


def test_the_network_learns_from_what_the_chips_hear(monkeypatch: pytest.MonkeyPatch):
    class HeardError(Exception):
        pass

    def listen(*_: Any, chips: list[Any], **__: Any) -> None:
        raise HeardError([chip.seed for chip in chips])

    training = tiny_spec().training.model_copy(update={"circuit_steps": 0, "chips": 4})
    spec = tiny_spec().model_copy(update={"training": training})
    monkeypatch.setattr("lightsleeper.design.first_stage.scene_envelopes", listen)
    with pytest.raises(HeardError) as heard:
        design_first_stage(tiny_material(), spec, Silent())
    (seeds,) = heard.value.args
    assert len(seeds) == training.scenes
    assert len(set(seeds)) == 4


def test_shuffled_labels_fall_to_chance():
    spec = tiny_spec().model_copy(
        update={"training": tiny_spec().training.model_copy(update={"circuit_steps": 0, "chips": 4})}
    )
    material = shuffled(tiny_material(), seed=0)
    stage = design_first_stage(material, spec, Silent())
    unheard = [heard.dense for heard in stage.heard.values()]
    unheard.append(heard_on_test(stage.frontend, material.test))
    # Six clips a fold leave one fold's figure a spread of 0.1; the mean over all unheard folds has half of that.
    assert np.mean([separation(streams) for streams in unheard]) == pytest.approx(0.5, abs=0.12)
    figures = stage.validation
    assert figures.recall_interval[0] <= figures.false_wakes_per_100_foreign / 100
    assert figures.recall < 0.3
