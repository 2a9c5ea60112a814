"""A finished first stage in rooms louder and quieter than those of its training, with fixed and with automatic gain.

The automatic gain takes the place of the fixed one; network and threshold stay as they were trained. Its target is the
level at which it leaves the gain of training in rooms of training. Minutes a room.

Example: python bench/rooms.py RUN --rooms 40 70 --speeds 3
"""

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lightsleeper.circuits import AutomaticGainControl, FrontEnd, GainTrace
from lightsleeper.design import Silent, Spec, load_spec
from lightsleeper.design.first_stage import decision_of
from lightsleeper.design.material import gather
from lightsleeper.design.storage import load_design
from lightsleeper.design.streams import StreamSet, make_streams, scores, streams_of
from lightsleeper.detection import evaluate
from lightsleeper.recordings import Recording, Scene

SEED = 77
LARGEST_GAIN = 500.0
RANGE_DB = 60.0


def input_noise_v(frontend: FrontEnd, samples: int, rate_hz: float, seed: int) -> NDArray[np.float64]:
    """White noise of microphone and amplifier, (samples,) V."""
    microphone, amplifier = frontend.microphone, frontend.amplifier
    density = (microphone.noise_pa * microphone.sensitivity_v_per_pa) ** 2 / 20_000.0
    density += amplifier.noise_v**2 / amplifier.bandwidth_hz
    return np.sqrt(density * rate_hz / 2.0) * np.random.default_rng(seed).standard_normal(samples)


def controlled(
    frontend: FrontEnd, agc: AutomaticGainControl, scenes: Sequence[Scene]
) -> tuple[list[Scene], list[float]]:
    """The scenes as the stage's own amplifier must hear them to put out what the controlled one does; median gains.

    The input noise is in them, since gain comes after it.
    """
    sensitivity = frontend.microphone.sensitivity_v_per_pa
    heard, gains = [], []
    for number, scene in enumerate(scenes):
        noise_v = input_noise_v(frontend, scene.pressure_pa.size, scene.rate_hz, SEED + number)
        input_v = scene.pressure_pa * sensitivity + noise_v
        gain = GainTrace(agc, rate_hz=scene.rate_hz, process=frontend.process).gain(input_v)
        pressure_pa = (input_v * gain / frontend.amplifier.gain / sensitivity).astype(np.float32)
        heard.append(dataclasses.replace(scene, pressure_pa=pressure_pa))
        gains.append(float(np.median(gain)))
    return heard, gains


def without_input_noise(frontend: FrontEnd) -> FrontEnd:
    return dataclasses.replace(
        frontend,
        microphone=dataclasses.replace(frontend.microphone, noise_pa=0.0),
        amplifier=dataclasses.replace(frontend.amplifier, noise_v=1e-12),
    )


def calibrated(frontend: FrontEnd, speed_db_per_s: float, floor: Sequence[Scene]) -> AutomaticGainControl:
    """The target at which these scenes leave the frontend's gain: settled gain and target are in proportion."""
    agc = AutomaticGainControl(
        amplifier=dataclasses.replace(frontend.amplifier, gain=LARGEST_GAIN),
        range_db=RANGE_DB,
        fall_db_per_s=speed_db_per_s,
        rise_db_per_s=speed_db_per_s,
    )
    settled = float(np.median(controlled(frontend, agc, floor)[1]))
    return dataclasses.replace(agc, target_v=agc.target_v * frontend.amplifier.gain / settled)


def room(recordings: Sequence[Recording], spec: Spec, floor_db_spl: float, hours: float) -> StreamSet:
    scene = spec.scene.model_copy(update={"floor_db_spl": floor_db_spl})
    asked = spec.model_copy(update={"scene": scene})
    return make_streams(recordings, asked, dense_hours=hours, floor_hours=hours, seed=SEED)


def figures(frontend: FrontEnd, streams: StreamSet, agc: AutomaticGainControl | None) -> dict[str, object]:
    scenes, gains = [*streams.dense, *streams.floor], [frontend.amplifier.gain]
    stage = frontend
    if agc is not None:
        scenes, gains = controlled(frontend, agc, scenes)
        stage = without_input_noise(frontend)
    heard = streams_of(scenes, scores(stage, scenes, noise_seed=SEED))
    count = len(streams.dense)
    found = evaluate(heard[:count], heard[count:], decision_of(frontend))
    return {
        "recall": found.recall,
        "recall_interval": found.recall_interval,
        "events": found.events,
        "false_wakes_per_hour": found.false_wakes_per_hour,
        "false_wakes_per_hour_interval": found.false_wakes_per_hour_interval,
        "gain": float(np.median(gains)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--rooms", type=float, nargs="+", default=[25.0, 40.0, 55.0, 70.0], help="floor, dB SPL")
    parser.add_argument("--speeds", type=float, nargs="+", default=[3.0], help="of the gain, dB/s")
    parser.add_argument("--hours", type=float, default=0.5, help="dense hours, and as many of bare floor, a room")
    given = parser.parse_args()
    spec, frontend = load_spec(given.run / "spec.toml"), load_design(given.run).frontend
    recordings = gather(spec, Silent()).test
    training_room = room(recordings, spec, spec.scene.floor_db_spl, given.hours)
    controls = [None, *(calibrated(frontend, speed, training_room.floor) for speed in given.speeds)]
    for floor_db_spl in given.rooms:
        streams = room(recordings, spec, floor_db_spl, given.hours)
        for agc in controls:
            row: dict[str, object] = {"floor_db_spl": floor_db_spl}
            row |= {} if agc is None else {"speed_db_per_s": agc.fall_db_per_s, "target_v": agc.target_v}
            print(json.dumps(row | figures(frontend, streams, agc)), flush=True)


if __name__ == "__main__":
    main()
