"""What calibration may set on a chip: a bounded number of bits for every quantity that a factory can measure."""

import dataclasses
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lightsleeper.circuits.mismatch import check_range

__all__ = ["Trim", "TrimRange"]

Codes = NDArray[np.int64]
Float64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TrimRange:
    """Bits of a trim and how far each reaches to either side (project defaults)."""

    bits: int = 6
    """Of every trim, 1 to 12."""
    center: float = 0.16
    """Of the bias of all four transconductors of a band, relative."""
    q: float = 0.16
    """Of its damping and its input together, relative."""
    gain: float = 0.16
    """Of its input alone, relative."""
    detector_v: float = 6e-3
    """Of a rectifier's offset, V."""
    envelope_v: float = 6e-3
    """Of a follower's offset, V."""
    swing: float = 0.12
    """Of a neuron's tail current, relative."""
    neuron_v: float = 0.03
    """Of a neuron's bias, V."""
    threshold_v: float = 0.02
    """Of the comparator's threshold, V."""

    def __post_init__(self) -> None:
        check_range("trim", "bits", self.bits, 1, 12, "bits")
        for name in NAMES:
            highest, unit = (0.5, "V") if name.endswith("_v") else (0.5, "")
            check_range("trim", name, getattr(self, name), 0.0, highest, unit)

    def step(self, name: str) -> float:
        """Value of one code."""
        return float(2.0 * getattr(self, name) / 2**self.bits)

    def code(self, name: str, value: Float64) -> Codes:
        """Nearest code to the wanted value; beyond the reach, the last one."""
        half = 2 ** (self.bits - 1)
        return np.asarray(np.clip(np.rint(value / self.step(name)), -half, half - 1).astype(np.int64))


NAMES = tuple(item.name for item in dataclasses.fields(TrimRange) if item.name != "bits")


@dataclass(frozen=True, slots=True, eq=False)
class Trim:
    """Codes of all trims of a chip with B bands and N neurons; each from -2^(bits - 1) to 2^(bits - 1) - 1."""

    center: Codes
    """(B,)"""
    q: Codes
    """(B,)"""
    gain: Codes
    """(B,)"""
    detector_v: Codes
    """(B,)"""
    envelope_v: Codes
    """(3 B,)"""
    swing: Codes
    """(N,)"""
    neuron_v: Codes
    """(N,)"""
    threshold_v: Codes
    """()"""
    range: TrimRange = field(default_factory=TrimRange)

    @classmethod
    def neutral(cls, bands: int, neurons: int, trim_range: TrimRange | None = None) -> "Trim":
        """All codes 0, which changes nothing."""
        shapes: dict[str, tuple[int, ...]] = dict.fromkeys(("center", "q", "gain", "detector_v"), (bands,))
        shapes |= {"envelope_v": (3 * bands,), "swing": (neurons,), "neuron_v": (neurons,), "threshold_v": ()}
        codes = {name: np.zeros(shape, np.int64) for name, shape in shapes.items()}
        return cls(**codes, range=trim_range or TrimRange())

    def having(self, name: str, codes: Codes) -> "Trim":
        """The same with other codes of one trim."""
        return Trim(**{item.name: getattr(self, item.name) for item in dataclasses.fields(self)} | {name: codes})

    def value(self, name: str) -> Float64:
        """What the codes of one trim add, relative or in V."""
        codes: Codes = getattr(self, name)
        return np.asarray(codes * self.range.step(name))

    def ratios(self) -> Float64:
        """(4, B) by which the bias currents of Gin, Gd, G1 and G2 are raised."""
        center, q, gain = (1.0 + self.value(name) for name in ("center", "q", "gain"))
        return np.stack([center * q * gain, center * q, center, center])

    @property
    def total_bits(self) -> int:
        """Bits of all trims together."""
        return self.range.bits * sum(np.size(getattr(self, name)) for name in NAMES)
