"""The page of a verification: table, conditions, overlays; self-contained, and safe against what stands in titles."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from lightsleeper.circuits.spice import Overlay, Row, Verification
from lightsleeper.errors import InputError
from lightsleeper.report import VERIFICATION_HEADING, verification_lines, write_verification

TIME_S = np.linspace(0.0, 0.1, 5000)


def made() -> Verification:
    rows = [
        Row("band-pass, 7600 Hz", "behavioural", "transient -20 dB", 8.6953, 1.0, "%", {"7600 Hz": 8.6953}),
        Row("five-transistor band-pass", "transistor", "AC", 0.0123, 0.4, "dB"),
    ]
    wave = np.sin(2.0 * np.pi * 100.0 * TIME_S)
    curves = {"transistors": (TIME_S, wave), "identified": (TIME_S, 0.9 * wave), "naive": (TIME_S, 0.5 * wave)}
    overlays = [
        Overlay("worst </script> band", "Time (s)", "V", curves),
        Overlay("gain", "Frequency (Hz)", "dB", {"300 Hz, ngspice": (TIME_S[1:], wave[1:])}),
    ]
    return Verification("ngspice-39", rows, overlays, {"simulator_delay_s": 7.5e-4, "naive_percent": {"x": 25.04}})


def test_lines_say_what_passed() -> None:
    assert verification_lines(made()) == [
        ("band-pass, 7600 Hz", "behavioural", "transient -20 dB", "8.7 %", "1 %", "NO"),
        ("five-transistor band-pass", "transistor", "AC", "0.0123 dB", "0.4 dB", "yes"),
    ]
    assert len(VERIFICATION_HEADING) == 6


def test_page_holds_table_conditions_and_curves_and_loads_nothing(tmp_path: Path) -> None:
    path = tmp_path / "verification.html"
    write_verification(path, made())
    page = path.read_text(encoding="utf-8")
    assert not re.search(r'<(script|link|img)[^>]+(src|href)="', page)
    assert '<tr class="failed"><td>band-pass, 7600 Hz</td>' in page
    assert "ngspice-39" in page
    assert "simulator_delay_s</dt><dd>0.00075</dd>" in page
    assert "x 25<" in page
    assert "worst &lt;/script&gt; band" in page
    figures = [json.loads(text) for text in re.findall(r'data-plot="plot\d+">(.*?)</script>', page)]
    assert [trace["name"] for trace in figures[0]["data"]] == ["transistors", "identified", "naive"]
    assert max(figures[0]["data"][1]["y"]) == pytest.approx(0.9, abs=1e-3)
    assert figures[0]["layout"]["xaxis"]["title"]["text"] == "Time (s)"
    assert figures[1]["layout"]["xaxis"]["type"] == "log"


def test_a_page_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        write_verification(tmp_path / "missing" / "page.html", made())
