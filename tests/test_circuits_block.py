"""What all standalone blocks share: the simulation in continuous time, limits, headroom, stationary noise."""

import dataclasses
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from block_signals import PROCESS
from lightsleeper.circuits.block import limited_current, march, simulate_block, state_variance
from lightsleeper.circuits.filters import GmCFilter
from lightsleeper.circuits.ota import Ota
from lightsleeper.circuits.spice.standalone_cases import CASES, swelling_noise
from lightsleeper.errors import InputError

FILTER = GmCFilter(center_hz=1000.0)


def test_runge_kutta_converges_with_the_fourth_power_of_the_step() -> None:
    """Straight lines between the samples are the same whatever the number of substeps."""
    input_v = swelling_noise(peak_v=0.3, rate_hz=16e3, top_hz=3e3)
    truth, four, eight = (
        march(FILTER, input_v[None], 16e3, process=PROCESS, substeps=substeps) for substeps in (64, 4, 8)
    )
    coarse, fine = np.abs(four - truth).max(), np.abs(eight - truth).max()
    assert 12.0 < coarse / fine < 22.0


def test_settled_tone_has_the_gain_of_the_transfer_function() -> None:
    time_s = np.arange(6000) / 100e3
    output_v = simulate_block(FILTER, 1e-5 * np.sin(2.0 * np.pi * 700.0 * time_s), 100e3, process=PROCESS)
    measured = np.sqrt(2.0 * np.mean(np.square(output_v[-1000:])))
    assert measured == pytest.approx(1e-5 * abs(FILTER.transfer(np.array([700.0]), PROCESS)[0]), rel=2e-3)


def test_signals_side_by_side_are_those_alone() -> None:
    one, two = swelling_noise(peak_v=0.1, seed=1), swelling_noise(peak_v=0.5, seed=2)
    both = march(FILTER, np.stack([one, two])[None], 200e3, process=PROCESS, substeps=1)
    for row, alone in zip(both, (one, two), strict=True):
        np.testing.assert_array_equal(row, march(FILTER, alone[None], 200e3, process=PROCESS, substeps=1))


def test_future_does_not_reach_the_past() -> None:
    input_v = swelling_noise(peak_v=0.2, duration_s=0.01)
    other = input_v.copy()
    other[1000:] = 0.1
    before, after = (march(FILTER, v[None], 200e3, process=PROCESS, substeps=1) for v in (input_v, other))
    np.testing.assert_array_equal(before[:1000], after[:1000])


def test_current_ends_at_the_rails_and_is_whole_far_from_them() -> None:
    voltage_v = np.array([0.0, 0.9, -0.9, 0.9, -0.9])
    current_a = np.array([1e-9, 1e-9, -1e-9, -1e-9, 1e-9])
    limited_a = limited_current(current_a, voltage_v, -0.9, 0.9, PROCESS)
    np.testing.assert_allclose(limited_a, [1e-9, 0.0, 0.0, -1e-9, 1e-9], rtol=1e-12, atol=1e-24)


@given(st.floats(0.1, 100.0), st.floats(1e-3, 10.0))
def test_variance_of_a_single_pole_is_density_over_four_poles(pole: float, density: float) -> None:
    variance = state_variance(np.array([[-pole]]), np.array([density]))
    np.testing.assert_allclose(variance, density / (4.0 * pole))


def test_variance_without_damping_is_infinite() -> None:
    assert np.isinf(state_variance(np.array([[0.0]]), np.array([1.0]))).all()


@pytest.mark.parametrize(
    ("input_v", "match"),
    [
        (np.zeros((2, 10)), r"shape \(2, 10\); give finite samples \(inputs, T\) for in"),
        (np.zeros(0), "give finite samples"),
        (np.array([0.0, np.nan]), "give finite samples"),
    ],
)
def test_input_that_cannot_be_simulated_is_refused(input_v: np.ndarray, match: str) -> None:
    with pytest.raises(InputError, match=match):
        simulate_block(FILTER, input_v, 1e5, process=PROCESS)


def test_steps_are_halved_until_the_output_stays() -> None:
    """One step a sample is 0.3 % off here."""
    input_v = swelling_noise(peak_v=0.3, rate_hz=16e3, top_hz=3e3)
    truth = march(FILTER, input_v[None], 16e3, process=PROCESS, substeps=64)
    found = simulate_block(FILTER, input_v, 16e3, process=PROCESS)
    assert np.sqrt(np.mean((found - truth) ** 2) / np.mean(truth**2)) < 1e-3 / 10.0
    naive = march(FILTER, input_v[None], 16e3, process=PROCESS, substeps=1)
    assert np.sqrt(np.mean((naive - truth) ** 2) / np.mean(truth**2)) > 2e-3


def test_samples_too_far_apart_say_what_helps() -> None:
    # A step of a tenth of a second takes this OTA far beyond its rail, however it is divided.
    fast = Ota(bias_a=1e-6, capacitance_f=1e-14)
    with pytest.raises(InputError, match=r"Ota: needs steps below 0\.00039 s; raise the sample rate"):
        simulate_block(fast, np.full(5, 0.5), 10.0, process=PROCESS)


@pytest.mark.parametrize("name", CASES)
def test_every_field_is_held_to_its_limits(name: str) -> None:
    """Below, above and no number: the message names block, field, limits and unit."""
    block = CASES[name].block
    fields = [field for field in dataclasses.fields(block) if "unit" in field.metadata]  # type: ignore[arg-type]
    assert fields
    for field in fields:
        low, high, unit = (field.metadata[key] for key in ("low", "high", "unit"))
        below, above = low - max(abs(low), 1e-15), 2.0 * high
        for value in (below, math.nan, *(() if math.isinf(above) else (above,))):
            limits = re.escape(f"{low:g} to {high:g} {unit}".rstrip())
            says = rf"^{type(block).__name__}: {field.name} is \S+; choose {limits}$"
            with pytest.raises(InputError, match=says):
                dataclasses.replace(block, **{field.name: value})  # type: ignore[type-var]


@pytest.mark.parametrize("name", CASES)
def test_every_block_has_power_area_and_a_rest_of_its_own(name: str) -> None:
    block = CASES[name].block
    assert 0.0 < block.power_w(PROCESS) < 1e-4
    assert 0.0 < block.area_mm2(PROCESS) < 0.1
    assert np.isfinite(block.rest(PROCESS)).all()
    assert block.netlist("some", PROCESS).startswith(f".subckt some {' '.join(block.inputs)} out\n")
