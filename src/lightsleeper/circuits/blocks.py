"""The blocks of the first stage as parameters of physics: units, limits, power, noise and area of each.

Sources are sections of the analog circuits reference (2.2 transconductor, 2.3 band-pass, 2.5 envelope detectors,
2.6 logarithm, 2.7 neuron, 2.8 comparator, 2.12 area) unless a docstring names another.
"""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lightsleeper.circuits.device import (
    BOLTZMANN_J_PER_K,
    KAPPA,
    bias_current_a,
    linear_range_v,
    ota_noise_density_a2_per_hz,
    thermal_voltage_v,
)
from lightsleeper.circuits.poles import band_rules, output_variance
from lightsleeper.errors import InputError

__all__ = [
    "Amplifier",
    "Comparator",
    "Compressor",
    "EnvelopeDetectors",
    "FilterBank",
    "Integrator",
    "Microphone",
    "NeuralNetwork",
    "Process",
]

Floats = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Process:
    """What the silicon gives to every block."""

    supply_v: float = 1.8
    """Supply voltage, V."""
    temperature_c: float = 27.0
    """Junction temperature, C."""
    capacitor_f_per_um2: float = 1.5e-15
    """MIM capacitor density, F/um^2; GF180 offers 1.0, 1.5 and 2.0 fF/um^2 (2.12)."""
    device_overhead: float = 3.0
    """Layout area over gate area, for wells, guard rings and wiring (2.12, assumption; sweep 2-5)."""
    ota_gate_um2: float = 100.0
    """Gate area of one transconductor: five transistors of about 20 um^2 (assumption)."""
    overhead_current_a: float = 0.3e-6
    """Bias generator and reference, A (assumption of this project: no source gives one for this class)."""

    @property
    def range_v(self) -> float:
        """Linear range of a plain differential pair, V."""
        return linear_range_v(self.temperature_c)

    @property
    def slope_v(self) -> float:
        """UT / kappa: volts per e-fold of current in a diode-connected transistor."""
        return thermal_voltage_v(self.temperature_c) / KAPPA

    def capacitor_area_mm2(self, capacitance_f: float) -> float:
        """Area of a capacitor, mm^2."""
        return capacitance_f / self.capacitor_f_per_um2 * 1e-6

    def ota_area_mm2(self, count: float) -> float:
        """Area of `count` transconductors with their surroundings, mm^2."""
        return count * self.ota_gate_um2 * self.device_overhead * 1e-6


@dataclass(frozen=True, slots=True)
class Microphone:
    """Analog MEMS microphone: pressure in, volts out. Defaults: ICS-40310 (power and parts reference, section 3)."""

    sensitivity_v_per_pa: float = 14.1e-3
    """-37 dBV at 94 dB SPL."""
    noise_pa: float = 0.632e-3
    """Equivalent input noise: 64 dBA below 94 dB SPL, i.e. 30 dBA, Pa rms in 20 Hz to 20 kHz."""


@dataclass(frozen=True, slots=True)
class Amplifier:
    """AC-coupled low-noise amplifier with soft clipping: v_out = clip tanh(gain v_in / clip)."""

    gain: float = 200.0
    """Voltage gain, 1 to 1000."""
    corner_hz: float = 20.0
    """AC-coupling corner, Hz."""
    clip_v: float = 0.4
    """Output swing, V."""
    noise_v: float = 6.0e-6
    """Input-referred noise, V rms in `bandwidth_hz`; what the bias current buys."""
    bandwidth_hz: float = 8000.0
    """Bandwidth, Hz."""
    noise_efficiency: float = 4.0
    """Noise efficiency factor NEF (Steyaert and Sansen, JSSC 22(6) 1987); 2.5-5 for published nanowatt amplifiers."""

    def current_a(self, process: Process) -> float:
        """Supply current from the definition of NEF: Vn = NEF sqrt(pi UT 4kT BW / (2 I))."""
        ut = thermal_voltage_v(process.temperature_c)
        four_kt = 4.0 * BOLTZMANN_J_PER_K * (process.temperature_c + 273.15)
        return self.noise_efficiency**2 * math.pi * ut * four_kt * self.bandwidth_hz / (2.0 * self.noise_v**2)


@dataclass(frozen=True, slots=True)
class FilterBank:
    """Second-order gm-C two-integrator band-pass filters with unity peak gain (2.3)."""

    center_hz: Floats = tuple(float(f) for f in np.geomspace(200.0, 7000.0, 8))
    """Centre frequency per band, 20 Hz to 20 kHz."""
    q: Floats = (2.0,) * 8
    """Quality factor per band, 0.6 to 5."""
    capacitance_f: float = 10e-12
    """Each of the two integrating capacitors, F; noise falls, area and power grow with it."""
    linearisation: float = 1.0
    """Factor L on the linear range and on the bias current, 1 to 4 (2.2)."""

    def __post_init__(self) -> None:
        if len(self.center_hz) != len(self.q) or not self.center_hz:
            raise InputError(
                f"filter bank: {len(self.center_hz)} centre frequencies but {len(self.q)} Qs; give one each"
            )
        if min(self.center_hz) <= 0 or min(self.q) <= 0.5:
            raise InputError("filter bank: centre frequencies must be above 0 Hz and Qs above 0.5")

    @property
    def bands(self) -> int:
        """Number of bands."""
        return len(self.center_hz)

    def range_v(self, process: Process) -> float:
        """Linear range of its transconductors, V."""
        return self.linearisation * process.range_v

    def band_power_w(self, process: Process) -> NDArray[np.float64]:
        """Power per band: VDD VL 2 pi f0 C (2 + 2/Q), shape (bands,), bias tree excluded."""
        f0, q = np.asarray(self.center_hz), np.asarray(self.q)
        current = bias_current_a(1.0, self.capacitance_f, range_v=self.range_v(process)) * f0 * (2.0 + 2.0 / q)
        return process.supply_v * current

    def step_noise_v(
        self, process: Process, step_s: float, substeps: NDArray[np.int64], *, ratios: NDArray[np.float64] | None = None
    ) -> NDArray[np.float64]:
        """Rms noise per simulation step at the output and the internal node, shape (2, bands), in V.

        White current noise S_i = 4 q Ib of each transconductor on C over one step: sigma = sqrt(S_i dt / 2) / C
        (3). Linearisation by L raises Ib, hence the noise power, by L at the same Gm (2.2).
        Both are scaled so that the recursion puts out `output_noise_v`: noise that falls on the steps alone is
        not quite that of the circuit in a band near a quarter of their rate. `ratios` as in `step_rules`.
        """
        f0, q, (drive, damping, outward, inward) = np.asarray(self.center_hz), np.asarray(self.q), self._ratios(ratios)
        per_hz_a = bias_current_a(1.0, self.capacitance_f, range_v=self.range_v(process))
        density = ota_noise_density_a2_per_hz(per_hz_a) * f0
        output = density * (outward + (drive + damping) / q)
        variance = np.stack([output, density * inward]) * step_s / (2.0 * self.capacitance_f**2)
        simulated = output_variance(self.step_rules(step_s / substeps, ratios=ratios), variance, substeps)
        return np.asarray(np.sqrt(variance * self.output_noise_v(process, ratios=ratios) ** 2 / simulated))

    def output_noise_v(self, process: Process, *, ratios: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
        """Integrated output noise, shape (bands,), in V rms: sqrt(2 gamma kT/C (1 + Q)), gamma = 2 L/kappa.

        In general sqrt(gamma kT/C (Gin + Gd + 2 G1) / Gd), with `ratios` as in `step_rules`. L is the linearisation:
        signal power may grow by L^2, noise by L (2.2).
        """
        kt = BOLTZMANN_J_PER_K * (process.temperature_c + 273.15)
        drive, damping, outward, _ = self._ratios(ratios)
        over_damping = (drive + damping + 2.0 * np.asarray(self.q) * outward) / damping
        gamma = 2.0 * self.linearisation / KAPPA
        return np.asarray(np.sqrt(gamma * kt / self.capacitance_f * over_damping))

    def response(self, frequency_hz: NDArray[np.float64]) -> NDArray[np.complex128]:
        """Small-signal transfer function H(j 2 pi f), shape (bands, frequencies)."""
        f0, q = np.asarray(self.center_hz)[:, None], np.asarray(self.q)[:, None]
        ratio = 1j * np.asarray(frequency_hz)[None, :] / f0
        return np.asarray((ratio / q) / (ratio**2 + ratio / q + 1.0))

    def step_rules(
        self, substep_s: NDArray[np.floating] | float, *, ratios: NDArray[np.float64] | None = None
    ) -> NDArray[np.float64]:
        """Coefficients of the recursion at substeps of that length (bands,), shape (13, bands); see `band_rules`.

        `ratios` (4, bands) are the transconductances Gin, Gd, G1 and G2 of a chip over their nominal values.
        """
        angle = 2.0 * math.pi * np.asarray(self.center_hz) * substep_s
        by_q = angle / np.asarray(self.q)
        drive, damping, outward, inward = self._ratios(ratios)
        return band_rules(drive=by_q * drive, damping=by_q * damping, outward=angle * outward, inward=angle * inward)

    def _ratios(self, ratios: NDArray[np.float64] | None) -> NDArray[np.float64]:
        return np.ones((4, self.bands)) if ratios is None else ratios


TIME_NAMES = ("fast_attack_s", "fast_decay_s", "slow_attack_s", "slow_decay_s", "floor_rise_s", "floor_fall_s")
"""Time constants of the detectors, in the order of the kernel's coefficients."""


@dataclass(frozen=True, slots=True)
class EnvelopeDetectors:
    """Per band a fast and a slow full-wave envelope and a noise-floor follower, asymmetric one-poles (2.5 a)."""

    fast_attack_s: Floats = (1e-3,) * 8
    fast_decay_s: Floats = (10e-3,) * 8
    slow_attack_s: Floats = (1e-3,) * 8
    slow_decay_s: Floats = (0.3,) * 8
    floor_rise_s: Floats = (3.0,) * 8
    floor_fall_s: Floats = (0.3,) * 8
    capacitance_f: float = 5e-12
    """Integrating capacitor of each detector, F."""
    rectifier_current_a: float = 10e-9
    """Bias of the full-wave rectifier and follower of one band, A (assumption; 1.1 nW-1.08 uW published, 1)."""

    def times_s(self) -> NDArray[np.float64]:
        """Time constants in s in the order of `TIME_NAMES`, shape (6, bands)."""
        return np.asarray([getattr(self, name) for name in TIME_NAMES])

    def power_w(self, process: Process) -> float:
        """Rectifiers plus the transconductor C VL / tau of each attack and decay, W."""
        currents = self.capacitance_f * process.range_v / self.times_s()
        bands = len(self.fast_attack_s)
        return process.supply_v * (float(currents.sum()) + bands * self.rectifier_current_a)


@dataclass(frozen=True, slots=True)
class Compressor:
    """Logarithm of a diode-connected transistor: v_out = slope ln(1 + v_in / knee), slope = UT / kappa (2.6)."""

    knee_v: float = 1e-3
    """Input at which compression begins, V; set at the noise level of the band."""
    current_a: float = 2e-9
    """Bias per input, A (assumption)."""


@dataclass(frozen=True, slots=True, eq=False)
class NeuralNetwork:
    """Differential-pair tanh neurons, each with a capacitor, on a programmable weight matrix (2.7).

    tau_i h_i' = V_N tanh((sum_j W_ij x_j + b_i) / V_N) - h_i; score = V_N tanh((sum_i v_i h_i + c) / V_N).
    The neurons' own time constants give the network memory: a follower-integrator costs one transconductor.
    """

    hidden_weight: NDArray[np.float64]
    """(neurons, inputs), dimensionless, each within +/- `max_weight`."""
    hidden_bias_v: NDArray[np.float64]
    """(neurons,), V."""
    neuron_s: NDArray[np.float64]
    """(neurons,), time constant of each neuron, 5 ms to 1 s."""
    output_weight: NDArray[np.float64]
    """(neurons,), dimensionless, each within +/- `max_weight`."""
    output_bias_v: float
    """V."""
    max_weight: float = 8.0
    """Largest programmable weight (project default: under three decades of current above 1 % programming error)."""
    unit_current_a: float = 1e-9
    """Current that a weight of 1 carries, A: 1 pF at 1 kHz needs 0.5 nA (2.3)."""
    neuron_current_a: float = 2e-9
    """Tail current of a neuron, A."""
    capacitance_f: float = 5e-12
    """Capacitor of each neuron, F."""

    @property
    def neurons(self) -> int:
        """Number of hidden neurons."""
        return len(self.output_weight)

    def power_w(self, process: Process) -> float:
        """Weights in use times their unit current, the neurons' tails and followers (C VL / tau), W."""
        used = float(np.abs(self.hidden_weight).sum() + np.abs(self.output_weight).sum())
        followers = float((self.capacitance_f * process.range_v / self.neuron_s).sum())
        tails = (self.neurons + 1) * self.neuron_current_a
        return process.supply_v * (used * self.unit_current_a + tails + followers)


@dataclass(frozen=True, slots=True)
class Integrator:
    """Asymmetric integrator: debounces on the way up, holds (hang time) on the way down."""

    rise_s: float = 30e-3
    fall_s: float = 30e-3
    capacitance_f: float = 5e-12

    def power_w(self, process: Process) -> float:
        """Two transconductors C VL / tau, W."""
        return process.supply_v * self.capacitance_f * process.range_v * (1.0 / self.rise_s + 1.0 / self.fall_s)


@dataclass(frozen=True, slots=True)
class Comparator:
    """Comparator with hysteresis: high above the threshold, low below threshold - hysteresis (2.8)."""

    threshold_v: float = 0.0
    hysteresis_v: float = 5e-3
    current_a: float = field(default=20e-9)
    """Tail current, A: 0.1 pF over 1 V within a millisecond needs 0.1 nA; the rest is margin (assumption)."""
