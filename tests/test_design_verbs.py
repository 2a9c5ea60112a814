"""The smaller verbs on a finished design: simulate a sound, account for its power."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from design_run import RATE_HZ, WAKE, TinyRun, tiny_material, tiny_run
from lightsleeper.design import Design, load_design, power_of, simulate_sound
from lightsleeper.design.first_stage import decision_of
from lightsleeper.errors import InputError

pytestmark = pytest.mark.slow

NETS = {"fast", "slow", "floor", "hidden", "score", "integral"}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    return tiny_run(tmp_path_factory)


@pytest.fixture(scope="module")
def design(tiny: TinyRun) -> Design:
    return load_design(tiny.folder)


@pytest.fixture(scope="module")
def breaking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wake clips of the test fold, one after another."""
    path = tmp_path_factory.mktemp("sound") / "breaking.wav"
    clips = [r.samples / r.active_rms() for r in tiny_material().test if r.label == WAKE]
    joined = np.concatenate([np.zeros(RATE_HZ, dtype=np.float32), *clips])
    soundfile.write(path, 0.5 * joined / np.abs(joined).max(), RATE_HZ)
    return path


def simulated(design: Design, sound: Path, **options: Any) -> dict[str, Any]:
    asked = {"level_db_spl": 60.0, "noise_seed": 0, "waveforms": None} | options
    return simulate_sound(design, sound, **asked)


def test_the_wake_sound_wakes(design: Design, breaking: Path):
    result = simulated(design, breaking)
    assert result["wakes_s"]
    assert all(1.0 <= time <= result["duration_s"] for time in result["wakes_s"]), "the first second is silent"
    assert result["nets"]["integral"]["high_v"] >= result["threshold_v"] == design.frontend.comparator.threshold_v
    assert result["duration_s"] == pytest.approx(soundfile.info(breaking).duration, abs=1e-3)


def test_below_the_noise_nothing_wakes(design: Design, breaking: Path):
    result = simulated(design, breaking, level_db_spl=-40.0)
    assert result["wakes_s"] == []
    assert result["nets"]["integral"]["high_v"] < result["threshold_v"]


def test_envelopes_follow_the_level(design: Design, breaking: Path):
    soft, loud = (simulated(design, breaking, level_db_spl=level, noise_seed=None) for level in (20.0, 30.0))
    gain = loud["nets"]["fast"]["high_v"] / soft["nets"]["fast"]["high_v"]
    assert gain == pytest.approx(10**0.5, rel=0.01)


def test_the_noise_has_a_seed(design: Design, breaking: Path):
    first, again, other, without = (simulated(design, breaking, noise_seed=seed) for seed in (3, 3, 4, None))
    assert first == again
    assert len({str(result["nets"]["score"]) for result in (first, other, without)}) == 3


def test_waveforms_hold_every_net_and_the_same_wakes(design: Design, breaking: Path, tmp_path: Path):
    path = tmp_path / "waves.npz"
    result = simulated(design, breaking, waveforms=path)
    with np.load(path, allow_pickle=False) as arrays:
        waves = dict(arrays)
    assert set(waves) >= NETS | {"time_s"}
    assert {name for name in waves if not name.endswith("time_s")} == set(result["nets"])
    for name, span in result["nets"].items():
        assert (float(waves[name].min()), float(waves[name].max())) == (span["low_v"], span["high_v"]), name
    rate_hz = 1.0 / float(waves["time_s"][0])
    assert decision_of(design.frontend).wakes(waves["integral"], rate_hz=rate_hz).tolist() == result["wakes_s"]


def test_a_sound_that_cannot_be_used_is_one_line(design: Design, breaking: Path, tmp_path: Path):
    with pytest.raises(InputError, match=r"missing\.wav: no such file"):
        simulated(design, tmp_path / "missing.wav")
    soundfile.write(tmp_path / "click.wav", np.array([0.5]), RATE_HZ)
    with pytest.raises(InputError, match=r"click\.wav: lasts only .* give a longer recording"):
        simulated(design, tmp_path / "click.wav")
    with pytest.raises(InputError, match=r"waves\.npz: cannot be written"):
        simulated(design, breaking, waveforms=tmp_path / "missing" / "waves.npz")


def test_power_is_the_measured_one(design: Design, tiny: TinyRun):
    assert power_of(design, tiny.summary, wakes_per_hour=None) == tiny.summary["energy"]


def test_power_at_the_measured_rate_is_the_measured_one(design: Design, tiny: TinyRun):
    measured = tiny.summary["energy"]["analyse_first"]
    energy = power_of(design, tiny.summary, wakes_per_hour=measured["wakes_per_hour"])
    assert energy["analyse_first"]["power_w"] == pytest.approx(measured["power_w"])
    assert energy["analyse_first"]["parts"] == measured["parts"]


def test_power_grows_with_the_rate_and_life_falls(design: Design, tiny: TinyRun):
    entries = [
        power_of(design, tiny.summary, wakes_per_hour=rate)["analyse_first"] for rate in (0.0, 1.0, 4.0, 40.0, 400.0)
    ]
    power, days = (np.array([entry[key] for entry in entries]) for key in ("power_w", "battery_days"))
    assert (np.diff(power) > 0).all()
    assert (np.diff(days) < 0).all()
    np.testing.assert_allclose(power * days, power[0] * days[0])
    assert power[2] - power[0] == pytest.approx(4 * (power[1] - power[0]))
    with pytest.raises(InputError, match="wakes_per_hour is -1"):
        power_of(design, tiny.summary, wakes_per_hour=-1.0)
