"""One chip of many: which mismatch it drew, how warm it is, what feeds it, how old it is, how it was trimmed."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal

from lightsleeper.circuits.mismatch import EFFECTS, Mismatch, check_range
from lightsleeper.circuits.systematic import FilterErrors
from lightsleeper.circuits.trim import Trim
from lightsleeper.errors import InputError

__all__ = ["Chip"]


@dataclass(frozen=True, slots=True)
class Chip:
    """A chip in its surroundings; the same seed is the same chip, wherever and how often it is drawn.

    The nominal temperature and supply are those of the stage's `Process`: currents and weights were set there.

    Attributes:
        seed: of the draw of mismatch, 0 or more.
        temperature_c: junction temperature, -40 to 125 C.
        supply_v: supply, 1.2 to 3.6 V; None is the nominal one.
        years: age of the programmed charges, 0 to 25 years.
        effects: those of `EFFECTS` that are drawn; what is not named is nominal to the bit.
        mismatch: how far devices stray.
        bias_law: "ptat": currents grow with the absolute temperature, which keeps Gm = kappa I / (2 UT) and with it
            every frequency and time constant; "constant": currents stay, and frequencies fall as 1/T (analog circuits
            reference, 2.11).
        weight_law: "charge": a weight is a difference of charges, w = exp(kappa dQ / (C UT)), and becomes w^(T0/T)
            (2.7); "ratio": it is a ratio of device sizes and stays.
        systematic: errors of the filters that all chips share; None: they follow their equations.
        trim: what calibration has set; None is untrimmed.
    """

    seed: int = 0
    temperature_c: float = 27.0
    supply_v: float | None = None
    years: float = 0.0
    effects: Collection[str] = frozenset(EFFECTS)
    mismatch: Mismatch = field(default_factory=Mismatch)
    bias_law: Literal["ptat", "constant"] = "ptat"
    weight_law: Literal["charge", "ratio"] = "charge"
    systematic: FilterErrors | None = None
    trim: Trim | None = None

    def __post_init__(self) -> None:
        check_range("chip", "seed", self.seed, 0, 2**63 - 1, "")
        check_range("chip", "temperature_c", self.temperature_c, -40.0, 125.0, "C")
        if self.supply_v is not None:
            check_range("chip", "supply_v", self.supply_v, 1.2, 3.6, "V")
        check_range("chip", "years", self.years, 0.0, 25.0, "years")
        strange = {self.effects} if isinstance(self.effects, str) else set(self.effects) - set(EFFECTS)
        if strange:
            named = ", ".join(sorted(strange))
            raise InputError(f"chip: effects is or holds {named}; give a collection of {', '.join(EFFECTS)}")
        for name, known in (("bias_law", ("ptat", "constant")), ("weight_law", ("charge", "ratio"))):
            if getattr(self, name) not in known:
                raise InputError(f"chip: {name} is {getattr(self, name)}; give {' or '.join(known)}")
