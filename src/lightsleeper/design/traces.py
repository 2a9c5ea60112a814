"""traces.npz: the arrays behind the report's figures."""

import numpy as np
from numpy.typing import NDArray

from lightsleeper.circuits import CONTROL_RATE_HZ, FrontEnd
from lightsleeper.design.first_stage import FirstStage, decision_of
from lightsleeper.design.measure import Design, Measured
from lightsleeper.design.second_stage import DigitalStage
from lightsleeper.recordings import Scene

__all__ = ["collect_traces"]

Arrays = dict[str, NDArray[np.generic]]
MINUTE_S = 60.0
LEAD_S = 20.0
"""Simulated before the minute that is shown, so that the floor followers have settled."""
SHOWN_RATE_HZ = 125.0
"""Frames per second of what is drawn over time."""
DET_POINTS = 400


def collect_traces(design: Design, first: FirstStage, digital: DigitalStage, measured: Measured) -> Arrays:
    """All arrays by name; shapes as the report documents them."""
    curve = measured.curve.thinned(DET_POINTS)
    # At lower thresholds bursts merge into one endless wake, and the rate falls again: that is no operating point.
    usable = slice(0, int(np.argmax(curve.false_wakes_per_hour)) + 1)
    arrays: Arrays = {
        "det_threshold_v": curve.thresholds[usable],
        "det_recall": curve.recall[usable],
        "det_false_wakes_per_hour": curve.false_wakes_per_hour[usable],
        "training_circuit_loss": first.circuit_loss,
    }
    arrays |= _responses(design.frontend)
    arrays |= _timeline(design.frontend, measured.streams.dense[0])
    for name, trained in (("wake_stage", first.curve), ("digital_stage", digital.curve)):
        arrays[f"training_{name}_step"] = trained.step
        arrays[f"training_{name}_loss"] = trained.loss
        arrays[f"training_{name}_averaged_loss"] = trained.averaged_loss
        arrays[f"training_{name}_sgd_loss"] = trained.sgd_loss
    return arrays


def _responses(frontend: FrontEnd) -> Arrays:
    frequency_hz = np.geomspace(20.0, 20_000.0, 300)
    response = np.abs(frontend.bank.response(frequency_hz))
    return {"response_frequency_hz": frequency_hz, "response_db": 20.0 * np.log10(response)}


def _timeline(frontend: FrontEnd, scene: Scene) -> Arrays:
    """A minute of the scene around its first wake event, at every net."""
    onset_s = next((event.onset_s for event in scene.events if event.wake and event.onset_s > LEAD_S), LEAD_S)
    start_s = float(np.clip(onset_s - 20.0, LEAD_S, scene.duration_s - MINUTE_S))
    first, last = (round(t * scene.rate_hz) for t in (start_s - LEAD_S, start_s + MINUTE_S))
    pressure_pa = scene.pressure_pa[first:last]
    voltage = pressure_pa * np.float32(frontend.microphone.sensitivity_v_per_pa)
    nets = frontend.simulate(voltage, scene.rate_hz, noise_seed=0, filters=False)
    wakes_s = decision_of(frontend).wakes(nets["integral"], rate_hz=CONTROL_RATE_HZ) - LEAD_S
    # A page shows fewer frames than are simulated: the last of each few, and the mean of an envelope.
    every = round(CONTROL_RATE_HZ / SHOWN_RATE_HZ)
    frames = int(MINUTE_S * SHOWN_RATE_HZ)

    def grouped(net: NDArray[np.float32]) -> NDArray[np.float32]:
        return net[..., -frames * every :].reshape(*net.shape[:-1], frames, every)

    minute_pa = pressure_pa[-round(MINUTE_S * scene.rate_hz) :].reshape(frames, -1)
    events = [e for e in scene.events if e.end_s > start_s and e.onset_s < start_s + MINUTE_S]
    arrays: Arrays = {
        "timeline_time_s": grouped(nets["time_s"])[:, -1] - np.float32(LEAD_S),
        "timeline_pressure_low_pa": minute_pa.min(1),
        "timeline_pressure_high_pa": minute_pa.max(1),
        "timeline_score_v": grouped(nets["score"])[:, -1],
        "timeline_integral_v": grouped(nets["integral"])[:, -1],
        "timeline_hidden_v": grouped(nets["hidden"])[..., -1],
        "timeline_event_onset_s": np.array([event.onset_s - start_s for event in events]),
        "timeline_event_end_s": np.array([event.end_s - start_s for event in events]),
        "timeline_event_wake": np.array([event.wake for event in events], dtype=np.bool_),
        "timeline_event_label": np.array([event.label for event in events], dtype=np.str_),
        "timeline_wakes_s": wakes_s[wakes_s >= 0],
    }
    return arrays | {f"timeline_{name}_v": grouped(nets[name]).mean(-1) for name in ("fast", "slow", "floor")}
