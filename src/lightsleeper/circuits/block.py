"""What a standalone block offers: limits of its parameters, equations, noise, power, area, netlist, simulation in time.

The blocks are the readable reference: one formula of physics each, in float64, and held to ngspice by tests. They share
`simulate_block`, Runge-Kutta of order four, which is slow and has no tricks.
"""

import dataclasses
import math
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_continuous_lyapunov

from lightsleeper.circuits.blocks import Process
from lightsleeper.circuits.device import thermal_voltage_v
from lightsleeper.errors import InputError

__all__ = [
    "Block",
    "LinearBlock",
    "check_limits",
    "limited",
    "limited_current",
    "march",
    "simulate_block",
    "state_variance",
]

Float64 = NDArray[np.float64]
MOST_SUBSTEPS = 256


class Block(Protocol):
    """An analog block: one or more voltages in, one voltage out, about mid-supply as their zero.

    States and inputs may have further axes, all alike, for several signals side by side.
    """

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the input nets of its sub-circuit."""

    def rest(self, process: Process) -> Float64:
        """States before the first sample, shape (states,)."""

    def derivative(self, state: Float64, input_v: Float64, process: Process) -> Float64:
        """Large-signal right-hand side d state / dt: states (states, ...) and inputs (inputs, ...) -> (states, ...)."""

    def output(self, state: Float64, input_v: Float64, process: Process) -> Float64:
        """Voltage at the output net, shape (...)."""

    def power_w(self, process: Process) -> float:
        """Power in W, bias tree excluded."""

    def area_mm2(self, process: Process) -> float:
        """Area in mm^2, pads excluded (2.12)."""

    def netlist(self, name: str, process: Process) -> str:
        """Sub-circuit `name` with the input nets in their order, then `out`."""


@runtime_checkable
class LinearBlock(Block, Protocol):
    """A block that has a small-signal transfer function and a noise at its operating point."""

    def transfer(self, frequency_hz: Float64, process: Process) -> NDArray[np.complex128]:
        """Small-signal gain from the first input at rest at each frequency, shape (frequencies,)."""

    def noise_v(self, process: Process) -> float:
        """Rms noise at the output in V, over all frequencies or up to the block's bandwidth where it has one."""


def limited(default: float, low: float, high: float, unit: str) -> Any:
    """A field of a block's dataclass whose value must lie within limits; `check_limits` enforces them."""
    return dataclasses.field(default=default, metadata={"low": low, "high": high, "unit": unit})


def check_limits(block: Any) -> None:
    """InputError where a field made by `limited` lies outside its limits or is not a number."""
    for field in dataclasses.fields(block):
        if "unit" not in field.metadata:
            continue
        value = getattr(block, field.name)
        low, high, unit = (field.metadata[key] for key in ("low", "high", "unit"))
        if not low <= value <= high:
            raise InputError(
                f"{type(block).__name__}: {field.name} is {value:g}; choose {low:g} to {high:g} {unit}".rstrip()
            )


def limited_current(current: Float64, voltage_v: Float64, low_v: float, high_v: float, process: Process) -> Float64:
    """A current that charges a node as long as its transistor has headroom: I (1 - exp(-Vds / UT)) (2.1)."""
    headroom_v = np.where(current > 0.0, high_v - voltage_v, voltage_v - low_v)
    return np.asarray(current * -np.expm1(-headroom_v / thermal_voltage_v(process.temperature_c)))


def simulate_block(
    block: Block, input_v: NDArray[np.floating], rate_hz: float, *, process: Process, tolerance: float = 1e-3
) -> Float64:
    """Noiseless output of a block from rest, by Runge-Kutta of order four; the input is joined by straight lines.

    The steps are halved until that changes the output by less than the tolerance.

    Args:
        block: the block.
        input_v: (inputs, ..., T) volts; (T,) will do for one signal at a single input.
        rate_hz: sample rate.
        process: temperature, supply.
        tolerance: rms change over the rms of the output about its first value.

    Returns:
        Output at the samples (..., T), in V.

    Raises:
        InputError: the input has another number of nets, no sample or one that is not finite, or the samples are too
            far apart for the block.
    """
    samples = np.asarray(input_v, dtype=np.float64)
    samples = samples[None] if samples.ndim == 1 else samples
    name, nets = type(block).__name__, ", ".join(block.inputs)
    if len(samples) != len(block.inputs) or samples.size == 0 or not np.isfinite(samples).all():
        raise InputError(f"{name}: input of shape {samples.shape}; give finite samples (inputs, T) for {nets}")
    coarse = march(block, samples, rate_hz, process=process, substeps=1)
    substeps = 2
    while substeps <= MOST_SUBSTEPS:
        fine = march(block, samples, rate_hz, process=process, substeps=substeps)
        # Too coarse a step may run away to anything, also to what is no number: that compares as False.
        with np.errstate(over="ignore", invalid="ignore"):
            change, swing = np.mean(np.square(fine - coarse)), np.mean(np.square(fine - fine[..., :1]))
        if change <= tolerance**2 * swing:
            return fine
        coarse, substeps = fine, 2 * substeps
    raise InputError(f"{name}: needs steps below {1.0 / (rate_hz * MOST_SUBSTEPS):.2g} s; raise the sample rate")


def march(block: Block, samples_v: Float64, rate_hz: float, *, process: Process, substeps: int) -> Float64:
    """The same with steps that are given: inputs (inputs, ..., T) -> output (..., T), whatever its error."""
    rest = block.rest(process)
    shape = samples_v.shape[1:-1]
    state = np.broadcast_to(rest.reshape(-1, *(1,) * len(shape)), (len(rest), *shape)).copy()
    outputs = [block.output(state, samples_v[..., 0], process)]
    with np.errstate(over="ignore", invalid="ignore"):
        for index in range(samples_v.shape[-1] - 1):
            before, rise = samples_v[..., index], samples_v[..., index + 1] - samples_v[..., index]
            for part in range(substeps):
                inputs_v = [before + rise * ((part + share) / substeps) for share in (0.0, 0.5, 1.0)]
                state = _runge_kutta(block, state, inputs_v, 1.0 / (rate_hz * substeps), process)
            outputs.append(block.output(state, samples_v[..., index + 1], process))
    return np.stack(outputs, axis=-1)


def _runge_kutta(block: Block, state: Float64, inputs_v: list[Float64], step_s: float, process: Process) -> Float64:
    """One step, from the inputs at its beginning, middle and end."""
    begin_v, middle_v, end_v = inputs_v
    one = block.derivative(state, begin_v, process)
    two = block.derivative(state + 0.5 * step_s * one, middle_v, process)
    three = block.derivative(state + 0.5 * step_s * two, middle_v, process)
    four = block.derivative(state + step_s * three, end_v, process)
    return np.asarray(state + step_s / 6.0 * (one + 2.0 * two + 2.0 * three + four))


def state_variance(matrix: Float64, density: Float64) -> Float64:
    """Stationary covariance P of x' = A x + white noise: A P + P A^T + S / 2 = 0.

    Args:
        matrix: A, (states, states), in 1/s.
        density: S, one-sided power densities of the noise of each state (states,), in unit^2/s^2/Hz.
    """
    if np.linalg.eigvals(matrix).real.max() >= 0.0:
        return np.full_like(matrix, math.inf)
    return np.asarray(solve_continuous_lyapunov(matrix, -np.diag(density) / 2.0))
