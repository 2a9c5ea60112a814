"""The whole first stage: microphone volts in, wake decision out, with its power and its area."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from lightsleeper.circuits.blocks import (
    Amplifier,
    Comparator,
    Compressor,
    EnvelopeDetectors,
    FilterBank,
    Integrator,
    Microphone,
    NeuralNetwork,
    Process,
)
from lightsleeper.circuits.chip import Chip
from lightsleeper.circuits.stream import FrontEndStream
from lightsleeper.errors import InputError

__all__ = ["FrontEnd"]

_NETWORK_ARRAYS = ("hidden_weight", "hidden_bias_v", "neuron_s", "output_weight")


@dataclass(frozen=True, slots=True, eq=False)
class FrontEnd:
    """An analog first stage: amplifier, filter bank, envelopes, logarithm, network, integrator, comparator."""

    network: NeuralNetwork
    process: Process = field(default_factory=Process)
    microphone: Microphone = field(default_factory=Microphone)
    amplifier: Amplifier = field(default_factory=Amplifier)
    bank: FilterBank = field(default_factory=FilterBank)
    envelopes: EnvelopeDetectors = field(default_factory=EnvelopeDetectors)
    compressor: Compressor = field(default_factory=Compressor)
    integrator: Integrator = field(default_factory=Integrator)
    comparator: Comparator = field(default_factory=Comparator)

    def __post_init__(self) -> None:
        inputs = 3 * self.bank.bands
        if self.network.hidden_weight.shape[1] != inputs:
            raise InputError(
                f"network has {self.network.hidden_weight.shape[1]} inputs; {self.bank.bands} bands give {inputs}"
            )
        if self.envelopes.times_s().shape[1] != self.bank.bands:
            raise InputError(f"envelope detectors: give one time constant for each of the {self.bank.bands} bands")

    def power_w(self) -> dict[str, float]:
        """Power by block, in W; the sum is the stage's."""
        vdd = self.process.supply_v
        inputs = 3 * self.bank.bands
        return {
            "amplifier": vdd * self.amplifier.current_a(self.process),
            "filters": float(self.bank.band_power_w(self.process).sum()),
            "envelopes": self.envelopes.power_w(self.process),
            "logarithms": vdd * inputs * self.compressor.current_a,
            "network": self.network.power_w(self.process),
            "integrator": self.integrator.power_w(self.process),
            "comparator": vdd * self.comparator.current_a,
            "bias and reference": vdd * self.process.overhead_current_a,
        }

    def area_mm2(self) -> dict[str, float]:
        """Area by block, in mm^2: capacitors plus `k` times the gates (2.12); pads excluded."""
        cap, ota = self.process.capacitor_area_mm2, self.process.ota_area_mm2
        bands = self.bank.bands
        weights = self.network.hidden_weight.size + self.network.output_weight.size
        return {
            "amplifier": cap(20e-12) + ota(4),
            "filters": bands * (cap(2 * self.bank.capacitance_f) + ota(4 * self.bank.linearisation)),
            "envelopes": bands * (cap(3 * self.envelopes.capacitance_f) + ota(7)),
            "logarithms": ota(3 * bands),
            "network": self.network.neurons * cap(self.network.capacitance_f)
            + ota(0.4 * weights + 2 * self.network.neurons),
            "integrator": cap(self.integrator.capacitance_f) + ota(2),
            "comparator": ota(2),
            "bias and reference": ota(10),
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain nested dict of every parameter, names with units, ready for JSON."""
        data = dataclasses.asdict(self)
        for name in _NETWORK_ARRAYS:
            data["network"][name] = np.asarray(data["network"][name]).tolist()
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Inverse of `to_dict`; InputError names a block or a parameter that is missing or unknown."""
        kinds = {
            "process": Process,
            "microphone": Microphone,
            "amplifier": Amplifier,
            "bank": FilterBank,
            "envelopes": EnvelopeDetectors,
            "compressor": Compressor,
            "network": NeuralNetwork,
            "integrator": Integrator,
            "comparator": Comparator,
        }
        if set(data) != set(kinds):
            raise InputError(f"front end: expected the blocks {', '.join(kinds)}; got {', '.join(data)}")
        blocks: dict[str, Any] = {}
        for name, kind in kinds.items():
            expected = {parameter.name for parameter in dataclasses.fields(kind)}
            if strange := expected ^ set(data[name]):
                raise InputError(f"front end, block {name}: missing or unknown {', '.join(sorted(strange))}")
            values = {key: tuple(v) if isinstance(v, list) else v for key, v in data[name].items()}
            if kind is NeuralNetwork:
                values |= {key: np.asarray(data[name][key], dtype=np.float64) for key in _NETWORK_ARRAYS}
            blocks[name] = kind(**values)
        return cls(**blocks)

    def simulate(
        self,
        microphone_v: NDArray[np.floating[Any]],
        rate_hz: float,
        *,
        chip: Chip | None = None,
        noise_seed: int | None = None,
        filters: bool = True,
    ) -> dict[str, NDArray[np.float32]]:
        """Waveforms of one recording at every net.

        Args:
            microphone_v: (T,) voltage at the microphone's output.
            rate_hz: its sample rate.
            chip: the chip that hears it; None is nominal.
            noise_seed: seed of the circuit's noise; None is noiseless.
            filters: the band-pass outputs too, which are most of the memory and of the time.

        Returns:
            Net name -> V. `time_s` (F,) of the frames at `CONTROL_RATE_HZ`; `fast`, `slow`, `floor` and their
            logarithms `log_fast`, `log_slow`, `log_floor` (bands, F); `hidden` (neurons, F); `score`, `integral` (F,);
            `wake` (F,), 0 or the supply. `filter_time_s` (N,) and `filter` (bands, N): the band-pass outputs at the
            simulation rate. InputError where the voltage is not one channel or not finite.
        """
        volts = np.asarray(microphone_v, dtype=np.float32)
        if volts.ndim != 1 or not np.isfinite(volts).all():
            raise InputError(f"microphone voltage of shape {volts.shape}: give one channel (T,) of finite samples")
        chips = None if chip is None else (chip,)
        stream = FrontEndStream(self, rows=1, rate_hz=rate_hz, noise_seed=noise_seed, chips=chips)
        nets = stream.trace(volts[None, :], filters=filters)
        return {name: values[0] if values.ndim > 1 else values for name, values in nets.items()}
