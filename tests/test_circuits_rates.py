"""How finely bands are stepped: as each needs, and finer where the kernel's vectors would else run half empty."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lightsleeper.circuits.columns import Columns
from lightsleeper.circuits.rates import substeps_for
from lightsleeper.learning import initial_frontend

STEP_HZ = 32_000.0
BANDS_HZ = st.lists(st.floats(50.0, 8_000.0), min_size=1, max_size=32)


def _alone(center_hz: list[float]) -> list[int]:
    """Substeps of each band as if it were the only one."""
    return [int(substeps_for(np.array([f]), STEP_HZ)[0]) for f in center_hz]


@given(center_hz=BANDS_HZ)
def test_no_band_takes_fewer_substeps_than_it_needs_and_few_take_more(center_hz: list[float]) -> None:
    needed = np.array(_alone(center_hz))
    taken = substeps_for(np.array(center_hz), STEP_HZ)
    assert np.all(needed <= taken)
    assert np.all(taken <= np.minimum(needed + 2, 3))
    assert taken.sum() <= 1.05**2 * needed.sum()


@given(center_hz=BANDS_HZ)
def test_spare_substeps_go_to_the_highest_bands_in_any_order(center_hz: list[float]) -> None:
    taken = substeps_for(np.array(sorted(center_hz)), STEP_HZ)
    assert np.all(np.diff(taken) >= 0)
    backwards = substeps_for(np.array(sorted(center_hz, reverse=True)), STEP_HZ)
    np.testing.assert_array_equal(np.sort(backwards), taken)


@given(center_hz=BANDS_HZ)
def test_spare_substeps_never_cost_one_sound_columns(center_hz: list[float]) -> None:
    needed = Columns.of(1, np.array(_alone(center_hz)))
    taken = Columns.of(1, substeps_for(np.array(center_hz), STEP_HZ))
    work = np.arange(1, 4)
    assert np.dot(work, taken.counts) <= np.dot(work, needed.counts)


def test_sixteen_bands_of_one_sound_fill_three_vectors() -> None:
    center_hz = np.array(initial_frontend(bands=16).bank.center_hz)
    assert np.bincount(_alone(list(center_hz))).tolist() == [0, 4, 9, 3]
    assert Columns.of(1, substeps_for(center_hz, STEP_HZ)).counts == (8, 8, 8)


def test_eight_bands_take_what_each_needs() -> None:
    center_hz = np.array(initial_frontend(bands=8).bank.center_hz)
    assert substeps_for(center_hz, STEP_HZ).tolist() == _alone(list(center_hz))
