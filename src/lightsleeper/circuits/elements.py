"""SPICE text of the elements of which the standalone blocks are made."""

import math

from lightsleeper.circuits.blocks import Process
from lightsleeper.circuits.device import KAPPA, thermal_voltage_v

__all__ = ["asymmetric", "capacitor", "headroom", "subcircuit", "transconductor", "white_noise"]

_NOISE_OHM = 1e3


def subcircuit(name: str, inputs: tuple[str, ...], *elements: str) -> str:
    """A sub-circuit with its input nets, then `out`."""
    return "\n".join([f".subckt {name} {' '.join(inputs)} out", *elements, ".ends", ""])


def capacitor(name: str, plus: str, minus: str, capacitance_f: float, *, start_v: float = 0.0) -> str:
    """A capacitor and its voltage before the first step."""
    return f"C{name} {plus} {minus} {capacitance_f:.12g} ic={start_v:.12g}"


def transconductor(
    name: str, plus: str, minus: str, out: str, *, conductance_s: float, process: Process, linearisation: float = 1.0
) -> str:
    """Iout = Gm L VL tanh((V+ - V-) / (L VL)) into `out`, with its white noise 4 k T gamma L Gm (2.2)."""
    range_v = linearisation * process.range_v
    current = f"B{name} 0 {out} I={conductance_s * range_v:.12g}*tanh((v({plus})-v({minus}))/{range_v:.12g})"
    noise = white_noise(name, out, conductance_s=2.0 * linearisation / KAPPA * conductance_s)
    return "\n".join([current, noise])


def white_noise(name: str, out: str, *, conductance_s: float) -> str:
    """Noise current 4 k T g into `out`: a noisy resistor and a controlled source, because B sources are noiseless."""
    gain_s = math.sqrt(conductance_s / _NOISE_OHM)
    return f"R_{name} noise_{name} 0 {_NOISE_OHM:g}\nG_{name} 0 {out} noise_{name} 0 {gain_s:.12g}"


def headroom(current: str, net: str, low_v: float, high_v: float, process: Process) -> str:
    """Expression of a current into `net` that ends at the rails: I (1 - exp(-Vds / UT)) (2.1).

    Mean and half difference of both directions, so that ngspice sees a conductance where the current is zero.
    """
    ut = thermal_voltage_v(process.temperature_c)
    up = f"(1-exp((v({net})-({high_v:.12g}))/{ut:.12g}))"
    down = f"(1-exp((({low_v:.12g})-v({net}))/{ut:.12g}))"
    return f"({current})/2*({up}+{down})+abs({current})/2*({up}-{down})"


def asymmetric(value: str, rising: float, falling: float) -> str:
    """Expression of `value` times `rising` where it is positive, else `falling`, with a conductance at 0."""
    mean, skew = (rising + falling) / 2.0, (rising - falling) / 2.0
    return f"({mean:.12g}*({value})+({skew:.12g})*abs({value}))"
