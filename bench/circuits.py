"""How true the stepped bank is against continuous time; how fast it is, `lightsleeper bench circuits` says. Minutes.

Example: python bench/circuits.py --recordings DIR
"""

import argparse
import dataclasses
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.signal.windows import tukey

from lightsleeper.circuits import FilterBank, FrontEnd, FrontEndStream
from lightsleeper.circuits.continuous import ground_truth, relative_error
from lightsleeper.learning import initial_frontend
from lightsleeper.recordings import Recording, read_folder

RATE_HZ = 16_000
KINDS = ("filter", "fast", "slow", "floor")
LEVELS = (0.02, 0.2, 1.0, 4.0)
LABELS = ("glass_breaking", "dog", "crackling_fire", "rain", "clock_alarm", "siren")
BANDS_HZ = (200.0, 420.0, 800.0, 1500.0, 2500.0, 4200.0, 5500.0, 7000.0)
EXCERPT = 4000


def stage(centers_hz: tuple[float, ...]) -> FrontEnd:
    frontend = initial_frontend(bands=len(centers_hz))
    bank = FilterBank(center_hz=centers_hz, q=(2.0,) * len(centers_hz))
    return dataclasses.replace(frontend, bank=bank)


def errors(frontend: FrontEnd, clip: Recording, level: float) -> NDArray[np.float64]:
    """NRMSE (4 nets, bands) of the clip's loudest quarter second, its rms at the filters `level` linear ranges."""
    loud = int(np.argmax(np.convolve(np.square(clip.samples), np.ones(EXCERPT), "valid")))
    sound = clip.samples[loud : loud + EXCERPT].astype(float)
    sound *= tukey(EXCERPT, 64.0 / EXCERPT)  # an edge is no part of a band-limited sound
    range_v = frontend.bank.range_v(frontend.process)
    sound *= level * range_v / frontend.amplifier.gain / np.sqrt(np.mean(np.square(sound)))
    padded = np.concatenate([np.zeros(256), sound, np.zeros(512)])
    padded = padded[: len(padded) // 128 * 128]
    truth = ground_truth(frontend, padded, RATE_HZ)
    stream = FrontEndStream(frontend, rows=1, rate_hz=RATE_HZ)
    trace = stream.envelopes(padded[None].astype(np.float32), keep=True)[1]
    return np.array(
        [
            [relative_error(trace[:, kind, band], getattr(truth, name)[band]) for band in range(frontend.bank.bands)]
            for kind, name in enumerate(KINDS)
        ]
    )


def print_errors(recordings: Path) -> None:
    known = read_folder(recordings, rate_hz=RATE_HZ, skip_bad=False).recordings
    clips = [next(r for r in known if r.label == label) for label in LABELS]
    frontend = stage(BANDS_HZ)
    print("NRMSE in %, worst clip (median), by centre frequency: " + " ".join(f"{f:g}" for f in BANDS_HZ))
    for level in LEVELS:
        all_errors = 100.0 * np.array([errors(frontend, clip, level) for clip in clips])
        for kind, name in enumerate(KINDS):
            worst, middle = all_errors[:, kind].max(0), np.median(all_errors[:, kind], axis=0)
            cells = " | ".join(f"{w:.2f} ({m:.2f})" for w, m in zip(worst, middle, strict=True))
            print(f"| {level:g} | {name} | {cells} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recordings", type=Path, required=True, help="labelled folder")
    print_errors(parser.parse_args().recordings)


if __name__ == "__main__":
    main()
