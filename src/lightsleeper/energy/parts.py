"""Parts of a device: what each draws in which state, from which source, and how well that is known."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lightsleeper.errors import InputError

__all__ = [
    "Adc",
    "Battery",
    "Detector",
    "Draw",
    "Evidence",
    "Inference",
    "Microcontroller",
    "Sensor",
    "WakeUp",
    "find",
    "state_of",
]

Evidence = Literal["primary", "abstract", "derived", "unsourced"]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
T = TypeVar("T")


class Entry(BaseModel):
    """Base of all catalogue entries: frozen, and no key may go unread."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Figure(Entry):
    """A figure with its source and evidence mark (power_and_parts.md, head)."""

    source: Annotated[str, Field(min_length=1)]
    evidence: Evidence

    @model_validator(mode="after")
    def _says_where_no_source_is(self) -> Self:
        if self.unsourced != self.source.startswith("no source"):
            raise ValueError('evidence "unsourced" and a source that begins with "no source" go together')
        return self

    @property
    def unsourced(self) -> bool:
        """True for a default without a source, to be replaced by the user."""
        return self.evidence == "unsourced"


class Draw(Figure):
    """Draw of a part in one state: `current_a` at `voltage_v`, or `power_w`."""

    current_a: Positive | None = None
    voltage_v: Positive | None = None
    power_w: Positive | None = None

    @model_validator(mode="after")
    def _is_stated_once(self) -> Self:
        by_current = self.current_a is not None and self.voltage_v is not None
        partly = (self.current_a is None) != (self.voltage_v is None)
        if partly or by_current == (self.power_w is not None):
            raise ValueError("give either current_a and voltage_v, or power_w")
        return self

    @property
    def drawn_w(self) -> float:
        """Power in W, however it was stated."""
        if self.current_a is not None and self.voltage_v is not None:
            return self.current_a * self.voltage_v
        assert self.power_w is not None
        return self.power_w


class Sensor(Entry):
    """Microphone or accelerometer: its draw by state."""

    name: str
    kind: str
    states: Annotated[dict[str, Draw], Field(min_length=1)]


class Adc(Figure):
    """Converter core by its Walden figure of merit, in J per conversion step."""

    name: str
    figure_of_merit_j: Positive

    def power_w(self, *, bits: float, rate_hz: float) -> float:
        """P = FOM 2^ENOB fs (power_and_parts.md 2), core only: no driver, reference, clock or decimator."""
        if not (bits > 0 and rate_hz > 0):
            raise InputError(f"converter of {bits} bits at {rate_hz} Hz: give positive numbers")
        return float(self.figure_of_merit_j * 2.0**bits * rate_hz)


class WakeUp(Figure):
    """What it takes to leave sleep."""

    energy_j: NotNegative
    time_s: NotNegative


class Inference(Figure):
    """Energy of one inference of a named task."""

    energy_j: Positive


class Microcontroller(Entry):
    """Microcontroller: draw by state, wake-up, and measured inferences by task."""

    name: str
    states: Annotated[dict[str, Draw], Field(min_length=1)]
    wake_up: WakeUp | None = None
    inferences: dict[str, Inference] = Field(default_factory=dict)


class Detector(Figure):
    """Always-on digital detector: `power_w`, or `energy_j` per decision."""

    name: str
    power_w: Positive | None = None
    energy_j: Positive | None = None

    @model_validator(mode="after")
    def _is_stated_once(self) -> Self:
        if (self.power_w is None) == (self.energy_j is None):
            raise ValueError("give either power_w or energy_j per decision")
        return self

    def drawn_w(self, *, decisions_per_s: float | None = None) -> float:
        """Power in W; a detector stated per decision needs `decisions_per_s`."""
        if self.power_w is not None:
            return self.power_w
        if decisions_per_s is None or not decisions_per_s > 0:
            raise InputError(f"detector {self.name} is stated per decision: give decisions_per_s above 0")
        assert self.energy_j is not None
        return self.energy_j * decisions_per_s


class Battery(Figure):
    """Battery by its nominal capacity and voltage."""

    name: str
    capacity_mah: Positive
    voltage_v: Positive

    @property
    def energy_j(self) -> float:
        """Nominal energy in J: 225 mAh at 3 V hold 2430 J."""
        return self.capacity_mah * 3.6 * self.voltage_v


def state_of(part: Sensor | Microcontroller, state: str) -> Draw:
    """Draw of a part in a state; raises InputError naming the states it has."""
    return find(part.states, state, f"state of {part.name}")


def find(entries: Mapping[str, T], name: str, what: str) -> T:
    """Entry by name; raises InputError naming the entries there are."""
    if name not in entries:
        known = ", ".join(entries) or "none"
        raise InputError(f"no {what} is called {name!r}: the catalogue has {known}; add it in a catalogue file")
    return entries[name]
