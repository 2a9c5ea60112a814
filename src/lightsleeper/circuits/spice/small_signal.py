"""Behavioural level at small signals: operating point, AC and noise, simulator against ngspice."""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from lightsleeper.circuits.frontend import FrontEnd
from lightsleeper.circuits.spice.comparison import Overlay, Row
from lightsleeper.circuits.spice.engine import run_ngspice
from lightsleeper.circuits.spice.netlist import amplifier, band, circuit, first_stage, preamble
from lightsleeper.circuits.spice.raw_file import Plot
from lightsleeper.circuits.spice.transient import band_name
from lightsleeper.circuits.stream import FrontEndStream

__all__ = ["ac_rows", "noise_rows", "operating_point_rows"]

Floats = NDArray[np.float64]
AC_LIMIT_DB = 0.1
NOISE_LIMIT_PERCENT = 3.0
POINT_LIMIT_PERCENT = 1.0
"""Of the linear range."""
PASS_BAND_DB = 20.0
"""AC of the simulator is compared where a band passes within this range of its peak."""
IMPULSE_S = 0.5
NOISE_S = 4.0
SETTLING_S = 0.2
NOISE_RUNS = 10


def operating_point_rows(frontend: FrontEnd) -> list[Row]:
    """Rest of neurons, score and integral without a signal."""
    (plot,) = run_ngspice(circuit("rest", first_stage(frontend), "V1 microphone 0 0", ".op", ".save all"))
    stream = FrontEndStream(frontend, rows=1, rate_hz=16_000.0)
    inputs = np.zeros((1, 4000, 3 * frontend.bank.bands), np.float32)
    hidden, score = stream.network(inputs)
    errors = [
        abs(plot.real(f"v(hidden{neuron})")[0] - hidden[0, -1, neuron - 1])
        for neuron in range(1, frontend.network.neurons + 1)
    ]
    errors += [abs(plot.real(f"v({net})")[0] - score[0, -1]) for net in ("score", "integral")]
    error = float(100.0 * max(errors) / frontend.process.range_v)
    return [
        Row(
            "network, integrator",
            "behavioural",
            "operating point",
            error,
            POINT_LIMIT_PERCENT,
            "% of linear range",
        )
    ]


def ac_rows(frontend: FrontEnd, rate_hz: float) -> tuple[list[Row], list[Overlay]]:
    """Magnitude from the microphone to every band: ngspice against the equations and against the simulator.

    The simulator's is the spectrum of its answer to an impulse, compared up to 0.45 of the sample rate.
    """
    (plot,) = run_ngspice(
        circuit("AC", first_stage(frontend), "V1 microphone 0 ac 1", ".ac dec 100 20 20k", ".save all")
    )
    frequency_hz = plot.real("frequency")
    ratio = 1j * frequency_hz / frontend.amplifier.corner_hz
    coupled = frontend.amplifier.gain * ratio / (1.0 + ratio)
    equations = np.abs(frontend.bank.response(frequency_hz) * coupled)
    simulated_hz, simulated = impulse_magnitude(frontend, rate_hz)
    compared_hz = frequency_hz[frequency_hz < 0.45 * rate_hz]
    by_equation, by_simulator, curves = {}, {}, {}
    for number in range(1, frontend.bank.bands + 1):
        name = band_name(frontend, number)
        spice = np.abs(plot[f"v(band{number})"])
        passed = spice > spice.max() * 10.0 ** (-PASS_BAND_DB / 20.0)
        by_equation[name] = _largest_db(spice[passed] / equations[number - 1][passed])
        found = np.interp(compared_hz, simulated_hz, simulated[number - 1])
        inside = passed[: len(compared_hz)]
        by_simulator[name] = _largest_db(found[inside] / spice[: len(compared_hz)][inside])
        curves[f"{name}, ngspice"] = (frequency_hz, 20.0 * np.log10(spice))
        curves[f"{name}, simulator"] = (compared_hz, 20.0 * np.log10(np.maximum(found, 1e-9)))
    rows = [
        Row.worst("band-pass equations", "behavioural", "AC", by_equation, AC_LIMIT_DB, "dB"),
        Row.worst("band-pass", "behavioural", "AC", by_simulator, AC_LIMIT_DB, "dB"),
    ]
    return rows, [Overlay("Gain from the microphone to the bands", "Frequency (Hz)", "dB", curves)]


def impulse_magnitude(frontend: FrontEnd, rate_hz: float) -> tuple[Floats, Floats]:
    """Frequencies (F,) and small-signal magnitudes (bands, F) of the simulator from the microphone to the bands."""
    impulse = np.zeros(round(IMPULSE_S * rate_hz))
    # Small enough for every tanh to be straight, large enough for float32.
    impulse[0] = 0.01 * frontend.process.range_v / frontend.amplifier.gain
    nets = frontend.simulate(impulse, rate_hz)
    filtered = nets["filter"].astype(np.float64)
    step_s = float(nets["filter_time_s"][-1]) / filtered.shape[1]
    spectrum = np.abs(np.fft.rfft(filtered, axis=1)) / impulse[0] * step_s * rate_hz
    return np.fft.rfftfreq(filtered.shape[1], step_s), spectrum


def _largest_db(ratio: Floats) -> float:
    return float(np.abs(20.0 * np.log10(ratio)).max())


def noise_rows(frontend: FrontEnd, rate_hz: float) -> list[Row]:
    """Rms output noise of every band: of its own transconductors, and with the noise of the input.

    ngspice integrates its own noise from 0.1 Hz to 10 MHz, that with the input up to the amplifier's bandwidth or half
    the sample rate; the simulator's is measured on 38 s of silence, 1 % uncertain in the lowest bands.
    """
    bands = range(1, frontend.bank.bands + 1)
    names = [band_name(frontend, number) for number in bands]
    quiet = dataclasses.replace(
        frontend,
        microphone=dataclasses.replace(frontend.microphone, noise_pa=0.0),
        amplifier=dataclasses.replace(frontend.amplifier, noise_v=1e-12),
    )
    top_hz = min(frontend.amplifier.bandwidth_hz, rate_hz / 2.0)
    own = {
        name: _spice_noise_v(
            circuit(
                "noise",
                preamble(frontend),
                *band(frontend, number),
                "V1 amplified 0 ac 1",
                f".noise v(band{number}) V1 dec 100 0.1 10meg",
            )
        )
        for name, number in zip(names, bands, strict=True)
    }
    whole = {
        name: _spice_noise_v(
            circuit(
                "noise",
                preamble(frontend),
                *amplifier(frontend),
                *band(frontend, number),
                "V1 microphone 0 ac 1",
                f".noise v(band{number}) V1 dec 200 0.1 {top_hz:.6g}",
            )
        )
        for name, number in zip(names, bands, strict=True)
    }
    rows = []
    for block, stage, spice in (("band-pass", quiet, own), ("amplifier and band-pass", frontend, whole)):
        measured_v = _simulated_noise_v(stage, rate_hz)
        errors = {name: float(100.0 * abs(measured_v[index] / spice[name] - 1.0)) for index, name in enumerate(names)}
        rows.append(Row.worst(block, "behavioural", "noise", errors, NOISE_LIMIT_PERCENT, "%"))
    return rows


def _spice_noise_v(netlist: str) -> float:
    plots: list[Plot] = run_ngspice(netlist)
    return float(next(p for p in plots if p.name == "Integrated Noise").real("v(onoise_total)")[0])


def _simulated_noise_v(frontend: FrontEnd, rate_hz: float) -> Floats:
    """Rms of the band-pass outputs (bands,) in silence, settled, over several noise seeds."""
    silence = np.zeros(round(NOISE_S * rate_hz))
    total = np.zeros(frontend.bank.bands)
    for seed in range(NOISE_RUNS):
        nets = frontend.simulate(silence, rate_hz, noise_seed=seed)
        settled = nets["filter"][:, nets["filter_time_s"] > SETTLING_S]
        total += np.mean(settled.astype(np.float64) ** 2, axis=1)
    return np.asarray(np.sqrt(total / NOISE_RUNS))
