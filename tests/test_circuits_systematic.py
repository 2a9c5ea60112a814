"""Systematic errors of the filters: what a chip makes of them, and which are refused."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from example_frontend import RATE_HZ, make_frontend, noise_bursts
from lightsleeper.circuits import Chip, Factory, FilterErrors, build
from lightsleeper.errors import InputError

FRONTEND = make_frontend()
BANDS = FRONTEND.bank.bands
NONE = ((0.0,) * BANDS,) * 4
ratio = st.floats(0.5, 2.0)


def errors(*, ratios: tuple[float, ...] = (1.0,) * 4, offset_v: tuple[float, ...] = (0.0,) * 4) -> FilterErrors:
    """The same in every band."""
    return FilterErrors(ratios=tuple((r,) * BANDS for r in ratios), offset_v=tuple((v,) * BANDS for v in offset_v))


def test_no_error_changes_no_bit() -> None:
    volts = noise_bursts(1, 2560)[0]
    plain = FRONTEND.simulate(volts, RATE_HZ, chip=Chip(seed=2))
    same = FRONTEND.simulate(volts, RATE_HZ, chip=Chip(seed=2, systematic=errors()))
    for name, values in plain.items():
        np.testing.assert_array_equal(values, same[name])


@given(drive=ratio, damping=ratio, outward=ratio, inward=ratio)
def test_a_band_has_the_centre_q_and_gain_of_its_transconductors(
    drive: float, damping: float, outward: float, inward: float
) -> None:
    built = build(FRONTEND, Chip(effects=(), systematic=errors(ratios=(drive, damping, outward, inward))))
    center = math.sqrt(outward * inward)
    np.testing.assert_allclose(built.center_hz, center * np.array(FRONTEND.bank.center_hz))
    np.testing.assert_allclose(built.q, center / damping * np.array(FRONTEND.bank.q))
    np.testing.assert_allclose(built.peak_gain, drive / damping)


def test_they_add_to_the_mismatch_of_each_chip() -> None:
    common = errors(ratios=(1.1, 1.2, 0.9, 0.8), offset_v=(1e-3, -1e-3, 2e-3, -2e-3))
    drawn, both = (build(FRONTEND, Chip(seed=4, systematic=each)) for each in (None, common))
    np.testing.assert_allclose(both.ratios / drawn.ratios, common.ratios)
    np.testing.assert_allclose(both.filter_offset_v - drawn.filter_offset_v, common.offset_v)


def test_the_output_rests_at_the_offset_of_g2_and_calibration_takes_the_errors_out() -> None:
    chip = Chip(effects=(), systematic=errors(ratios=(1.05, 1.08, 0.95, 0.93), offset_v=(0.0, 0.0, 0.0, 2e-3)))
    silent = FRONTEND.simulate(np.zeros(8000, np.float32), RATE_HZ, chip=chip)
    np.testing.assert_allclose(silent["filter"][:, -1], -2e-3, rtol=1e-3)
    sequence_v = 30.0 * noise_bursts(1, round(12 * RATE_HZ))[0]
    (trimmed,) = Factory(FRONTEND, sequence_v, RATE_HZ, rows=1).trim([chip])
    assert trimmed.systematic == chip.systematic
    built = build(FRONTEND, trimmed)
    np.testing.assert_allclose(built.center_hz, FRONTEND.bank.center_hz, rtol=0.004)
    np.testing.assert_allclose(built.q, FRONTEND.bank.q, rtol=0.01)
    np.testing.assert_allclose(built.detector_offset_v, built.filter_offset_v[3], atol=1.5e-4)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ratios": ((1.0,) * BANDS,) * 3}, "ratios needs four rows"),
        ({"ratios": ((1.0,) * BANDS, (1.0,) * BANDS, (1.0,) * BANDS, (1.0,))}, "ratios needs four rows"),
        ({"ratios": ((0.05,) * BANDS, *((1.0,) * BANDS,) * 3)}, "ratios holds 0.05; keep it within 0.1 to 10"),
        ({"offset_v": ((math.nan,) * BANDS, *NONE[1:])}, "offset_v holds nan V; keep it within -0.1 to 0.1 V"),
        ({"offset_v": ((0.0,),) * 4}, f"ratios of {BANDS} bands, offset_v of 1"),
    ],
)
def test_bad_errors_name_field_limit_and_unit(change: dict[str, tuple[tuple[float, ...], ...]], said: str) -> None:
    with pytest.raises(InputError, match=said.replace(".", r"\.")):
        dataclasses.replace(errors(), **change)


def test_errors_of_another_stage_are_refused() -> None:
    other = FilterErrors(ratios=((1.0,),) * 4, offset_v=((0.0,),) * 4)
    with pytest.raises(InputError, match=f"of 1 bands on a stage of {BANDS}"):
        build(FRONTEND, Chip(systematic=other))
