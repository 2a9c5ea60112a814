"""Behavioural level in time, second half: logarithms, network, integrator and comparator, and when the stage wakes.

ngspice gets the envelopes that ngspice made of the bands, as sources: the logarithms' inputs draw no current, so the
halves together are the whole stage.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lightsleeper.circuits.blocks import Comparator
from lightsleeper.circuits.frontend import FrontEnd
from lightsleeper.circuits.spice.comparison import Overlay, Row, nrmse_percent
from lightsleeper.circuits.spice.engine import run_ngspice
from lightsleeper.circuits.spice.netlist import ENVELOPES, circuit, comparator, decision, logarithms, network, preamble
from lightsleeper.circuits.spice.transient import BandWaves, waves

__all__ = ["chain_overlay", "chain_rows", "comparator_rows", "crossings_s", "simulate_decision"]

Floats = NDArray[np.float64]
WAKE_LIMIT_MS = 1.0
VOLTAGE_LIMIT_PERCENT = 5.0
"""Of what score and integral move from their rest; the simulator updates them once a frame of 2 ms."""
COMPARATOR_LIMIT_PERCENT = 5.0
"""Of the hysteresis: how far the regenerative comparator may switch from its thresholds."""
STEP_S = 10e-6
"""Step and spacing of the envelopes' samples; the fastest time constant behind them is 1 ms."""


def simulate_decision(frontend: FrontEnd, spice: Sequence[BandWaves], duration_s: float) -> BandWaves:
    """Run everything behind the envelopes in ngspice, settled in silence: nets `score`, `integral`, `wake`."""
    time_s = np.arange(0.0, duration_s + 2.0 * STEP_S, STEP_S)
    files, lines = {}, []
    for number, found in enumerate(spice, 1):
        table = np.column_stack([time_s, *(found.at(kind, time_s) for kind in ENVELOPES)])
        files[f"band{number}.txt"] = "".join(" ".join(f"{v:.9e}" for v in row) + "\n" for row in table.tolist())
        nets = " ".join(f"{kind}{number}" for kind in ENVELOPES)
        lines += [
            f"A_band{number} %v([{nets}]) envelopes{number}",
            f'.model envelopes{number} filesource(file="band{number}.txt" amploffset=[0 0 0] amplscale=[1 1 1])',
            *logarithms(frontend, number),
        ]
    netlist = circuit(
        "decision",
        preamble(frontend, noise=False),
        *lines,
        *network(frontend),
        *decision(frontend),
        f".tran {STEP_S:g} {duration_s:.9g} 0 {STEP_S:g}",
        ".save v(score) v(integral) v(wake)",
    )
    (plot,) = run_ngspice(netlist, files=files)
    return waves(plot, {name: name for name in ("score", "integral", "wake")})


def crossings_s(time_s: Floats, integral_v: Floats, comparator_: Comparator) -> Floats:
    """Times at which a piecewise linear voltage switches the comparator, off where it begins, on, in s."""
    high_v, low_v = comparator_.threshold_v, comparator_.threshold_v - comparator_.hysteresis_v
    found, armed = [], bool(integral_v[0] <= high_v)
    for index in range(1, len(time_s)):
        before, after = integral_v[index - 1], integral_v[index]
        if armed and after > high_v:
            share = max((high_v - before) / (after - before), 0.0)
            found.append(time_s[index - 1] + share * (time_s[index] - time_s[index - 1]))
            armed = False
        elif after < low_v:
            armed = True
    return np.array(found)


def chain_rows(
    frontend: FrontEnd, level_db: float, simulated: dict[str, NDArray[np.float32]], found: BandWaves, delay_s: float
) -> list[Row]:
    """Errors of score and integral, and of the times at which the stage wakes, at one level, the known delay removed.

    A wake of the simulator is where its integral, joined by straight lines between the frames, crosses the threshold.
    """
    time_s = simulated["time_s"].astype(np.float64) - delay_s
    analysis = f"transient {level_db:+g} dB"
    rows = [
        Row(
            block,
            "behavioural",
            analysis,
            nrmse_percent(simulated[net], found.at(net, time_s), rest=float(found.nets[net][0])),
            VOLTAGE_LIMIT_PERCENT,
            "%",
        )
        for block, net in (("network", "score"), ("integrator", "integral"))
    ]
    return [*rows, _wake_row(frontend, analysis, simulated, found, delay_s)]


def _wake_row(
    frontend: FrontEnd, analysis: str, simulated: dict[str, NDArray[np.float32]], found: BandWaves, delay_s: float
) -> Row:
    """Times of all wakes; where there is none, of crossings of the middle of ngspice's integral, away from its rest."""
    frames_s = simulated["time_s"].astype(np.float64) - delay_s
    integral_v = simulated["integral"].astype(np.float64)
    supply_v, parameters = frontend.process.supply_v, frontend.comparator
    spice_s = crossings_s(found.time_s, found.nets["wake"], Comparator(supply_v / 2.0, supply_v / 4.0))
    simulated_s = crossings_s(frames_s, integral_v, parameters)
    name = f"whole chain, {len(spice_s)} wakes"
    if not len(spice_s) and not len(simulated_s):
        spice_v = found.nets["integral"]
        middle_v = float(spice_v.max() + spice_v.min()) / 2.0
        up = 1.0 if spice_v[0] < middle_v else -1.0
        between = dataclasses.replace(parameters, threshold_v=up * middle_v, hysteresis_v=float(np.ptp(spice_v)) / 4.0)
        spice_s = crossings_s(found.time_s, up * spice_v, between)
        simulated_s = crossings_s(frames_s, up * integral_v, between)
        name = f"whole chain, no wake, {len(spice_s)} x {1e3 * middle_v:.0f} mV"
    if len(spice_s) == len(simulated_s):
        error_ms = float(1e3 * np.abs(spice_s - simulated_s).max(initial=0.0))
    else:
        name += f" ({len(simulated_s)} simulated)"
        error_ms = float(1e3 * frames_s[-1])
    return Row(name, "behavioural", analysis, error_ms, WAKE_LIMIT_MS, "ms")


def chain_overlay(
    level_db: float, simulated: dict[str, NDArray[np.float32]], found: BandWaves, delay_s: float
) -> Overlay:
    """Score and integral at one level."""
    curves: dict[str, tuple[Floats, Floats]] = {}
    for net in ("score", "integral"):
        curves[f"{net}, ngspice"] = (found.time_s, found.nets[net])
        curves[f"{net}, simulator"] = (
            simulated["time_s"].astype(np.float64) - delay_s,
            simulated[net].astype(np.float64),
        )
    return Overlay(f"network and integrator, {level_db:+g} dB of clipping", "Time (s)", "V", curves)


def comparator_rows(frontend: FrontEnd) -> list[Row]:
    """Both thresholds of the comparator under a slow triangle, against the parameters."""
    parameters, supply_v = frontend.comparator, frontend.process.supply_v
    if parameters.hysteresis_v <= 0.0:
        return []
    low_v, high_v = (
        parameters.threshold_v - 2.0 * parameters.hysteresis_v,
        (parameters.threshold_v + parameters.hysteresis_v),
    )
    triangle = f"V1 integral 0 pwl(0 {low_v:.9g} 0.1 {high_v:.9g} 0.2 {low_v:.9g})"
    (plot,) = run_ngspice(
        circuit("comparator", preamble(frontend, noise=False), comparator(frontend), triangle, ".tran 20u 0.2 0 20u")
    )
    is_high = plot.real("v(wake)") > supply_v / 2.0
    switched_v = plot.real("v(integral)")[np.flatnonzero(np.diff(is_high.astype(np.int8)))]
    expected_v = np.array([parameters.threshold_v, parameters.threshold_v - parameters.hysteresis_v])
    error = 300.0  # never on and off again: the whole triangle
    if len(switched_v) == 2:
        error = float(100.0 * np.abs(switched_v - expected_v).max() / parameters.hysteresis_v)
    return [Row("comparator", "behavioural", "thresholds", error, COMPARATOR_LIMIT_PERCENT, "% of hysteresis")]
