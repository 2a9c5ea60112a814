"""Transistor level: band-passes of BSIM4 transistors against the behavioural model and the simulator, as identified."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lightsleeper.circuits.chip import Chip
from lightsleeper.circuits.frontend import FrontEnd
from lightsleeper.circuits.rates import input_delay_s, oversampling_for
from lightsleeper.circuits.spice.comparison import Overlay, Row, around_peak, nrmse_percent
from lightsleeper.circuits.spice.engine import run_ngspice
from lightsleeper.circuits.spice.excerpt import SOURCE, Excerpt
from lightsleeper.circuits.spice.filter_errors import IdentifiedBand, filter_errors, identify_band
from lightsleeper.circuits.spice.identification import IDENTIFIED_OTA, identified_band_pass
from lightsleeper.circuits.spice.netlist import OPTIONS, amplifier, circuit, preamble
from lightsleeper.circuits.spice.transient import BandWaves, band_name, filter_times_s, simulate_settled, step_s
from lightsleeper.circuits.spice.transistors import OtaKind, band_bias, transistor_band_pass, transistor_preamble

__all__ = ["TransistorBand", "compare_levels", "small_signal_rows", "transistor_band"]

Floats = NDArray[np.float64]
LIMIT_PERCENT = 5.0
CLIPPING_LIMIT_PERCENT = 15.0
"""Of the simulator at clipping, where it saturates at the nominal linear range."""
CLIPPING_DB = -10.0
"""From this level on."""
AC_LIMIT_DB = 0.4
"""5 % of magnitude."""
NOISE_LIMIT_PERCENT = 15.0
"""Against 2 gamma kT/C (1 + Q), which takes kappa for 0.7 and all devices for long: a check of gamma."""
POINTS_PER_PERIOD = 100.0
"""All netlists take the same steps, and transistors take long."""
LEVEL = "transistor"
SAVED = ".save v(output) v(common)"


@dataclass(frozen=True)
class TransistorBand:
    """One band, identified, and three netlists of it from `amplified` to `output` around `common`, without source."""

    name: str
    number: int
    kind: OtaKind
    found: IdentifiedBand
    transistors: str
    identified: str
    naive: str


def transistor_band(frontend: FrontEnd, number: int, kind: OtaKind) -> TransistorBand:
    """Identify the transconductors of one band, counted from 1, and write its netlists."""
    bank, process = frontend.bank, frontend.process
    bias = band_bias(bank, process, number, kind)
    center_hz = bank.center_hz[number - 1]
    found = identify_band(frontend, number - 1, kind)
    # The behavioural amplifier is referred to ground, the transistors to the common level.
    drive = [*amplifier(frontend, noise=False), "E_input input common amplified 0 1"]
    naive = (
        f"X_band amplified output inner band_pass f0={center_hz:.10g} q={bank.q[number - 1]:.10g} "
        f"c={bank.capacitance_f:.10g} range={kind.widening * process.range_v:.10g}"
    )
    return TransistorBand(
        name=f"{kind.value.replace('_', '-')} band-pass, {band_name(frontend, number)}",
        number=number,
        kind=kind,
        found=found,
        transistors="\n".join(
            [
                transistor_preamble(kind, process),
                *drive,
                *transistor_band_pass(kind, bias, bank.capacitance_f),
            ]
        ),
        identified="\n".join(
            [
                OPTIONS,
                f".options temp={process.temperature_c:g}",
                "V_common common 0 0",
                IDENTIFIED_OTA,
                *drive,
                *identified_band_pass(found.coupling, found.damping, bank.capacitance_f),
            ]
        ),
        naive="\n".join([preamble(frontend, noise=False), "V_common common 0 0", *amplifier(frontend), naive]),
    )


def small_signal_rows(frontend: FrontEnd, found: TransistorBand) -> tuple[list[Row], Overlay]:
    """Operating point and AC of one band: transistors against the identified model; noise against the formula."""
    (rest_v, frequency_hz, gain), (model_rest_v, _, model_gain) = (
        _point_and_gain(found.name, elements) for elements in (found.transistors, found.identified)
    )
    range_v = found.kind.widening * frontend.process.range_v
    point_percent = 100.0 * abs(model_rest_v - rest_v) / range_v
    passed = gain > 0.1 * gain.max()
    error_db = float(np.abs(20.0 * np.log10(model_gain / gain))[passed].max())
    noise_percent = 100.0 * abs(_formula_noise_v(frontend, found) / _noise_v(found) - 1.0)
    rows = [
        Row(found.name, LEVEL, "operating point", point_percent, LIMIT_PERCENT, "% of linear range"),
        Row(found.name, LEVEL, "AC", error_db, AC_LIMIT_DB, "dB"),
        Row(found.name, LEVEL, "noise", noise_percent, NOISE_LIMIT_PERCENT, "%"),
    ]
    curves = {
        "transistors": (frequency_hz, 20.0 * np.log10(gain)),
        "identified": (frequency_hz, 20.0 * np.log10(model_gain)),
    }
    return rows, Overlay(f"{found.name}: gain from the microphone", "Frequency (Hz)", "dB", curves)


def _point_and_gain(name: str, elements: str) -> tuple[float, Floats, Floats]:
    """Rest of the output about the common level in V, frequencies (F,) and gains from the microphone (F,)."""
    plots = run_ngspice(circuit(name, elements, "V1 microphone 0 ac 1", ".op", ".ac dec 100 20 20k", SAVED))
    point, small = (next(p for p in plots if word in p.name) for word in ("Operating", "AC"))
    rest_v = float(point.real("v(output)")[0] - point.real("v(common)")[0])
    return rest_v, small.real("frequency"), np.abs(small["v(output)"] - small["v(common)"])


def _noise_v(found: TransistorBand) -> float:
    """Integrated output noise of the transistors, V rms."""
    analysis = ".noise v(output,common) V1 dec 100 0.1 10meg"
    plots = run_ngspice(circuit(found.name, found.transistors, "V1 microphone 0 ac 1", analysis))
    return float(next(p for p in plots if p.name == "Integrated Noise").real("v(onoise_total)")[0])


def _formula_noise_v(frontend: FrontEnd, found: TransistorBand) -> float:
    """2 gamma kT/C (1 + Q) as V rms, with the noise of the transistors that this transconductor has."""
    bank = _as_made(frontend, found.kind).bank
    return float(bank.output_noise_v(frontend.process)[found.number - 1] * math.sqrt(found.kind.noise_sources / 4.0))


def _as_made(frontend: FrontEnd, kind: OtaKind) -> FrontEnd:
    """The stage with the linear range of its transconductors."""
    return dataclasses.replace(frontend, bank=dataclasses.replace(frontend.bank, linearisation=kind.widening))


def compare_levels(
    frontend: FrontEnd, found: TransistorBand, excerpt: Excerpt, levels_db: Sequence[float]
) -> tuple[list[Row], list[Overlay], dict[str, float]]:
    """Transients of one band at several levels.

    Returns:
        Rows of the identified model and of the simulator, an overlay per level, and per level the error of the model as
        designed, in percent: "naive" with the transistors' offset, "naive, offset removed" without.
    """
    rows, overlays, naive_percent = [], [], {}
    netlists = (found.transistors, found.identified, found.naive)
    for level_db in levels_db:
        text = excerpt.source_text(frontend.amplifier, level_db)
        runs = [_transient(frontend, found, elements, text, excerpt) for elements in netlists]
        simulated = _simulated(frontend, found, level_db, excerpt)
        reference = runs[0]
        time_s = np.linspace(0.0, excerpt.duration_s, 20_000)
        reference_v = reference.at("output", time_s)
        rest_v = float(reference_v[0])
        identified_v, naive_v, simulated_v = (run.at("output", time_s) for run in (*runs[1:], simulated))
        error = nrmse_percent(identified_v, reference_v, rest=rest_v)
        analysis = f"transient {level_db:+g} dB"
        rows.append(Row(found.name, LEVEL, analysis, error, LIMIT_PERCENT, "%"))
        at_steps_v = reference.at("output", simulated.time_s)
        simulator_error = nrmse_percent(simulated.nets["output"], at_steps_v, rest=rest_v)
        limit = LIMIT_PERCENT if level_db < CLIPPING_DB else CLIPPING_LIMIT_PERCENT
        rows.append(Row(f"{found.name}, simulator", LEVEL, analysis, simulator_error, limit, "%"))
        name = f"{found.name}, {level_db:+g} dB"
        naive_percent[f"{name}, naive"] = nrmse_percent(naive_v, reference_v, rest=rest_v)
        naive_percent[f"{name}, naive, offset removed"] = nrmse_percent(naive_v + rest_v, reference_v, rest=rest_v)
        drawn = {"transistors": reference_v, "identified": identified_v, "simulator": simulated_v, "naive": naive_v}
        curves = {label: (time_s, values) for label, values in drawn.items()}
        curves = around_peak(curves, frontend.bank.center_hz[found.number - 1])
        overlays.append(Overlay(f"{name} of clipping: {error:.2f} % identified", "Time (s)", "V", curves))
    return rows, overlays, naive_percent


def _simulated(frontend: FrontEnd, found: TransistorBand, level_db: float, excerpt: Excerpt) -> BandWaves:
    """The band in the simulator with the errors of its transistors; its known delay and that of its input removed."""
    stage = _as_made(frontend, found.kind)
    errors = filter_errors(frontend, {found.number - 1: found.found})
    chip = Chip(temperature_c=stage.process.temperature_c, effects=(), systematic=errors)
    microphone_v = excerpt.microphone_v(stage.amplifier, level_db)
    nets = simulate_settled(stage, microphone_v, excerpt.rate_hz, chip=chip)
    delay_s = input_delay_s(excerpt.rate_hz, oversampling_for(excerpt.rate_hz, max(stage.bank.center_hz)))
    band = found.number - 1
    time_s = filter_times_s(stage, nets, delay_s - found.found.damping.lag_s)[band]
    return BandWaves(time_s, {"output": nets["filter"][band].astype(np.float64)})


def _transient(frontend: FrontEnd, found: TransistorBand, elements: str, text: str, excerpt: Excerpt) -> BandWaves:
    step = step_s(frontend.bank.center_hz[found.number - 1], points_per_period=POINTS_PER_PERIOD)
    analysis = f".tran {step:.6g} {excerpt.duration_s:.9g} 0 {step:.6g}"
    (plot,) = run_ngspice(circuit(found.name, elements, SOURCE, analysis, SAVED), files={"microphone.txt": text})
    return BandWaves(plot.real("time"), {"output": plot.real("v(output)") - plot.real("v(common)")})
