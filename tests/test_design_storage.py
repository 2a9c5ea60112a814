"""A design in plain files: what is saved is what is loaded, and damage is named."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from lightsleeper.design import Design, Spec, load_design, load_summary
from lightsleeper.design.storage import NETWORK_ARRAYS, save_design, write_json
from lightsleeper.errors import InputError
from lightsleeper.learning import LogMel, SecondStage, initial_frontend, score_windows


def example() -> Design:
    model = SecondStage(LogMel(rate_hz=16_000.0), samples=16_000, channels=(4, 6), seed=9)
    return Design(
        spec=Spec(wake="dog", seed=5), frontend=initial_frontend(bands=4, neurons=3), model=model, threshold=0.3125
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_design(example(), tmp_path)
    write_json(tmp_path / "summary.json", {"energy": {}})
    return tmp_path


def test_a_design_comes_back_as_it_was(folder: Path):
    design, loaded = example(), load_design(folder)
    assert loaded.spec == design.spec
    assert loaded.threshold == design.threshold
    assert loaded.frontend.to_dict() == design.frontend.to_dict()
    assert (loaded.model.samples, loaded.model.channels) == (16_000, (4, 6))
    window = np.random.default_rng(0).standard_normal((3, 16_000)).astype(np.float32)
    heard = score_windows(design.model, window)
    np.testing.assert_array_equal(score_windows(loaded.model, window), heard)
    assert np.unique(heard).size == 3


def test_the_weights_stand_apart_as_tensors(folder: Path):
    network = example().frontend.network
    arrays = load_file(folder / "wake_stage.safetensors")
    assert set(arrays) == {*NETWORK_ARRAYS, "output_bias_v"}
    for name in NETWORK_ARRAYS:
        np.testing.assert_array_equal(arrays[name], getattr(network, name))
    assert arrays["output_bias_v"].tolist() == [network.output_bias_v]


def test_others_may_read_every_file(folder: Path):
    assert {
        path.name: path.stat().st_mode & 0o044 for path in folder.iterdir() if path.stat().st_mode & 0o044 != 0o044
    } == {}


def test_a_figure_that_is_not_a_number_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "figures.json", {"recall": float("nan")})
    assert not (tmp_path / "figures.json").exists()


def test_a_folder_that_is_no_run_is_named(tmp_path: Path):
    for load in (load_design, load_summary):
        with pytest.raises(InputError, match=r"is no finished run \(no summary.json\)"):
            load(tmp_path)
        with pytest.raises(InputError, match="is no finished run"):
            load(tmp_path / "missing")


def _meta(folder: Path, **values: object) -> None:
    path = folder / "digital_stage.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | values), encoding="utf-8")


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "summary cut": (lambda f: (f / "summary.json").write_text('{"energy"'), r"summary.json: cannot be read"),
    "summary a list": (lambda f: (f / "summary.json").write_text("[]"), r"summary.json: holds no figures"),
    "summary empty": (lambda f: (f / "summary.json").write_text("{}"), r"summary.json: holds no figures"),
    "spec missing": (lambda f: (f / "spec.toml").unlink(), r"spec.toml: cannot be read as a TOML spec"),
    "front end missing": (lambda f: (f / "frontend.json").unlink(), r"frontend.json: cannot be read"),
    "front end empty": (lambda f: (f / "frontend.json").write_text("{}"), r"front end: expected the blocks"),
    "weights missing": (lambda f: (f / "digital_stage.safetensors").unlink(), r"weights cannot be read"),
    "weights cut": (lambda f: _cut(f / "digital_stage.safetensors"), r"weights cannot be read"),
    "weights of another shape": (lambda f: _meta(f, channels=[4, 8]), r"weights cannot be read"),
    "window no number": (lambda f: _meta(f, samples="many"), r"weights cannot be read"),
    "digital stage a list": (lambda f: (f / "digital_stage.json").write_text("[]"), r"weights cannot be read"),
    "digital stage empty": (lambda f: (f / "digital_stage.json").write_text("{}"), r"weights cannot be read"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damage_is_one_line(case: str, folder: Path):
    damage, words = DAMAGE[case]
    damage(folder)
    with pytest.raises(InputError, match=words) as raised:
        load_design(folder)
    assert str(folder) in str(raised.value) or "front end" in str(raised.value)
