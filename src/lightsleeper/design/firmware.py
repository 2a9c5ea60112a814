"""A finished design as C: features, digital stage with its trainer, decision, and a program that reads a wave."""

import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from importlib.metadata import version as release_of
from pathlib import Path
from typing import Any

import torch
from jinja2 import Environment, PackageLoader, StrictUndefined
from torch import nn

from lightsleeper.design.measure import Design
from lightsleeper.device import Network, Plan, Rule, Trainable, emit, emit_log_mel, plan_device, read_network
from lightsleeper.device.state import c_float
from lightsleeper.errors import InputError
from lightsleeper.learning import SecondStage
from lightsleeper.learning.second_stage import STANDARD_DEVIATION

__all__ = ["export_c", "network_of"]

STAGE = "second_stage"
STEP_S = 0.5
"""From decision to decision of the program that reads a wave."""
FULL_SCALE_PA = 20.0
"""Of a microphone of -26 dB re full scale at 94 dB SPL, a usual figure of digital ones."""
LEAST_ODDS = 1e-9


def network_of(model: SecondStage) -> Network:
    """The digital stage from its two pictures (2, frames, bands) to one logit."""
    features = model.features
    frames, bands = features.frames(model.samples), features.bands
    pictures = torch.zeros(1, 2, frames, bands)
    with torch.no_grad():
        height = model.body(pictures).shape[2]
    chain = nn.Sequential(*model.body, nn.MaxPool2d((height, 1)), nn.Flatten(), model.head)
    return read_network(chain, pictures, loss="binary_cross_entropy")


def export_c(
    design: Design, out: Path, *, rule: Rule, trainable: Trainable = "last", ram_bytes: int | None = None
) -> Plan:
    """Write the firmware of a design into a folder, whole or not at all.

    Args:
        design: what is exported.
        out: folder; one that an earlier export made is replaced.
        rule: how the digital stage goes on learning on the device.
        trainable: which part of it does; see `Network.trained`.
        ram_bytes: budget for its state, working memory and stack; None for no limit.

    Raises:
        InputError: it does not fit, frames are no power of two, or `out` holds something else.
    """
    plan = plan_device(network_of(design.model), rule, trainable=trainable, ram_bytes=ram_bytes)
    features = design.model.features
    log_mel = emit_log_mel(
        name="log_mel",
        rate_hz=features.rate_hz,
        hop=features.hop_samples,
        filters=features.filters(),
        floor_pa2=features.floor_pa2,
    )
    if out.exists() and not (out.is_dir() and ((out / f"{STAGE}.h").exists() or not any(out.iterdir()))):
        raise InputError(f"{out}: holds something that is no firmware of lightsleeper; choose another --out")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.unfinished-", dir=out.parent))
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror}); choose another --out") from None
    try:
        emit(plan, name=STAGE).write(folder)
        log_mel.write(folder)
        for name, text in _own_files(design):
            (folder / name).write_text(text, encoding="ascii")
        folder.chmod(0o755)
        if out.exists():
            shutil.rmtree(out)
        os.rename(folder, out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return plan


def _own_files(design: Design) -> Iterator[tuple[str, str]]:
    templates = Environment(
        loader=PackageLoader("lightsleeper.design"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    features, second = design.model.features, design.spec.second_stage
    frames = features.frames(design.model.samples)
    odds = max(design.threshold, LEAST_ODDS) / max(1.0 - design.threshold, LEAST_ODDS)
    context: dict[str, Any] = {
        "release": release_of("lightsleeper"),
        "frames": frames,
        "samples": design.model.samples,
        "window_s": f"{design.model.samples / features.rate_hz:g}",
        "preroll": round(second.preroll_s * features.rate_hz),
        "logit": c_float(math.log(odds)),
        "threshold": f"{design.threshold:.4g}",
        "picture_bytes": 4 * 2 * frames * features.bands,
        "one_over_frames": c_float(1.0 / frames),
        "one_over_bands": c_float(1.0 / features.bands),
        "one_over_deviation": c_float(1.0 / STANDARD_DEVIATION),
        "step_frames": min(frames, round(STEP_S / features.hop_s)),
        "full_scale_pa": c_float(FULL_SCALE_PA),
        "rows": [(name, c_float(value)) for name, value in _flat(design.frontend.to_dict())],
    }
    for name in ("decide.h", "decide.c", "main.c", "first_stage.h"):
        yield name, templates.get_template(f"{name}.jinja").render(context)


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """Numbers of a nested dict by a dotted name, those of lists by index."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else key)
    elif isinstance(value, (list, tuple)):
        for index, inner in enumerate(value):
            yield from _flat(inner, f"{name}[{index}]")
    elif isinstance(value, (int, float)):
        yield name, float(value)
