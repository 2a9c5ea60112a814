"""Device physics that every block shares: constants, the sub-threshold transconductor and its noise.

Equations from Mead, *Analog VLSI and Neural Systems* (1989) and Sarpeshkar, *Ultra Low Power Bioelectronics* (2010),
as collected in the analog circuits reference, sections 2.1-2.3 and 2.12.
"""

import math

__all__ = [
    "BOLTZMANN_J_PER_K",
    "ELEMENTARY_CHARGE_C",
    "KAPPA",
    "bias_current_a",
    "linear_range_v",
    "ota_noise_density_a2_per_hz",
    "thermal_voltage_v",
]

BOLTZMANN_J_PER_K = 1.380649e-23
ELEMENTARY_CHARGE_C = 1.602176634e-19
KAPPA = 0.7
"""Gate coupling of a sub-threshold MOS transistor (1/n); 0.6-0.8 in bulk CMOS."""


def thermal_voltage_v(temperature_c: float = 27.0) -> float:
    """Thermal voltage UT = kT/q, in V; 25.86 mV at 27 C."""
    return BOLTZMANN_J_PER_K * (temperature_c + 273.15) / ELEMENTARY_CHARGE_C


def linear_range_v(temperature_c: float = 27.0, *, kappa: float = KAPPA) -> float:
    """Linear range VL = 2 UT / kappa of a differential pair in weak inversion, in V: Iout = Ib tanh(dV / VL)."""
    return 2.0 * thermal_voltage_v(temperature_c) / kappa


def bias_current_a(corner_hz: float, capacitance_f: float, *, range_v: float) -> float:
    """Tail current Ib = VL 2 pi f C of a transconductor that sets the corner `corner_hz` on `capacitance_f`, in A."""
    return range_v * 2.0 * math.pi * corner_hz * capacitance_f


def ota_noise_density_a2_per_hz(tail_current_a: float) -> float:
    """One-sided white current noise of a five-transistor OTA, four devices at Ib/2 each: S_i = 4 q Ib, in A^2/Hz."""
    return 4.0 * ELEMENTARY_CHARGE_C * tail_current_a
