"""What is asked of a design: complete, typed, written out with every default."""

import tomllib
from pathlib import Path
from typing import Any, Self

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from lightsleeper.errors import InputError
from lightsleeper.recordings import SceneSettings

__all__ = [
    "DeviceSpec",
    "EvaluationSpec",
    "FirstStageSpec",
    "SceneSpec",
    "SecondStageSpec",
    "Spec",
    "TargetSpec",
    "TrainingSpec",
    "load_spec",
]

BUILT_IN_WAKE = "glass_breaking"
BUDGET_PER_HOUR = 6.0


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class TargetSpec(_Part):
    """What the first stage's threshold is chosen for; exactly one of the two."""

    false_wakes_per_hour: float | None = Field(default=None, gt=0)
    """Budget on the standard scene, 60 foreign sounds an hour; 6 where nothing is said."""
    recall: float | None = Field(default=None, gt=0, le=1)
    """Share of wake events that must be heard."""

    @model_validator(mode="before")
    @classmethod
    def _default(cls, data: Any) -> Any:
        """Write the default out, so that a saved spec states its target."""
        return {"false_wakes_per_hour": BUDGET_PER_HOUR} if data == {} else data

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        if (self.false_wakes_per_hour is None) == (self.recall is None):
            raise ValueError("give either false_wakes_per_hour or recall")
        return self


class SceneSpec(_Part):
    """The standard scene (DESIGN): levels, densities and fades."""

    rate_hz: float = Field(default=16_000.0, ge=8_000, le=96_000)
    floor_db_spl: float = Field(default=40.0, ge=0, le=120)
    floor_spread_db: float = Field(default=6.0, ge=0, le=20)
    wake_snr_db: float = Field(default=10.0, ge=-20, le=60)
    foreign_snr_db: tuple[float, float] = (0.0, 20.0)
    foreign_per_hour: float = Field(default=60.0, gt=0)
    fade_s: float = Field(default=0.3, ge=0)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.foreign_snr_db[0] > self.foreign_snr_db[1]:
            raise ValueError("foreign_snr_db: give the lowest, then the highest level")
        return self

    def settings(self, *, duration_s: float, wake_per_hour: float, foreign_per_hour: float) -> SceneSettings:
        """Scene settings at the given density; figures are converted to `foreign_per_hour` of the spec."""
        values = self.model_dump() | {"foreign_per_hour": foreign_per_hour}
        return SceneSettings(duration_s=duration_s, wake_per_hour=wake_per_hour, **values)


class FirstStageSpec(_Part):
    """Size of the analog stage and the choices that training does not make."""

    bands: int = Field(default=8, ge=1, le=32)
    neurons: int = Field(default=8, ge=1, le=64)
    low_hz: float = Field(default=200.0, ge=20)
    high_hz: float = Field(default=7_000.0, le=20_000)
    capacitance_f: float = Field(default=10e-12, ge=0.5e-12, le=100e-12)
    """Of the filters' integrators: sets their noise, power and area."""
    amplifier_gain: float = Field(default=200.0, ge=1, le=1000)
    hysteresis_v: float = Field(default=5e-3, ge=0, le=0.05)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low_hz >= self.high_hz:
            raise ValueError(f"low_hz {self.low_hz:g} must lie below high_hz {self.high_hz:g}")
        return self


class SecondStageSpec(_Part):
    """The digital stage that hears what the first stage lets through."""

    keep_recall: float = Field(default=0.9, gt=0, le=1)
    """Share of the first stage's true wakes that the second stage must accept in cross-validation."""
    window_s: float = Field(default=2.0, ge=0.5, le=10)
    preroll_s: float = Field(default=0.5, ge=0, le=5)


class TrainingSpec(_Part):
    """Length of training."""

    scenes: int = Field(default=64, ge=2)
    """Training streams in all."""
    scene_s: float = Field(default=150.0, ge=30)
    first_steps: int = Field(default=200, ge=10)
    """Steps of the network before the circuit moves."""
    circuit_steps: int = Field(default=16, ge=0)
    """Steps through the circuit."""
    network_steps: int = Field(default=900, ge=10)
    """Steps of the network on the final circuit."""
    chips: int = Field(default=64, ge=0)
    """Chips that hear the training streams in turn, each with mismatch of its own; 0 for the nominal stage alone."""
    digital_steps: int = Field(default=350, ge=10)
    """Steps of the digital stage."""


class EvaluationSpec(_Part):
    """Size of the validation and test streams."""

    test_fold: int | None = None
    """Fold kept for the test; the highest where nothing is said."""
    dense_hours: float = Field(default=2.0, gt=0)
    floor_hours: float = Field(default=2.0, gt=0)
    validation_hours: float = Field(default=1.0, gt=0)
    """Dense hours, and as many floor hours, per fold of cross-validation."""
    snr_db: tuple[float, ...] = (0.0, 5.0, 10.0, 20.0)


class DeviceSpec(_Part):
    """Parts and duty of the device; names of the parts catalogue."""

    battery: str = "CR2032"
    microcontroller: str = "STM32U575"
    sensor: str = "ICS-40310"
    on_time_s: float = Field(default=2.0, gt=0)
    """Time that the second stage runs after a wake."""
    events_per_hour: float = Field(default=1.0, ge=0)
    """True wake events that the battery must carry, mean over 24 h."""


class Spec(_Part):
    """The whole question: which sound, which recordings, which device."""

    wake: str = BUILT_IN_WAKE
    recordings: str = ""
    """Folder of labelled recordings; empty for the built-in synthetic ones."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    skip_bad: bool = False
    target: TargetSpec = TargetSpec(false_wakes_per_hour=BUDGET_PER_HOUR)
    scene: SceneSpec = SceneSpec()
    first_stage: FirstStageSpec = FirstStageSpec()
    second_stage: SecondStageSpec = SecondStageSpec()
    training: TrainingSpec = TrainingSpec()
    evaluation: EvaluationSpec = EvaluationSpec()
    device: DeviceSpec = DeviceSpec()

    def to_toml(self) -> str:
        """TOML with every default written out; what is unset is left out."""
        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))


def load_spec(path: Path | None, **overrides: Any) -> Spec:
    """Spec from a TOML file (none: all defaults), with top-level values replaced.

    Raises InputError, one line, for a missing file, broken TOML, an unknown key or a value out of range.
    """
    data: dict[str, Any] = {}
    if path is not None:
        try:
            data = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise InputError(f"{path}: cannot be read as a TOML spec ({error})") from None
    try:
        return Spec.model_validate(data | overrides)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "spec"
        raise InputError(f"{path or 'spec'}: {where}: {first['msg'].removeprefix('Value error, ')}") from None
