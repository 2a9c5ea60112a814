"""The parts catalogue: sources, arithmetic, user files, refusals."""

from pathlib import Path

import pytest

from lightsleeper.energy import Catalogue, load_catalogue
from lightsleeper.energy.parts import Draw, Figure, state_of
from lightsleeper.errors import InputError

CATALOGUE = load_catalogue()


def figures(entry: object) -> list[Figure]:
    """Every figure with a source inside a catalogue, however deep."""
    if isinstance(entry, dict):
        return [figure for item in entry.values() for figure in figures(item)]
    own = [entry] if isinstance(entry, Figure) else []
    fields = type(entry).model_fields if hasattr(type(entry), "model_fields") else ()
    return own + [figure for name in fields for figure in figures(getattr(entry, name))]


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "own.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_figure_names_a_source_and_only_the_known_gaps_have_none():
    known = figures(CATALOGUE)
    assert len(known) > 30
    assert all(len(figure.source) > 10 for figure in known)
    unsourced = {type(figure).__name__ for figure in known if figure.unsourced}
    assert unsourced == {"WakeUp", "Battery"}


@pytest.mark.parametrize(
    ("sensor", "state", "power_w"),
    [
        ("ICS-40310", "active", 16e-6),
        ("ICS-41350", "low_power", 333e-6),
        ("VM1010", "listening", 5.4e-6),
        ("ADXL362", "active", 4e-6),
    ],
)
def test_sensor_draws(sensor, state, power_w):
    assert state_of(CATALOGUE.sensor(sensor), state).drawn_w == pytest.approx(power_w)


@pytest.mark.parametrize(("bits", "power_w"), [(12, 4.2e-6), (14, 16.8e-6)])
def test_converter_core_of_the_survey(bits, power_w):
    core = CATALOGUE.adc("survey median since 2015")
    assert core.power_w(bits=bits, rate_hz=16000) == pytest.approx(power_w, rel=0.01)


def test_inference_energy_agrees_with_active_power_and_speed():
    mcu = CATALOGUE.microcontroller("STM32U575")
    assert 25.9 * mcu.inferences["keyword_spotting"].energy_j == pytest.approx(
        state_of(mcu, "active").drawn_w, rel=0.01
    )


def test_detector_by_power_and_by_decision():
    assert CATALOGUE.detector("Shan 2021 keyword chip").drawn_w() == 510e-9
    assert CATALOGUE.detector("DeltaKWS").drawn_w(decisions_per_s=50) == pytest.approx(1.8e-6)
    with pytest.raises(InputError, match="decisions_per_s"):
        CATALOGUE.detector("DeltaKWS").drawn_w()


def test_battery_energy():
    assert CATALOGUE.battery("CR2032").energy_j == pytest.approx(2430)


def test_user_file_adds_and_replaces(tmp_path):
    path = written(
        tmp_path,
        """
        [batteries.cell]
        capacity_mah = 40
        voltage_v = 3.7
        source = "data sheet of the cell"
        evidence = "primary"
        [batteries.CR2032]
        capacity_mah = 235
        voltage_v = 3.0
        source = "maker's data sheet"
        evidence = "primary"
        """,
    )
    merged = load_catalogue(path)
    assert merged.battery("cell").energy_j == pytest.approx(532.8)
    assert merged.battery("CR2032").capacity_mah == 235
    assert merged.microphones == CATALOGUE.microphones
    assert load_catalogue() == CATALOGUE


BATTERY = (
    '[batteries.cell]\ncapacity_mah = {mah}\nvoltage_v = 3.7\nsource = "{source}"\nevidence = "{evidence}"\n{more}'
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BATTERY.format(mah=-1, source="sheet", evidence="primary", more=""), r"batteries\.cell\.capacity_mah"),
        (BATTERY.format(mah="nan", source="sheet", evidence="primary", more=""), r"batteries\.cell\.capacity_mah"),
        (BATTERY.format(mah=1, source="sheet", evidence="rumour", more=""), r"batteries\.cell\.evidence"),
        (BATTERY.format(mah=1, source="", evidence="primary", more=""), r"batteries\.cell\.source"),
        (BATTERY.format(mah=1, source="sheet", evidence="unsourced", more=""), "no source"),
        (BATTERY.format(mah=1, source="no source: guess", evidence="primary", more=""), "no source"),
        (BATTERY.format(mah=1, source="sheet", evidence="primary", more="volts = 3"), r"batteries\.cell\.volts"),
        ("[motors.big]\npower_w = 1", "motors"),
        ("batteries = 3", "one table per part"),
        ("[batteries", "no valid TOML"),
        (
            '[microphones.m]\nkind = "x"\n[microphones.m.states.on]\ncurrent_a = 1e-6\n'
            'source = "s"\nevidence = "primary"',
            r"microphones\.m\.states\.on: give either",
        ),
        ('[detectors.d]\nsource = "s"\nevidence = "primary"', r"detectors\.d: give either"),
        ('[microphones.m]\nkind = "x"\nstates = {}', r"microphones\.m\.states"),
    ],
)
def test_wrong_entries_are_named_in_one_line(tmp_path, text, message):
    path = written(tmp_path, text)
    with pytest.raises(InputError, match=message) as caught:
        load_catalogue(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_and_binary_files_are_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.toml"):
        load_catalogue(tmp_path / "none.toml")
    (tmp_path / "raw.toml").write_bytes(b"\xff\xfe\x00\xd8")
    with pytest.raises(InputError, match=r"raw\.toml"):
        load_catalogue(tmp_path / "raw.toml")


@pytest.mark.parametrize("kind", ["sensor", "adc", "microcontroller", "detector", "battery"])
def test_unknown_parts_are_refused_with_the_known_ones(kind):
    with pytest.raises(InputError, match=r"'nothing'.*the catalogue has"):
        getattr(CATALOGUE, kind)("nothing")
    with pytest.raises(InputError, match="has none"):
        getattr(Catalogue(), kind)("nothing")


def test_unknown_state_names_the_known_ones():
    with pytest.raises(InputError, match="low_power, standard"):
        state_of(CATALOGUE.sensor("ICS-41350"), "loud")


@pytest.mark.parametrize("draw", [{}, {"current_a": 1.0}, {"current_a": 1.0, "voltage_v": 1.0, "power_w": 1.0}])
def test_draw_is_stated_exactly_once(draw):
    with pytest.raises(ValueError, match="give either"):
        Draw(source="sheet", evidence="primary", **draw)


@pytest.mark.parametrize(("bits", "rate_hz"), [(0, 16000), (14, 0), (14, -1)])
def test_converter_refuses_what_is_not_positive(bits, rate_hz):
    with pytest.raises(InputError, match="positive"):
        CATALOGUE.adc("survey median").power_w(bits=bits, rate_hz=rate_hz)
