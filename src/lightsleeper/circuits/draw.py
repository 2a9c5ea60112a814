"""Random errors of the devices of one chip: standard normals by name, scaled by physics."""

import zlib
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lightsleeper.circuits.blocks import Process
from lightsleeper.circuits.device import KAPPA, thermal_voltage_v
from lightsleeper.circuits.mismatch import Mismatch

__all__ = ["Draw"]

Float64 = NDArray[np.float64]
Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Draw:
    """Errors of named groups of devices; a group's draw depends on nothing but the seed and its name.

    What belongs to an effect that is switched off is exactly 1 (ratios) or 0 (offsets).

    Attributes:
        seed: of the chip.
        effects: which effects are on.
        mismatch: standard deviations.
        process: gate areas and the temperature at which the chip is.
    """

    seed: int
    effects: Collection[str]
    mismatch: Mismatch
    process: Process

    def currents(self, effect: str, name: str, shape: Shape) -> Float64:
        """Ratios of copied currents: exp(kappa dVT / UT) (1 + dbeta), which tend to 1 as the chip warms (2.9)."""
        if effect not in self.effects:
            return np.ones(shape)
        sigma_v, sigma = self.mismatch.threshold_sigma_v(self.process), self.mismatch.factor_sigma(self.process)
        exponent = KAPPA / thermal_voltage_v(self.process.temperature_c)
        threshold_v = sigma_v * self._normal(effect, f"{name} threshold", shape)
        return np.asarray(
            np.exp(exponent * threshold_v) * (1.0 + sigma * self._normal(effect, f"{name} factor", shape))
        )

    def offsets(self, effect: str, name: str, shape: Shape) -> Float64:
        """Input offsets of transconductors, V; the same at every temperature."""
        if effect not in self.effects:
            return np.zeros(shape)
        return np.asarray(self.mismatch.offset_sigma_v(self.process) * self._normal(effect, f"{name} offset", shape))

    def capacitors(self, effect: str, name: str, shape: Shape, capacitance_f: float) -> Float64:
        """Ratios of capacitors to their nominal value."""
        return self.relative(effect, name, shape, self.mismatch.capacitor_sigma(self.process, capacitance_f))

    def relative(self, effect: str, name: str, shape: Shape, sigma: float) -> Float64:
        """Log-normal ratios with that standard deviation of the logarithm."""
        if effect not in self.effects:
            return np.ones(shape)
        return np.asarray(np.exp(sigma * self._normal(effect, name, shape)))

    def programmed(self, name: str, shape: Shape, years: float) -> Float64:
        """Ratios of programmed currents to their targets, after `years`."""
        programming = self.relative("weights", f"{name} programming", shape, self.mismatch.programming)
        return programming * self.relative("drift", f"{name} drift", shape, self.mismatch.drift_per_year * years)

    def _normal(self, effect: str, name: str, shape: Shape) -> Float64:
        generator = np.random.default_rng([self.seed, zlib.crc32(f"{effect}: {name}".encode())])
        return np.asarray(generator.standard_normal(shape))
