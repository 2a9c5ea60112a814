"""A log-mel front end as C99: Hann window, transform of a power of two, triangular bands, logarithm."""

from dataclasses import dataclass
from importlib.metadata import version as release_of
from pathlib import Path

import numpy as np

from lightsleeper.device.layers import Array
from lightsleeper.device.source import c_numbers, environment
from lightsleeper.device.state import FIELD_BYTES, c_float
from lightsleeper.errors import InputError

__all__ = ["LogMelSource", "emit_log_mel"]


@dataclass(frozen=True, kw_only=True, slots=True)
class LogMelSource:
    """Generated C: texts of ``name.h`` and ``name.c``."""

    name: str
    header: str
    code: str

    def write(self, folder: Path) -> None:
        """Write both files into a folder that is there."""
        (folder / f"{self.name}.h").write_text(self.header, encoding="ascii")
        (folder / f"{self.name}.c").write_text(self.code, encoding="ascii")


def emit_log_mel(*, name: str, rate_hz: float, hop: int, filters: Array, floor_pa2: float) -> LogMelSource:
    """C99 for log-mel energies as `lightsleeper.learning.LogMel` has them.

    Args:
        name: prefix of all generated names.
        rate_hz: sample rate.
        hop: samples from frame to frame.
        filters: (frame/2 + 1, bands) weight of each bin in each band; none reaches the first or the last bin.
        floor_pa2: power added before the logarithm.

    Raises:
        InputError: the frame is no power of two, or a band is empty or reaches an edge.
    """
    half, bands = filters.shape[0] - 1, filters.shape[1]
    frame = 2 * half
    if frame < 4 or frame & (frame - 1):
        raise InputError(
            f"log-mel: frames of {frame} samples are no power of two, as the device's transform needs; "
            "choose frame_s accordingly"
        )
    if filters[0].any() or filters[half].any() or not filters.any(axis=0).all():
        raise InputError("log-mel: a band is empty, or reaches 0 Hz or half of the sample rate; move its edges")
    hann = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(frame) / frame)
    angle = 2.0 * np.pi * np.arange(half) / frame
    used = [np.flatnonzero(filters[:, m]) for m in range(bands)]
    weights = np.concatenate([filters[bins[0] : bins[-1] + 1, m] for m, bins in enumerate(used)])
    counts = [int(bins[-1] - bins[0]) + 1 for bins in used]
    context = {
        "name": name,
        "NAME": name.upper(),
        "release": release_of("lightsleeper"),
        "rate": round(rate_hz),
        "frame": frame,
        "half": half,
        "hop": hop,
        "bands": bands,
        "hann": c_numbers(hann.astype(np.float32)),
        "turn": c_numbers(np.stack([np.cos(angle), np.sin(angle)], 1).reshape(-1).astype(np.float32)),
        "bins": [int(bins[0]) for bins in used],
        "starts": [0, *np.cumsum(counts).tolist()],
        "weights": c_numbers(weights.astype(np.float32)),
        "weight_count": weights.size,
        # A quarter, as even and odd parts are twice what they should be; twice, as each bin stands for two.
        "scale": c_float(0.25 * 2.0 / (frame * float(np.sum(hann.astype(np.float32) ** 2)))),
        "floor": c_float(floor_pa2),
        "table_bytes": FIELD_BYTES * (2 * frame + weights.size) + 2 * (2 * bands + 1),
        "work_bytes": FIELD_BYTES * (frame + half + 1),
    }
    templates = environment()
    return LogMelSource(
        name=name,
        header=templates.get_template("log_mel.h.jinja").render(context),
        code=templates.get_template("log_mel.c.jinja").render(context),
    )
