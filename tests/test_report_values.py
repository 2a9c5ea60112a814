"""Figures as text, and the keys that lead to them."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightsleeper.errors import InputError
from lightsleeper.report.values import STYLES, Facts, format_value, key_of, resolve, style_for


@pytest.mark.parametrize(
    ("value", "style", "text"),
    [
        (0.95, "share", "95.0 %"),
        ([0.878, 0.98], "share", "87.8 to 98.0 %"),
        (528.4, "percent", "+528 %"),
        (-18.46, "percent", "−18.5 %"),
        ([-30.6, 8.75], "percent", "−30.6 to +8.75 %"),
        (4.312, "rate", "4.31"),
        (45.25, "rate", "45.2"),
        (1234.5, "rate", "1,234"),
        (36e-6, "power", "36.0 µW"),
        (1.337e-3, "power", "1.34 mW"),
        (5.1e-7, "power", "510 nW"),
        (999.6e-6, "power", "1.00 mW"),
        (0, "power", "0 W"),
        ([9e-7, 1.1e-6], "power", "900 nW to 1.10 µW"),
        (0.271, "voltage", "271 mV"),
        (-0.05, "voltage", "−50.0 mV"),
        (0.1844, "seconds", "184 ms"),
        (41.7, "seconds", "41.7 s"),
        (7100.0, "frequency", "7.10 kHz"),
        (2e-12, "capacitance", "2.00 pF"),
        (111.4, "days", "111 days"),
        ([87.8, 137.0], "days", "87.8 to 137 days"),
        (0.413, "area", "0.41 mm²"),
        (40.0, "sound_level", "40 dB SPL"),
        (2000, "count", "2,000"),
        (80.0, "count", "80"),
        (True, "plain", "yes"),
        (20260102, "plain", "20260102"),
        (0.123456, "plain", "0.1235"),
        (["dog", "rain"], "plain", "dog, rain"),
        (["a", "b", "c"], "text", "a, b, c"),
        (None, "share", "-"),
        (math.nan, "power", "-"),
        ("", "text", "-"),
        ([], "plain", "-"),
        ([None, 1.0], "rate", "-"),
    ],
)
def test_known_texts(value, style, text):
    assert format_value(value, style) == text


@given(st.floats(1e-14, 1e11))
def test_engineering_text_keeps_three_digits(power_w: float):
    number, unit = format_value(power_w, "power").split(" ")
    scale = {"f": 1e-15, "p": 1e-12, "n": 1e-9, "µ": 1e-6, "m": 1e-3, "": 1, "k": 1e3, "M": 1e6, "G": 1e9}
    assert float(number) * scale[unit.removesuffix("W")] == pytest.approx(power_w, rel=0.0051)
    assert sum(character.isdigit() for character in number) == 3


@pytest.mark.parametrize("style", sorted(set(STYLES) - {"text", "plain"}))
@pytest.mark.parametrize("value", ["much", True, {"a": 1}])
def test_what_is_no_number_is_refused(style: str, value: object):
    with pytest.raises(InputError, match="is no number"):
        format_value(value, style)


def test_an_error_names_the_key():
    with pytest.raises(InputError, match=r"summary\.json: first_stage\.recall cannot be shown"):
        Facts({"first_stage": {"recall": "high"}}).show("first_stage.recall", "share")


@given(st.lists(st.text(min_size=1), min_size=1, max_size=4))
def test_a_key_leads_back_whatever_the_names_hold(names: list[str]):
    summary: object = 7
    for name in reversed(names):
        summary = {name: summary}
    assert resolve(summary, key_of(*names)) == 7  # type: ignore[arg-type]


def test_keys_index_lists_and_miss_without_error():
    summary = {"bands": [{"q": 2}], "name": "x"}
    assert resolve(summary, "bands.0.q") == 2
    for key in ("bands.1.q", "bands.q", "name.0", "absent.deep", "bands.-1"):
        assert resolve(summary, key) is None


def test_show_names_key_and_style_and_escapes():
    html = Facts({"a": {'"<b>': "<script>"}}).show(key_of("a", '"<b>'), "text")
    assert html == '<span data-key="a.&#34;&lt;b&gt;" data-style="text">&lt;script&gt;</span>'


def test_leaves_go_down_to_every_figure():
    facts = Facts({"seeds": {"design": 7, "scene": {"a.b": 1, "test_hours": 2}}})
    leaves = facts.leaves("seeds")
    assert leaves == [
        ("design", "seeds.design"),
        ("scene / a.b", r"seeds.scene.a\.b"),
        ("scene / test hours", "seeds.scene.test_hours"),
    ]
    assert [facts.get(key) for _, key in leaves] == [7, 1, 2]
    assert facts.leaves("absent") == []


@pytest.mark.parametrize(
    ("name", "style"),
    [
        ("power_w", "power"),
        ("recall", "plain"),
        ("false_wakes_per_hour_interval", "rate"),
        ("floor_db_spl", "sound_level"),
        ("snr_db", "decibel"),
        ("center_hz", "frequency"),
        ("seconds", "seconds"),
        ("battery_life_extension_percent", "percent"),
        ("epochs", "plain"),
    ],
)
def test_style_follows_the_unit_in_the_name(name: str, style: str):
    assert style_for(name) == style
    assert re.search(r"\d", format_value(0.5, style_for(name)))
