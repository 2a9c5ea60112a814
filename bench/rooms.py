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

from lightsleeper.circuits import AutomaticGainControl, FrontEnd, FrontEndStream, GainControlledStream, calibrated
from lightsleeper.design import Silent, load_spec
from lightsleeper.design.first_stage import decision_of
from lightsleeper.design.material import gather
from lightsleeper.design.spec import Spec
from lightsleeper.design.storage import load_design
from lightsleeper.design.streams import StreamSet, make_streams, streams_of
from lightsleeper.detection import evaluate
from lightsleeper.recordings import Recording, Scene

SEED = 77
LARGEST_GAIN = 500.0
RANGE_DB = 60.0
CHUNK_S = 30.0


def hear(
    frontend: FrontEnd, scenes: Sequence[Scene], agc: AutomaticGainControl | None
) -> tuple[list[NDArray[np.float32]], float]:
    """The integrator's voltage over each scene, and the median gain."""
    rows, rate_hz = len(scenes), scenes[0].rate_hz
    stream: FrontEndStream
    if agc is None:
        stream = FrontEndStream(frontend, rows=rows, rate_hz=rate_hz, noise_seed=SEED)
    else:
        stream = GainControlledStream(frontend, agc=agc, rows=rows, rate_hz=rate_hz, noise_seed=SEED)
    step = round(CHUNK_S * rate_hz)
    parts, gains = [], []
    for first in range(0, scenes[0].pressure_pa.size, step):
        pressure_pa = np.stack([scene.pressure_pa[first : first + step] for scene in scenes])
        parts.append(stream.process(pressure_pa * np.float32(frontend.microphone.sensitivity_v_per_pa)))
        gains.append(stream.gain.copy() if isinstance(stream, GainControlledStream) else frontend.amplifier.gain)
    return list(np.concatenate(parts, axis=1)), float(np.median(gains))


def control(frontend: FrontEnd, speed_db_per_s: float, floor: Sequence[Scene], rate_hz: float) -> AutomaticGainControl:
    agc = AutomaticGainControl(
        amplifier=dataclasses.replace(frontend.amplifier, gain=LARGEST_GAIN),
        range_db=RANGE_DB,
        fall_db_per_s=speed_db_per_s,
        rise_db_per_s=speed_db_per_s,
    )
    room_v = np.concatenate([scene.pressure_pa for scene in floor]) * frontend.microphone.sensitivity_v_per_pa
    return calibrated(agc, room_v, rate_hz, gain=frontend.amplifier.gain, process=frontend.process)


def room(recordings: Sequence[Recording], spec: Spec, floor_db_spl: float, hours: float) -> StreamSet:
    scene = spec.scene.model_copy(update={"floor_db_spl": floor_db_spl})
    asked = spec.model_copy(update={"scene": scene})
    return make_streams(recordings, asked, dense_hours=hours, floor_hours=hours, seed=SEED)


def figures(frontend: FrontEnd, streams: StreamSet, agc: AutomaticGainControl | None) -> dict[str, object]:
    scenes = [*streams.dense, *streams.floor]
    scores, gain = hear(frontend, scenes, agc)
    heard = streams_of(scenes, scores)
    count = len(streams.dense)
    found = evaluate(heard[:count], heard[count:], decision_of(frontend))
    return {
        "recall": found.recall,
        "recall_interval": found.recall_interval,
        "events": found.events,
        "false_wakes_per_hour": found.false_wakes_per_hour,
        "false_wakes_per_hour_interval": found.false_wakes_per_hour_interval,
        "gain": gain,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--rooms", type=float, nargs="+", default=[25.0, 40.0, 55.0, 70.0], help="floor, dB SPL")
    parser.add_argument("--speeds", type=float, nargs="+", default=[3.0], help="of the gain, dB/s")
    parser.add_argument("--hours", type=float, default=1.0, help="dense hours, and as many of bare floor, a room")
    given = parser.parse_args()
    spec, frontend = load_spec(given.run / "spec.toml"), load_design(given.run).frontend
    recordings = gather(spec, Silent()).test
    known = room(recordings, spec, spec.scene.floor_db_spl, given.hours)
    controls = [None, *(control(frontend, speed, known.floor, spec.scene.rate_hz) for speed in given.speeds)]
    for floor_db_spl in given.rooms:
        streams = room(recordings, spec, floor_db_spl, given.hours)
        for agc in controls:
            row: dict[str, object] = {"floor_db_spl": floor_db_spl}
            row |= {} if agc is None else {"speed_db_per_s": agc.fall_db_per_s, "target_v": agc.target_v}
            print(json.dumps(row | figures(frontend, streams, agc)), flush=True)


if __name__ == "__main__":
    main()
