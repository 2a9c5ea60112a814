"""Save a design as the plain files of a run folder, and load it again."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import save_file
from safetensors.torch import load_model, save_model

from lightsleeper.circuits import FrontEnd
from lightsleeper.circuits.spice import write_netlist
from lightsleeper.design.measure import Design
from lightsleeper.design.spec import load_spec
from lightsleeper.errors import InputError
from lightsleeper.learning import LogMel, SecondStage

__all__ = ["load_design", "load_summary", "save_design", "write_json"]

NETWORK_ARRAYS = ("hidden_weight", "hidden_bias_v", "neuron_s", "output_weight")
DIGITAL_META = "digital_stage.json"


def write_json(path: Path, data: Any) -> None:
    """Readable JSON; nan is refused, since a figure that was not measured is None."""
    path.write_text(json.dumps(data, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def save_design(design: Design, folder: Path) -> None:
    """spec.toml, frontend.json and .cir, wake_stage.safetensors, digital_stage.safetensors and .json.

    frontend.json is complete; the wake stage's weights stand apart as well, for tools that read tensors.
    """
    (folder / "spec.toml").write_text(design.spec.to_toml(), encoding="utf-8")
    frontend = design.frontend.to_dict()
    write_json(folder / "frontend.json", frontend)
    write_netlist(design.frontend, folder / "frontend.cir")
    network = design.frontend.network
    arrays: dict[str, NDArray[np.float64]] = {name: getattr(network, name) for name in NETWORK_ARRAYS}
    arrays["output_bias_v"] = np.array([network.output_bias_v])
    save_file({name: np.ascontiguousarray(value) for name, value in arrays.items()}, folder / "wake_stage.safetensors")
    save_model(design.model, str(folder / "digital_stage.safetensors"))
    for weights in folder.glob("*.safetensors"):
        weights.chmod(0o644)  # written as 0600, which nobody else could open
    write_json(
        folder / DIGITAL_META,
        {
            "threshold": design.threshold,
            "samples": design.model.samples,
            "channels": list(design.model.channels),
            "rate_hz": design.model.features.rate_hz,
        },
    )


def load_design(folder: Path) -> Design:
    """The design of a run folder.

    Raises InputError where the folder is no finished run or a file of it is damaged.
    """
    load_summary(folder)
    spec = load_spec(folder / "spec.toml")
    frontend = FrontEnd.from_dict(_read_json(folder / "frontend.json"))
    meta = _read_json(folder / DIGITAL_META)
    try:
        features = LogMel(rate_hz=meta["rate_hz"])
        model = SecondStage(features, samples=meta["samples"], channels=meta["channels"])
        load_model(model, str(folder / "digital_stage.safetensors"))
        return Design(spec=spec, frontend=frontend, model=model, threshold=meta["threshold"])
    except (OSError, SafetensorError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{folder}: weights cannot be read ({error}); design it again") from None


def load_summary(folder: Path) -> dict[str, Any]:
    """summary.json of a run folder; InputError where there is none."""
    if not (folder / "summary.json").is_file():
        raise InputError(f"{folder}: is no finished run (no summary.json); make one with `lightsleeper design`")
    data = _read_json(folder / "summary.json")
    if not isinstance(data, dict) or "energy" not in data:
        raise InputError(f"{folder / 'summary.json'}: holds no figures of a run; design it again")
    return data


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error}); design it again") from None
