"""The parts catalogue: built in, and extended by a TOML file of the user."""

import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from lightsleeper.energy.parts import Adc, Battery, Detector, Entry, Microcontroller, Sensor, find
from lightsleeper.errors import InputError

__all__ = ["Catalogue", "load_catalogue"]

BUILT_IN = "built-in parts.toml"


class Catalogue(Entry):
    """Parts by kind and name. Each method gives one part, or InputError naming those there are."""

    microphones: dict[str, Sensor] = Field(default_factory=dict)
    accelerometers: dict[str, Sensor] = Field(default_factory=dict)
    adcs: dict[str, Adc] = Field(default_factory=dict)
    microcontrollers: dict[str, Microcontroller] = Field(default_factory=dict)
    detectors: dict[str, Detector] = Field(default_factory=dict)
    batteries: dict[str, Battery] = Field(default_factory=dict)

    def sensor(self, name: str) -> Sensor:
        """Microphone or accelerometer."""
        return find({**self.microphones, **self.accelerometers}, name, "microphone or accelerometer")

    def adc(self, name: str) -> Adc:
        """Converter core."""
        return find(self.adcs, name, "converter")

    def microcontroller(self, name: str) -> Microcontroller:
        """Microcontroller."""
        return find(self.microcontrollers, name, "microcontroller")

    def detector(self, name: str) -> Detector:
        """Always-on digital detector."""
        return find(self.detectors, name, "detector")

    def battery(self, name: str) -> Battery:
        """Battery."""
        return find(self.batteries, name, "battery")


def load_catalogue(extra: Path | None = None) -> Catalogue:
    """Built-in catalogue; entries of the TOML file `extra` are added, and replace those of the same name whole.

    Raises:
        InputError: the file is missing or no TOML, or an entry is wrong; the line names file, entry and fault.
    """
    text = resources.files("lightsleeper.energy").joinpath("parts.toml").read_text(encoding="utf-8")
    parts = _named(_parsed(text, BUILT_IN), BUILT_IN)
    if extra is None:
        return _validated(parts, BUILT_IN)
    try:
        text = extra.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{extra}: cannot be read as text ({error}): give a TOML file of parts") from error
    own = _named(_parsed(text, str(extra)), str(extra))
    merged = {kind: {**parts.get(kind, {}), **own.get(kind, {})} for kind in {**parts, **own}}
    return _validated(merged, str(extra))


def _parsed(text: str, file: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{file}: no valid TOML: {error}") from error


def _named(data: dict[str, Any], file: str) -> dict[str, dict[str, Any]]:
    """The parts with their key as their name."""
    named: dict[str, dict[str, Any]] = {}
    for kind, entries in data.items():
        if kind not in Catalogue.model_fields:
            raise InputError(f"{file}: no kind of part is called {kind!r}: use {', '.join(Catalogue.model_fields)}")
        if not isinstance(entries, dict) or not all(isinstance(entry, dict) for entry in entries.values()):
            raise InputError(f"{file}: {kind} must hold one table per part, such as [{kind}.NAME]")
        named[kind] = {name: {**entry, "name": name} for name, entry in entries.items()}
    return named


def _validated(parts: dict[str, dict[str, Any]], file: str) -> Catalogue:
    try:
        return Catalogue.model_validate(parts)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(key) for key in first["loc"])
        raise InputError(f"{file}: {place}: {first['msg'].removeprefix('Value error, ')}") from error
