"""The spec: defaults that round trip, and one clear line for whatever cannot be asked."""

import tomllib
from pathlib import Path

import pytest

from lightsleeper.cli import run
from lightsleeper.design import Spec, load_spec
from lightsleeper.design.spec import TargetSpec
from lightsleeper.errors import InputError


def written(folder: Path, text: str) -> Path:
    path = folder / "asked.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_defaults_round_trip_through_toml(tmp_path: Path):
    text = Spec().to_toml()
    assert load_spec(written(tmp_path, text)) == Spec() == load_spec(None)
    defaults = tomllib.loads(text)
    assert set(defaults) == set(Spec.model_fields)
    for part in ("scene", "first_stage", "second_stage", "training", "device"):
        assert set(defaults[part]) == set(type(getattr(Spec(), part)).model_fields), part


def test_values_round_trip_through_toml(tmp_path: Path):
    asked = load_spec(
        written(
            tmp_path,
            'wake = "dog"\nseed = 7\n[target]\nrecall = 0.9\n[scene]\nforeign_snr_db = [-3, 12.5]\n'
            "[evaluation]\ntest_fold = 2\nsnr_db = []\n",
        )
    )
    assert (asked.wake, asked.seed, asked.target.recall, asked.evaluation.test_fold) == ("dog", 7, 0.9, 2)
    assert asked.scene.foreign_snr_db == (-3.0, 12.5)
    assert load_spec(written(tmp_path, asked.to_toml())) == asked


def test_overrides_win_over_the_file(tmp_path: Path):
    path = written(tmp_path, 'wake = "dog"\nseed = 7\n')
    assert load_spec(path, wake="cat") == Spec(wake="cat", seed=7)
    with pytest.raises(InputError, match="seed: "):
        load_spec(path, seed=-1)


def test_the_budget_is_six_where_nothing_is_said():
    assert TargetSpec().false_wakes_per_hour == 6.0
    assert TargetSpec(false_wakes_per_hour=2.5).false_wakes_per_hour == 2.5
    assert TargetSpec(recall=0.9).false_wakes_per_hour is None
    assert "false_wakes_per_hour = 6.0" in Spec().to_toml()


@pytest.mark.parametrize(
    ("section", "values", "words"),
    [
        ("first_stage", {"low_hz": 5000.0, "high_hz": 400.0}, "low_hz 5000 must lie below high_hz 400"),
        ("scene", {"foreign_snr_db": [20.0, 0.0]}, "lowest, then the highest"),
    ],
)
def test_reversed_ranges_are_refused(section: str, values: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        load_spec(None, **{section: values})


def test_scene_settings_take_the_spec_at_another_density():
    scene = Spec.model_validate({"scene": {"floor_db_spl": 50, "fade_s": 0.2}}).scene
    settings = scene.settings(duration_s=60.0, wake_per_hour=120.0, foreign_per_hour=240.0)
    assert (settings.duration_s, settings.wake_per_hour, settings.foreign_per_hour) == (60.0, 120.0, 240.0)
    assert (settings.floor_db_spl, settings.fade_s, settings.rate_hz) == (50.0, 0.2, 16_000.0)


BAD = {
    "unknown key": ("sed = 1", "sed: "),
    "unknown key in a part": ("[scene]\nfloor_db = 3", "scene.floor_db: "),
    "unknown part": ("[scenes]\n", "scenes: "),
    "wrong type": ('seed = "many"', "seed: "),
    "wrong type of a part": ("scene = 3", "scene: "),
    "below range": ("[training]\nscenes = 1", "training.scenes: "),
    "above range": ("[target]\nrecall = 1.5", "target.recall: "),
    "rate too low": ("[scene]\nrate_hz = 3", "scene.rate_hz: "),
    "infinite": ("[evaluation]\ndense_hours = inf", "evaluation.dense_hours: "),
    "not a number": ("[evaluation]\nsnr_db = [10.0, nan]", "evaluation.snr_db.1: "),
    "both targets": ("[target]\nrecall = 0.9\nfalse_wakes_per_hour = 6", "either false_wakes_per_hour or recall"),
    "broken": ("wake = [", "cannot be read as a TOML spec"),
    "not text": ("\udcff", "cannot be read as a TOML spec"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_spec_is_one_line_and_exit_code_2(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("lightsleeper.design.design_into", lambda *_: pytest.fail("work began"))
    text, words = BAD[case]
    path = tmp_path / "asked.toml"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    assert run(["design", str(path), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert said.err.startswith(f"lightsleeper: {path}: ")
    assert words in said.err
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["missing.toml", "."])
def test_a_spec_that_is_no_file_is_one_line(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert run(["design", str(tmp_path / name), "--out", str(tmp_path / "out")]) == 2
    assert "cannot be read as a TOML spec" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("part", ["battery", "sensor", "microcontroller"])
def test_a_part_of_no_catalogue_is_refused_before_the_work(
    part: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("lightsleeper.design.main_job.gather", lambda *_: pytest.fail("work began"))
    path = written(tmp_path, f'[device]\n{part} = "none such"\n')
    assert run(["design", str(path), "--out", str(tmp_path / "out")]) == 2
    assert "'none such': the catalogue has" in capsys.readouterr().err
