"""Firmware of a design: features and decisions of the C are those of Python, here and on an emulated core."""

import ctypes
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray

from device_build import sanitizing
from lightsleeper.cli import run
from lightsleeper.design import Design, Spec, export_c
from lightsleeper.design.firmware import FULL_SCALE_PA, network_of
from lightsleeper.design.storage import save_design, write_json
from lightsleeper.device import Rule, emit_log_mel
from lightsleeper.device.tools import require
from lightsleeper.errors import InputError
from lightsleeper.learning import LogMel, SecondStage, initial_frontend, score_windows

RATE_HZ = 16_000
SAMPLES = 16_000
FLAGS = ["-std=c99", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Werror"]
RULE = Rule(averaging="settle")
Capture = pytest.CaptureFixture[str]


def example() -> Design:
    model = SecondStage(LogMel(), samples=SAMPLES, channels=(4, 6), seed=9)
    with torch.no_grad():
        model.head.weight.mul_(6.0)
    return Design(
        spec=Spec(wake="dog", seed=5), frontend=initial_frontend(bands=2, neurons=2), model=model, threshold=0.5
    )


def sound(seconds: float, seed: int = 0) -> NDArray[np.float32]:
    """Noise and chirps whose level and colour change all the time, between -1 and 1."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    chirp = np.sin(2 * np.pi * (300 * time + 900 * time**2)) * (np.sin(2 * np.pi * 0.7 * time) > 0.3)
    noise = rng.standard_normal(time.size) * 10.0 ** (np.sin(2 * np.pi * 0.4 * time) - 2.0)
    return (0.2 * chirp + 0.3 * noise).clip(-1, 1).astype(np.float32)


@pytest.fixture(scope="module")
def firmware(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "firmware"
    export_c(example(), folder, rule=RULE, trainable="all")
    return folder


@pytest.fixture(scope="module")
def wave(firmware: Path) -> NDArray[np.float32]:
    """Written beside the firmware; returned as the 16-bit file holds it."""
    soundfile.write(firmware / "sound.wav", sound(4.0), RATE_HZ, subtype="PCM_16")
    return soundfile.read(firmware / "sound.wav", dtype="float32")[0]


def decisions(text: str) -> list[tuple[float, float, bool]]:
    found = re.findall(r"^([\d.]+) s probability ([\d.]+)( wake)?\r?$", text, re.MULTILINE)
    return [(float(time), float(probability), bool(mark)) for time, probability, mark in found]


def check(text: str, wave: NDArray[np.float32]) -> None:
    """Every window's probability is that of Python."""
    heard = decisions(text)
    assert len(heard) == 7
    design = example()
    features = design.model.features
    span = features.frame_samples + (features.frames(SAMPLES) - 1) * features.hop_samples
    for time_s, probability, woke in heard:
        end = round(time_s * RATE_HZ)
        window = np.zeros((1, SAMPLES), np.float32)
        window[0, :span] = wave[end - span : end] * FULL_SCALE_PA
        assert probability == pytest.approx(score_windows(design.model, window)[0], abs=2e-4)
        assert woke == (probability >= design.threshold)
    assert np.ptp([p for _, p, _ in heard]) > 0.02


def test_wave_is_decided_on_as_in_python(firmware: Path, wave: NDArray[np.float32]) -> None:
    sources = sorted(path.name for path in firmware.glob("*.c"))
    assert sources == ["decide.c", "log_mel.c", "main.c", "second_stage.c"]
    for compiler in ("clang", "gcc"):
        checks = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
        subprocess.run(
            [sanitizing(compiler), *FLAGS, *checks, *sources, "-o", "listen", "-lm"], cwd=firmware, check=True
        )
    done = subprocess.run(["./listen", "sound.wav"], cwd=firmware, capture_output=True, text=True, check=True)
    check(done.stdout, wave)


def test_emulated_core_decides_the_same(firmware: Path, wave: NDArray[np.float32]) -> None:
    """By the commands that the program's own comment gives."""
    lines = (firmware / "main.c").read_text().splitlines()
    words = " ".join(line.strip(" *\\") for line in lines[5:14])
    compile_by = re.search(r"arm-none-eabi-gcc .*? -lm", words)
    run_by = re.search(r"qemu-system-arm .*? listen.elf", words)
    assert compile_by
    assert run_by
    for command in (compile_by[0], run_by[0]):
        require(command.split()[0])
    subprocess.run(compile_by[0], shell=True, cwd=firmware, check=True)
    done = subprocess.run(run_by[0], shell=True, cwd=firmware, capture_output=True, text=True, check=True, timeout=120)
    check(done.stdout + done.stderr, wave)


def test_the_stage_learns_what_it_is_told(firmware: Path) -> None:
    command = [
        "gcc",
        *FLAGS,
        "-shared",
        "-fPIC",
        "decide.c",
        "log_mel.c",
        "second_stage.c",
        "-o",
        "libdecide.so",
        "-lm",
    ]
    subprocess.run(command, cwd=firmware, check=True)
    library = ctypes.CDLL(str(firmware / "libdecide.so"))
    library.decide_logit.restype = ctypes.c_float
    state = ctypes.create_string_buffer(1 << 20)
    library.second_stage_init(state)
    features = LogMel()
    tilt = np.linspace(-2, 2, 40, dtype=np.float32)
    log_mels = [np.ascontiguousarray(features(sound(1.0, k)[:SAMPLES]) + (k % 2) * tilt) for k in range(6)]
    pointers = [each.ctypes.data_as(ctypes.c_void_p) for each in log_mels]
    for step in range(400):
        assert library.decide_learn(state, pointers[step % 6], step % 2) == 1
    logits = [library.decide_logit(state, pointer) for pointer in pointers]
    assert min(logits[1::2]) > max(logits[0::2])


def test_parameters_of_the_first_stage_are_those_of_the_design(firmware: Path) -> None:
    text = (firmware / "first_stage.h").read_text()
    rows = dict(re.findall(r'\{"([^"]+)", ([^f]+)f?\}', text))
    frontend = example().frontend.to_dict()
    assert float(rows["microphone.sensitivity_v_per_pa"]) == pytest.approx(
        frontend["microphone"]["sensitivity_v_per_pa"]
    )
    assert float(rows["bank.center_hz[1]"]) == pytest.approx(frontend["bank"]["center_hz"][1])
    assert f"FIRST_STAGE_COUNT {len(rows)}\n" in text
    subprocess.run(["gcc", *FLAGS, "-fsyntax-only", "-Wno-unused-variable", "first_stage.h"], cwd=firmware, check=True)


def test_network_is_the_stage(firmware: Path) -> None:
    model = example().model
    network = network_of(model)
    assert network.parameter_count == model.parameter_count
    assert sum(layer.macs for layer in network.layers if layer.parameters) == model.macs


def test_an_older_export_is_replaced_and_nothing_else(firmware: Path, tmp_path: Path) -> None:
    out = tmp_path / "firmware"
    export_c(example(), out, rule=RULE)
    (out / "old.txt").write_text("old")
    export_c(example(), out, rule=RULE)
    assert not (out / "old.txt").exists()
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years")
    with pytest.raises(InputError, match="holds something that is no firmware"):
        export_c(example(), mine, rule=RULE)
    with pytest.raises(InputError, match="does not fit 1000 bytes of RAM"):
        export_c(example(), tmp_path / "small", rule=RULE, ram_bytes=1000)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["firmware", "mine"]


def test_command(tmp_path: Path, capsys: Capture) -> None:
    save_design(example(), tmp_path)
    write_json(tmp_path / "summary.json", {"energy": {}})
    assert run(["export", str(tmp_path), "--explain"]) == 0
    out = capsys.readouterr().out
    assert "weights learn; state" in out
    assert "anchor: last good average" in out
    assert (tmp_path / "firmware" / "main.c").exists()
    assert run(["export", str(tmp_path), "--to", "onnx"]) == 2
    assert run(["export", str(tmp_path), "--train", "half"]) == 2
    assert run(["export", str(tmp_path), "--averaging", "ema"]) == 2
    assert "give none, pswa" in capsys.readouterr().err


@pytest.mark.parametrize("rate_hz", [8000.0, 16_000.0])
def test_log_mel_of_a_frame(rate_hz: float, tmp_path: Path) -> None:
    features = LogMel(rate_hz=rate_hz, high_hz=0.45 * rate_hz, bands=20)
    source = emit_log_mel(
        name="mel",
        rate_hz=rate_hz,
        hop=features.hop_samples,
        filters=features.filters(),
        floor_pa2=features.floor_pa2,
    )
    source.write(tmp_path)
    subprocess.run(["gcc", *FLAGS, "-shared", "-fPIC", "mel.c", "-o", "mel.so"], cwd=tmp_path, check=True)
    library = ctypes.CDLL(str(tmp_path / "mel.so"))
    rng = np.random.default_rng(0)
    out = np.empty(20, np.float32)
    for level_pa in (0.0, 1e-5, 1e-2, 10.0):
        frame = (level_pa * rng.standard_normal(features.frame_samples)).astype(np.float32)
        library.mel_frame(frame.ctypes.data_as(ctypes.c_void_p), out.ctypes.data_as(ctypes.c_void_p))
        np.testing.assert_allclose(out, features(frame)[0], atol=1e-5)


def test_frames_that_the_device_cannot_transform_are_refused() -> None:
    filters = LogMel().filters()
    options = {"name": "mel", "rate_hz": 16_000.0, "hop": 256, "floor_pa2": 1e-9}
    with pytest.raises(InputError, match="frames of 500 samples are no power of two"):
        emit_log_mel(filters=filters[:251], **options)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="a band is empty"):
        emit_log_mel(filters=np.zeros_like(filters), **options)  # type: ignore[arg-type]
