"""The circuits benchmark: its rows, and that the rival written in torch does the same job."""

import json
import shutil

import numpy as np
import pytest

from lightsleeper.benchmarks import circuits
from lightsleeper.circuits import FrontEndStream
from lightsleeper.cli import run
from lightsleeper.learning import initial_frontend


@pytest.mark.slow
def test_quick_bench_times_every_rival_and_memory_stays_flat(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "circuits", "--quick", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    rivals = {row["what"].split(",")[0].split(" ")[0]: row for row in rows if row["kind"] == "rival"}
    assert set(rivals) == {"lightsleeper", "scipy", "torch"} | ({"ngspice"} if shutil.which("ngspice") else set())
    assert rivals["scipy"]["speed_over_sosfilt"] == 1.0
    assert rivals["torch"]["real_time_factor"] < rivals["lightsleeper"]["real_time_factor"] / 10
    (linear,) = (row for row in rows if row["kind"] == "rival" and row["what"].startswith("lightsleeper linear"))
    assert linear["speed_over_sosfilt"] > 0.5
    differences = [row["difference_percent"] for row in rows if row["kind"] == "linear"]
    assert differences[0] < 1.0
    assert differences[-1] > 10.0
    (chips,) = (row for row in rows if row["kind"] == "chips")
    assert (chips["chips"], chips["sound_s"]) == (200, 1.0)
    assert 0.0 < chips["ns_per_column_and_step"] < 100.0
    gradients = {(row["sounds"], row["bands"]): row for row in rows if row["kind"] == "gradient"}
    assert set(gradients) == {(8, 16), (16, 8)}
    for gradient in gradients.values():
        assert gradient["kept_bytes_per_column_and_step"] <= 4.0
        assert 0.0 < gradient["backward_over_forward"] < gradient["backward_over_bank"] < 5.0
    scaling = [row for row in rows if row["kind"] == "scaling"]
    assert {row["columns"] for row in scaling} == {8, 16, 32, 128}
    memory = {row["length_s"]: row["peak_bytes"] for row in rows if row["kind"] == "memory"}
    assert memory[10] < 1.1 * memory[1]


def test_the_torch_loop_hears_what_the_simulator_hears() -> None:
    stage = initial_frontend(bands=16)
    tone = np.sin(2 * np.pi * 1500.0 * np.arange(1600) / 16_000)
    sound_v = (1e-4 * tone).astype(np.float32)
    heard, _ = FrontEndStream(stage, rows=1, rate_hz=16_000).envelopes(sound_v[None])
    loop = circuits._torch_loop(stage, sound_v)
    loud = heard[-1] > 0.2 * heard[-1].max()
    assert loud.sum() > 5
    np.testing.assert_allclose(loop.numpy()[loud], heard[-1][loud], rtol=0.15)
