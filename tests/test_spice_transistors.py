"""Transistor level: the transconductors' known answers, and behavioural models that follow them once identified."""

import dataclasses
import math
import re

import numpy as np
import pytest

from example_frontend import RATE_HZ, make_frontend
from lightsleeper.circuits import Process
from lightsleeper.circuits.device import KAPPA
from lightsleeper.circuits.spice import OtaKind, identify_ota, run_ngspice
from lightsleeper.circuits.spice.excerpt import loudest_excerpt
from lightsleeper.circuits.spice.netlist import circuit
from lightsleeper.circuits.spice.transistor_level import compare_levels, small_signal_rows, transistor_band
from lightsleeper.circuits.spice.transistors import band_bias, transistor_preamble

PROCESS = Process()
KINDS = pytest.mark.parametrize("kind", OtaKind)


@KINDS
@pytest.mark.parametrize("tail_a", [1e-10, 2e-9, 4e-8])
def test_a_transconductor_is_nearly_that_of_the_equations(kind: OtaKind, tail_a: float) -> None:
    found = identify_ota(kind, tail_a, PROCESS, frequency_hz=100.0)
    range_v = kind.widening * PROCESS.range_v
    assert found.range_v == pytest.approx(range_v, rel=0.12)
    assert found.gm_s == pytest.approx(tail_a / range_v, rel=0.18)
    assert found.supply_a == pytest.approx(tail_a, rel=0.1)
    assert abs(found.offset_v) < 4e-3
    assert abs(found.skew_a) < 0.05 * tail_a
    assert 100.0 < found.gain < 400.0
    assert min(found.plus_f, found.minus_f, found.output_f, found.lag_s) > 0.0


def test_gm_follows_the_tail_current_over_three_decades() -> None:
    currents = np.geomspace(1e-10, 1e-7, 4)
    gm = [identify_ota(OtaKind.FIVE_TRANSISTOR, float(i), PROCESS, frequency_hz=100.0).gm_s for i in currents]
    slope = np.polyfit(np.log(currents), np.log(gm), 1)[0]
    assert 0.96 < slope < 1.0


def test_gm_at_constant_current_falls_with_temperature() -> None:
    gm = [
        identify_ota(OtaKind.FIVE_TRANSISTOR, 1e-9, Process(temperature_c=t), frequency_hz=100.0).gm_s for t in (0, 60)
    ]
    assert gm[1] / gm[0] == pytest.approx(273.15 / 333.15, rel=0.03)


@KINDS
def test_output_current_is_a_tanh_of_the_input(kind: OtaKind) -> None:
    found = identify_ota(kind, 2e-9, PROCESS, frequency_hz=100.0)
    span_v = 2.0 * found.range_v
    sweep = f"V1 plus common 0\nV2 out common 0\nX1 plus common out vdd {kind.value} tail=2n"
    netlist = circuit("sweep", transistor_preamble(kind, PROCESS), sweep, f".dc V1 {-span_v} {span_v} {span_v / 20}")
    (plot,) = run_ngspice(netlist)
    input_v = np.linspace(-span_v, span_v, 41)
    expected = found.gm_s * found.range_v * np.tanh((input_v - found.offset_v) / found.range_v) + found.skew_a
    np.testing.assert_allclose(plot.real("i(v2)"), expected, atol=0.02 * 2e-9)


@KINDS
def test_noise_counts_its_sources(kind: OtaKind) -> None:
    """2 q I of every device at half the tail current, less what the diodes of the wide-range circuit keep back."""
    elements = f"V1 in common 0 ac 1\nX1 in common out vdd {kind.value} tail=1n\nV2 sense common 0\n"
    elements += "R1 out sense 1k noisy=0"
    plots = run_ngspice(
        circuit("noise", transistor_preamble(kind, PROCESS), elements, ".noise v(out,sense) V1 lin 1 10 10")
    )
    density = float(plots[0].real("onoise_spectrum")[0]) / 1e3
    expected = math.sqrt(kind.noise_sources * 1.602e-19 * 1e-9)
    assert density == pytest.approx(expected, rel=0.06)


def test_bias_is_that_of_the_power_model() -> None:
    frontend = make_frontend()
    power_w = frontend.bank.band_power_w(frontend.process)
    for number in (1, 2, 3):
        bias = band_bias(frontend.bank, frontend.process, number, OtaKind.FIVE_TRANSISTOR)
        drawn_w = frontend.process.supply_v * 2.0 * (bias.coupling_a + bias.damping_a)
        assert drawn_w == pytest.approx(power_w[number - 1], rel=1e-9)
    wide = band_bias(frontend.bank, frontend.process, 1, OtaKind.WIDE_RANGE)
    plain = band_bias(frontend.bank, frontend.process, 1, OtaKind.FIVE_TRANSISTOR)
    assert wide.coupling_a / plain.coupling_a == pytest.approx((1.0 + KAPPA) / KAPPA)


@KINDS
def test_small_signals_of_an_identified_band_follow_its_transistors(kind: OtaKind) -> None:
    frontend = make_frontend()
    rows, overlay = small_signal_rows(frontend, transistor_band(frontend, 2, kind))
    by_analysis = {row.analysis: row for row in rows}
    assert all(row.passed for row in rows)
    assert by_analysis["operating point"].error < 0.1
    assert by_analysis["AC"].error < 0.05
    assert set(overlay.curves) == {"transistors", "identified"}


@KINDS
def test_loud_waveforms_of_an_identified_band_follow_its_transistors(kind: OtaKind) -> None:
    frontend = make_frontend((500.0,))
    noise = np.random.default_rng(3).normal(size=400)
    excerpt = loudest_excerpt(noise, RATE_HZ, duration_s=0.02)
    band = transistor_band(frontend, 1, kind)
    rows, overlays, naive = compare_levels(frontend, band, excerpt, [-20.0, 0.0])
    assert [row.analysis for row in rows] == ["transient -20 dB"] * 2 + ["transient +0 dB"] * 2
    assert all(row.passed for row in rows)
    identified, simulator = (rows[start::2] for start in (0, 1))
    assert max(row.error for row in identified) < 3.0
    assert [row.block for row in simulator] == [f"{band.name}, simulator"] * 2
    assert simulator[0].error < 2.0
    assert simulator[0].limit == 5.0
    for level in ("-20 dB", "+0 dB"):
        name = f"{band.name}, {level}, naive"
        error = next(row.error for row in identified if row.analysis.endswith(level))
        assert naive[name] > 15.0
        assert naive[f"{name}, offset removed"] > 2.0 * error
    assert set(overlays[0].curves) == {"transistors", "identified", "simulator", "naive"}


def test_an_identified_model_with_wrong_parameters_does_not_pass() -> None:
    """The comparison can fail: a tenth less transconductance is seen in AC."""
    frontend = make_frontend((500.0,))
    band = transistor_band(frontend, 1, OtaKind.FIVE_TRANSISTOR)
    weaker = re.sub(r"gm=([\d.e-]+) ", lambda found: f"gm={0.9 * float(found[1]):.6g} ", band.identified)
    wrong = dataclasses.replace(band, identified=weaker)
    rows, _ = small_signal_rows(frontend, wrong)
    assert not next(row for row in rows if row.analysis == "AC").passed
