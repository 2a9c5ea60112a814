"""Standalone blocks held to ngspice: AC and noise against their formulas, transients against their equations."""

import numpy as np
from numpy.typing import NDArray

from lightsleeper.circuits.block import Block, LinearBlock, simulate_block
from lightsleeper.circuits.blocks import Process
from lightsleeper.circuits.spice.comparison import Row, nrmse_percent
from lightsleeper.circuits.spice.engine import run_ngspice, source_file
from lightsleeper.circuits.spice.netlist import OPTIONS, circuit

__all__ = ["block_circuit", "small_signal_rows", "spice_transient", "transient_row"]

Floats = NDArray[np.float64]
AC_LIMIT_DB = 0.1
NOISE_LIMIT_PERCENT = 3.0
TRANSIENT_LIMIT_PERCENT = 1.0
STEPS_A_SAMPLE = 2
"""Steps of ngspice in a sample of the input."""


def block_circuit(block: Block, process: Process, *lines: str) -> str:
    """A netlist of the block alone between its input nets and `out`, with sources and analyses."""
    return circuit(
        type(block).__name__,
        OPTIONS,
        f".options temp={process.temperature_c:g} tnom={process.temperature_c:g}",
        block.netlist("block", process),
        f"X1 {' '.join(block.inputs)} out block",
        *lines,
    )


def small_signal_rows(
    name: str,
    block: LinearBlock,
    process: Process,
    band_hz: tuple[float, float],
    *,
    noise_hz: tuple[float, float] | None = None,
    rest_v: float = 0.0,
) -> list[Row]:
    """AC within `band_hz` from the first input, and integrated output noise, of a block at rest.

    Args:
        name: of the rows.
        block: the block.
        process: temperature, supply.
        band_hz: lowest and highest frequency of the AC analysis.
        noise_hz: limits of the noise's integral; None takes four decades more on either side.
        rest_v: steady voltage at the first input; the others are at 0.
    """
    first, *others = block.inputs
    sources = [f"V1 {first} 0 dc {rest_v:.9g} ac 1", *(f"V_{net} {net} 0 0" for net in others)]
    low_hz, high_hz = band_hz
    (plot,) = run_ngspice(block_circuit(block, process, *sources, f".ac dec 50 {low_hz:.9g} {high_hz:.9g}"))
    ratio = plot["v(out)"] / block.transfer(plot.real("frequency"), process)
    error_db = float(np.abs(20.0 * np.log10(np.abs(ratio))).max())
    from_hz, to_hz = noise_hz or (low_hz * 1e-4, high_hz * 1e4)
    noise = f".noise v(out) V1 dec 100 {from_hz:.9g} {to_hz:.9g}"
    plots = run_ngspice(block_circuit(block, process, *sources, noise))
    total_v = float(next(p for p in plots if p.name == "Integrated Noise").real("v(onoise_total)")[0])
    error_percent = 100.0 * abs(block.noise_v(process) / total_v - 1.0)
    return [
        Row(name, "behavioural", "AC", error_db, AC_LIMIT_DB, "dB"),
        Row(name, "behavioural", "noise", error_percent, NOISE_LIMIT_PERCENT, "%"),
    ]


def spice_transient(block: Block, input_v: Floats, rate_hz: float, process: Process) -> Floats:
    """Output of ngspice at the samples (T,) of the inputs (inputs, T), from rest."""
    files, lines = {}, []
    for net, samples_v in zip(block.inputs, input_v, strict=True):
        files[f"{net}.txt"] = source_file(samples_v, rate_hz)
        lines += [
            f"A_{net} %v([{net}]) source_{net}",
            f'.model source_{net} filesource(file="{net}.txt" amploffset=[0] amplscale=[1])',
        ]
    step_s = 1.0 / (STEPS_A_SAMPLE * rate_hz)
    end_s = (input_v.shape[1] - 1) / rate_hz
    lines += [f".tran {step_s:.9g} {end_s:.12g} 0 {step_s:.9g} uic", ".save v(out)"]
    (plot,) = run_ngspice(block_circuit(block, process, *lines), files=files)
    return np.interp(np.arange(input_v.shape[1]) / rate_hz, plot.real("time"), plot.real("v(out)"))


def transient_row(name: str, block: Block, input_v: NDArray[np.floating], rate_hz: float, process: Process) -> Row:
    """NRMSE of the block's equations against ngspice over one stimulus (inputs, T) or (T,)."""
    samples_v = np.atleast_2d(np.asarray(input_v, dtype=np.float64))
    found_v = spice_transient(block, samples_v, rate_hz, process)
    simulated_v = simulate_block(block, samples_v, rate_hz, process=process)
    # The first sample is the state before the first step, which ngspice under `uic` does not always put out.
    error = nrmse_percent(simulated_v[1:], found_v[1:], rest=float(simulated_v[0]))
    return Row(name, "behavioural", "transient", error, TRANSIENT_LIMIT_PERCENT, "%")
