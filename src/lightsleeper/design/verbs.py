"""The smaller verbs on a finished design: simulate a sound, account for its power."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightsleeper.design.first_stage import decision_of
from lightsleeper.design.measure import Design
from lightsleeper.design.summary import energy_of
from lightsleeper.errors import InputError
from lightsleeper.recordings import read_recording

__all__ = ["power_of", "simulate_sound"]

REFERENCE_PRESSURE_PA = 20e-6


def simulate_sound(
    design: Design, sound: Path, *, level_db_spl: float, noise_seed: int | None, waveforms: Path | None
) -> dict[str, Any]:
    """Waveforms of one recording at every net of the first stage, and its wakes.

    Args:
        design: the design.
        sound: audio file; its active part is brought to `level_db_spl` at the microphone.
        level_db_spl: rms level, dB re 20 uPa.
        noise_seed: of the circuit's noise; None is noiseless.
        waveforms: .npz file to write every net to, or None.

    Returns:
        wakes_s, threshold_v, duration_s, level_db_spl, and per net its lowest and highest voltage.
    """
    spec = design.spec
    recording = read_recording(
        sound, rate_hz=int(spec.scene.rate_hz), label="", source=sound.stem, fold=None, file=str(sound)
    )
    pressure_pa = REFERENCE_PRESSURE_PA * 10.0 ** (level_db_spl / 20.0)
    microphone = design.frontend.microphone
    voltage = recording.samples * (pressure_pa / recording.active_rms() * microphone.sensitivity_v_per_pa)
    nets = design.frontend.simulate(voltage, recording.rate_hz, noise_seed=noise_seed)
    if nets["time_s"].size == 0:
        raise InputError(f"{sound}: lasts only {recording.duration_s:g} s; give a longer recording")
    if waveforms is not None:
        _write_waveforms(waveforms, nets)
    rate_hz = 1.0 / float(nets["time_s"][0])
    volts = {name: values for name, values in nets.items() if not name.endswith("time_s")}
    return {
        "sound": str(sound),
        "duration_s": recording.duration_s,
        "level_db_spl": level_db_spl,
        "threshold_v": design.frontend.comparator.threshold_v,
        "wakes_s": decision_of(design.frontend).wakes(nets["integral"], rate_hz=rate_hz).tolist(),
        "nets": {name: {"low_v": float(v.min()), "high_v": float(v.max())} for name, v in volts.items()},
    }


def _write_waveforms(path: Path, nets: dict[str, NDArray[np.floating]]) -> None:
    try:
        np.savez_compressed(path, **nets)  # type: ignore[arg-type]
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); choose another --waveforms") from None


def power_of(design: Design, summary: dict[str, Any], *, wakes_per_hour: float | None) -> dict[str, Any]:
    """Energy by part and state: as measured, or at another rate of wakes (per hour, true and false)."""
    if wakes_per_hour is None:
        energy: dict[str, Any] = summary["energy"]
        return energy
    return energy_of(design, wakes_per_hour, (wakes_per_hour, wakes_per_hour))
