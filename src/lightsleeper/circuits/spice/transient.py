"""Behavioural level in time: amplifier, band-passes and envelopes on a real recording, simulator against ngspice.

One ngspice run per band: the bands do not load each other, and each is stepped as finely as its centre frequency asks.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lightsleeper.circuits.chip import Chip
from lightsleeper.circuits.frontend import FrontEnd
from lightsleeper.circuits.rates import CONTROL_RATE_HZ, output_instant, substeps_for
from lightsleeper.circuits.spice.comparison import Overlay, Row, around_peak, means_between, nrmse_percent
from lightsleeper.circuits.spice.engine import run_ngspice
from lightsleeper.circuits.spice.excerpt import SOURCE
from lightsleeper.circuits.spice.netlist import ENVELOPES, amplifier, band, circuit, preamble
from lightsleeper.circuits.spice.raw_file import Plot
from lightsleeper.circuits.stream import FrontEndStream

__all__ = [
    "BandWaves",
    "band_name",
    "bank_overlays",
    "bank_rows",
    "filter_times_s",
    "simulate_band",
    "simulate_settled",
    "waves",
]

Floats = NDArray[np.float64]
LIMIT_PERCENT = 1.0
POINTS_PER_PERIOD = 400.0
"""Steps per period of the centre frequency. A clipped band-pass that is about to slip a period grows small errors: with
100 points one was 0.65 % from what 2,000 make of it, with 400 0.005 % (docs/spice.md)."""
SILENT_SECONDS = 10
"""Before the recording; ten times the longest time constant that a neuron may have (1 s)."""
LONGEST_STEP_S = 5e-6
"""Of bands so low that the recording, not they, asks for the step."""


@dataclass(frozen=True, eq=False)
class BandWaves:
    """What ngspice says of one band: times (N,) and per net its voltages (N,)."""

    time_s: Floats
    nets: dict[str, Floats]

    def at(self, net: str, time_s: Floats) -> Floats:
        """A net's voltage at other times."""
        return np.interp(time_s, self.time_s, self.nets[net])


def waves(plot: Plot, nets: dict[str, str]) -> BandWaves:
    """Voltages of a transient; `nets` gives the name here -> the net's name in the netlist."""
    return BandWaves(plot.real("time"), {name: plot.real(f"v({net})") for name, net in nets.items()})


def step_s(center_hz: float, *, points_per_period: float = POINTS_PER_PERIOD) -> float:
    """Longest time step of ngspice for a band, in s."""
    return min(1.0 / (points_per_period * center_hz), LONGEST_STEP_S)


def simulate_band(frontend: FrontEnd, number: int, source_text: str, duration_s: float) -> BandWaves:
    """Run one band, counted from 1, in ngspice from rest: nets `amplified`, `band`, `fast`, `slow`, `floor`."""
    names = ("amplified", f"band{number}", *(f"{kind}{number}" for kind in ENVELOPES))
    step = step_s(frontend.bank.center_hz[number - 1])
    netlist = circuit(
        f"band {number}",
        preamble(frontend, noise=False),
        *amplifier(frontend),
        *band(frontend, number),
        SOURCE,
        f".tran {step:.6g} {duration_s:.9g} 0 {step:.6g} uic",
        ".save " + " ".join(f"v({name})" for name in names),
    )
    (plot,) = run_ngspice(netlist, files={"microphone.txt": source_text})
    return waves(plot, dict(zip(("amplified", "band", *ENVELOPES), names, strict=True)))


def simulate_settled(
    frontend: FrontEnd, microphone_v: Floats, rate_hz: float, *, chip: Chip | None = None
) -> dict[str, NDArray[np.float32]]:
    """Nets as from `FrontEnd.simulate`, but of a stage that has settled in silence before the recording begins."""
    volts = microphone_v.astype(np.float32)
    stream = FrontEndStream(frontend, rows=1, rate_hz=rate_hz, chips=None if chip is None else [chip])
    for _ in range(SILENT_SECONDS):
        stream.trace(np.zeros((1, round(rate_hz)), np.float32))
    nets = {name: values[0] if values.ndim > 1 else values for name, values in stream.trace(volts[None]).items()}
    for name, each_hz in (("time_s", CONTROL_RATE_HZ), ("filter_time_s", stream.step_rate_hz)):
        nets[name] = (np.arange(1, len(nets[name]) + 1) / each_hz).astype(np.float32)
    return nets


def band_name(frontend: FrontEnd, number: int) -> str:
    """A band by its centre frequency, such as "948 Hz"."""
    return f"{frontend.bank.center_hz[number - 1]:.0f} Hz"


def filter_times_s(frontend: FrontEnd, simulated: dict[str, NDArray[np.float32]], delay_s: float) -> Floats:
    """When the simulator's band-pass outputs hold for the recording, (bands, steps): nothing is fitted."""
    ends_s = simulated["filter_time_s"].astype(np.float64)
    step = ends_s[0]
    substeps = substeps_for(np.asarray(frontend.bank.center_hz), 1.0 / step)
    return np.asarray(ends_s + (output_instant(substeps)[:, None] - 1.0) * step - delay_s)


def bank_rows(
    frontend: FrontEnd,
    level_db: float,
    simulated: dict[str, NDArray[np.float32]],
    spice: Sequence[BandWaves],
    delay_s: float,
) -> list[Row]:
    """Errors of band-pass outputs and frame means of the envelopes at one level, the known delay removed."""
    names = [band_name(frontend, number) for number in range(1, frontend.bank.bands + 1)]
    filter_time_s = filter_times_s(frontend, simulated, delay_s)
    edges_s = frame_edges_s(simulated)
    errors: dict[str, dict[str, float]] = {"band-pass": {}, **{f"{kind} envelope": {} for kind in ENVELOPES}}
    for index, (name, found) in enumerate(zip(names, spice, strict=True)):
        errors["band-pass"][name] = nrmse_percent(simulated["filter"][index], found.at("band", filter_time_s[index]))
        for kind in ENVELOPES:
            reference = means_between(found.time_s, found.nets[kind], edges_s - delay_s)
            errors[f"{kind} envelope"][name] = nrmse_percent(simulated[kind][index], reference)
    analysis = f"transient {level_db:+g} dB"
    return [Row.worst(block, "behavioural", analysis, by_band, LIMIT_PERCENT, "%") for block, by_band in errors.items()]


def frame_edges_s(simulated: dict[str, NDArray[np.float32]]) -> Floats:
    """Edges of the control frames (F + 1,), from 0."""
    return np.concatenate([[0.0], simulated["time_s"].astype(np.float64)])


def bank_overlays(
    frontend: FrontEnd,
    level_db: float,
    simulated: dict[str, NDArray[np.float32]],
    spice: Sequence[BandWaves],
    rows: Sequence[Row],
    delay_s: float,
) -> list[Overlay]:
    """The worst band of band-pass and fast envelope at one level."""
    overlays = []
    # A frame's mean stands for its middle.
    frames_s = simulated["time_s"].astype(np.float64) - float(simulated["time_s"][0]) / 2.0 - delay_s
    for block, net in (("band-pass", "band"), ("fast envelope", "fast")):
        row = next(row for row in rows if row.block.startswith(block))
        name = max(row.by_band, key=row.by_band.__getitem__)
        index = list(row.by_band).index(name)
        time_s = filter_times_s(frontend, simulated, delay_s)[index] if net == "band" else frames_s
        values = simulated["filter" if net == "band" else net][index].astype(np.float64)
        curves = {"ngspice": (spice[index].time_s, spice[index].nets[net]), "simulator": (time_s, values)}
        if net == "band":
            curves = around_peak(curves, frontend.bank.center_hz[index])
        title = f"{block}, {name}, {level_db:+g} dB of clipping: {row.error:.2f} %"
        overlays.append(Overlay(title, "Time (s)", "V", curves))
    return overlays
