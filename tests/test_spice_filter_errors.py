"""Identified band-passes as parameters of the simulator: closed forms, and ngspice's own transfer function."""

import dataclasses
import math

import numpy as np
import pytest

from example_frontend import make_frontend
from lightsleeper.circuits import Process
from lightsleeper.circuits.spice import OtaKind, OtaParameters, identify_filters, run_ngspice
from lightsleeper.circuits.spice.filter_errors import IdentifiedBand, identify_band
from lightsleeper.circuits.spice.netlist import circuit
from lightsleeper.circuits.spice.transistors import band_bias, transistor_band_pass, transistor_preamble

CENTER_HZ, Q, CAPACITANCE_F = 1000.0, 2.0, 10e-12
GM_S = 2.0 * math.pi * CENTER_HZ * CAPACITANCE_F
IDEAL = OtaParameters(
    gm_s=GM_S,
    range_v=0.074,
    offset_v=0.0,
    skew_a=0.0,
    output_s=1e-30,
    plus_f=0.0,
    minus_f=0.0,
    output_f=0.0,
    lag_s=0.0,
    supply_a=1e-9,
)
DAMPING = dataclasses.replace(IDEAL, gm_s=GM_S / Q)


def band(**coupling: float) -> IdentifiedBand:
    return IdentifiedBand(dataclasses.replace(IDEAL, **coupling), DAMPING, CAPACITANCE_F)


def test_ideal_transconductors_have_no_error() -> None:
    np.testing.assert_allclose(band().ratios(CENTER_HZ, Q), 1.0, rtol=1e-9)
    np.testing.assert_allclose(band().offsets_v(), 0.0, atol=1e-15)
    assert abs(band().transfer(CENTER_HZ)) == pytest.approx(1.0)


def test_leaks_damp_and_lags_undamp_by_the_closed_forms() -> None:
    """Damping over Gd: a gain A of G1 and G2 adds 2 Q / A, and their lag l takes 2 Q w0 l, to first order."""
    leaky = band(output_s=GM_S / 500.0).ratios(CENTER_HZ, Q)
    assert leaky[1] - 1.0 == pytest.approx(2.0 * Q / 500.0, rel=0.02)
    assert leaky[0] == pytest.approx(1.0, abs=1e-3)
    lag_s = 1e-7
    late = band(lag_s=lag_s).ratios(CENTER_HZ, Q)
    assert 1.0 - late[1] == pytest.approx(2.0 * Q * 2.0 * math.pi * CENTER_HZ * lag_s, rel=0.02)


def test_capacitance_of_the_pins_slows_the_band() -> None:
    drive, damping, outward, inward = band(minus_f=0.1e-12, plus_f=0.2e-12, output_f=0.3e-12).ratios(CENTER_HZ, Q)
    assert outward == pytest.approx(1.0 / 1.05, rel=1e-6)
    assert outward * inward == pytest.approx(1.0 / (1.05 * 1.04), rel=1e-6)
    assert drive == pytest.approx(damping, rel=1e-6)


@pytest.mark.parametrize("kind", OtaKind)
def test_centre_q_and_gain_are_those_of_the_transistors(kind: OtaKind) -> None:
    frontend = make_frontend((300.0, 4000.0))
    frontend = dataclasses.replace(frontend, bank=dataclasses.replace(frontend.bank, linearisation=kind.widening))
    errors = identify_filters(frontend, kind)
    drive, damping, outward, inward = np.array(errors.ratios)
    for index, (center_hz, q) in enumerate(zip(frontend.bank.center_hz, frontend.bank.q, strict=True)):
        bias = band_bias(frontend.bank, frontend.process, index + 1, kind)
        elements = transistor_band_pass(kind, bias, frontend.bank.capacitance_f)
        source = "V1 input common dc 0 ac 1"
        scan = f".ac lin 2001 {0.5 * center_hz} {2.0 * center_hz}"
        plots = run_ngspice(
            circuit("band", transistor_preamble(kind, frontend.process), *elements, source, ".op", scan, ".save all")
        )
        point, small = (next(plot for plot in plots if word in plot.name) for word in ("Operating", "AC"))
        gain = np.abs(small["v(output)"] - small["v(common)"])
        found_hz = small.real("frequency")[gain.argmax()]
        wide = np.ptp(small.real("frequency")[gain > gain.max() / math.sqrt(2.0)])
        center = math.sqrt(outward[index] * inward[index])
        assert found_hz == pytest.approx(center * center_hz, rel=0.003)
        assert found_hz / wide == pytest.approx(center / damping[index] * q, rel=0.005)
        assert gain.max() == pytest.approx(drive[index] / damping[index], rel=0.005)
        rest_v = point.real("v(output)")[0] - point.real("v(common)")[0]
        assert -errors.offset_v[3][index] == pytest.approx(rest_v, abs=5e-6)


def test_offsets_have_the_sign_of_the_pin_that_hears() -> None:
    offset_v, skew_a = 1e-3, GM_S * 4e-3
    found = IdentifiedBand(
        dataclasses.replace(IDEAL, offset_v=offset_v, skew_a=skew_a), dataclasses.replace(DAMPING), CAPACITANCE_F
    )
    assert found.offsets_v() == pytest.approx((0.0, 0.0, -3e-3, 3e-3))


def test_a_warm_process_is_identified_warm() -> None:
    frontend = make_frontend((300.0,))
    warm = dataclasses.replace(frontend, process=Process(temperature_c=60.0))
    cool, hot = (identify_band(each, 0, OtaKind.FIVE_TRANSISTOR).coupling for each in (frontend, warm))
    assert hot.range_v / cool.range_v == pytest.approx(333.15 / 300.15, rel=0.02)
