"""Calibration: codes within their bits, what they mend, and that nothing but the trims changes."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from example_frontend import RATE_HZ, make_frontend, noise_bursts
from lightsleeper.circuits import Chip, Comparator, Factory, FrontEndStream, Trim, TrimRange, build
from lightsleeper.circuits.calibration import _approach, _close_shift, _ratio
from lightsleeper.errors import InputError

SEQUENCE_V = noise_bursts(1, 192_000, rms_v=0.2e-3)[0]
NAMES = ("center", "q", "gain", "detector_v", "envelope_v", "swing", "neuron_v", "threshold_v")
CHIPS = [Chip(seed=seed, temperature_c=60.0, years=3.0) for seed in range(6)]


def _settled_threshold_v() -> float:
    """Exceeded in a fifth of the sequence."""
    integral_v = FrontEndStream(make_frontend(), rows=1, rate_hz=RATE_HZ).process(SEQUENCE_V[None])[0]
    return float(np.quantile(integral_v[len(integral_v) // 2 :], 0.8))


FRONTEND = make_frontend(comparator=Comparator(threshold_v=_settled_threshold_v(), hysteresis_v=1e-3))


def _calibrated(chips: list[Chip], *, trim_range: TrimRange | None = None) -> list[Chip]:
    return Factory(FRONTEND, SEQUENCE_V, RATE_HZ, rows=len(chips), trim_range=trim_range).trim(chips)


@pytest.fixture(scope="module")
def trimmed() -> list[Chip]:
    return _calibrated(CHIPS)


def _here(chip: Chip) -> Chip:
    return dataclasses.replace(chip, temperature_c=27.0, years=0.0)


def test_calibration_changes_nothing_but_the_trims(trimmed: list[Chip]) -> None:
    for chip, before in zip(trimmed, CHIPS, strict=True):
        assert dataclasses.replace(chip, trim=None) == before
        assert chip.trim is not None
        assert chip.trim.total_bits == 6 * (4 * 3 + 9 + 2 * 3 + 1)
        for name in NAMES:
            codes = getattr(chip.trim, name)
            assert np.issubdtype(codes.dtype, np.integer)
            assert codes.min() >= -32
            assert codes.max() <= 31


def test_bands_and_offsets_come_within_a_step_of_nominal(trimmed: list[Chip]) -> None:
    steps = TrimRange()
    for chip in trimmed:
        built = build(FRONTEND, _here(chip))
        np.testing.assert_allclose(built.center_hz, FRONTEND.bank.center_hz, rtol=0.7 * steps.step("center"))
        np.testing.assert_allclose(built.q, FRONTEND.bank.q, rtol=0.7 * steps.step("q"))
        gain = built.peak_gain * built.frontend.amplifier.gain / FRONTEND.amplifier.gain
        np.testing.assert_allclose(gain, 1.0, rtol=0.7 * steps.step("gain"))
        rest_v = built.detector_offset_v - built.filter_offset_v[3]
        assert np.abs(rest_v).max() <= 0.51 * steps.step("detector_v")
        assert np.abs(built.envelope_offset_v).max() <= 0.51 * steps.step("envelope_v")
        heard = built.neuron_gain * built.frontend.network.output_weight / FRONTEND.network.output_weight
        np.testing.assert_allclose(heard, 1.0, rtol=0.6 * steps.step("swing"))


def test_the_swings_were_off_by_many_steps() -> None:
    """So that the bound above says something."""
    swings = np.array([build(FRONTEND, _here(chip)).neuron_gain - 1.0 for chip in CHIPS])
    assert np.abs(swings).max() > 5.0 * TrimRange().step("swing")


def test_trimmed_chips_decide_as_the_nominal_stage_and_untrimmed_ones_do_not(trimmed: list[Chip]) -> None:
    """On the sequence itself, at the temperature of the factory: share of frames with another decision."""
    volts = np.tile(SEQUENCE_V, (len(CHIPS), 1))

    def wakes(chips: list[Chip] | None) -> np.ndarray:
        stream = FrontEndStream(FRONTEND, rows=len(CHIPS), rate_hz=RATE_HZ, chips=chips)
        return stream.trace(volts)["wake"][:, 800:] > 0

    nominal = wakes(None)
    before = (wakes([_here(chip) for chip in CHIPS]) != nominal).mean()
    after = (wakes([_here(chip) for chip in trimmed]) != nominal).mean()
    assert before > 0.02
    assert after < 0.35 * before


def test_the_threshold_follows_what_moves_the_integrator() -> None:
    """A comparator and an integrator with offsets of their own: everything else is nominal."""
    chips = [Chip(seed=seed, effects=("comparator",)) for seed in range(6)]
    before = [build(FRONTEND, chip) for chip in chips]
    assert max(abs(b.frontend.comparator.threshold_v - b.integrator_offset_v - _nominal_v()) for b in before) > 1e-3
    for chip in _calibrated(chips):
        built = build(FRONTEND, chip)
        left_v = built.frontend.comparator.threshold_v - built.integrator_offset_v - _nominal_v()
        assert abs(left_v) <= 0.51 * TrimRange().step("threshold_v")


def _nominal_v() -> float:
    return FRONTEND.comparator.threshold_v


def test_biases_do_not_follow_what_is_behind_a_neuron() -> None:
    """Offsets of the outputs and tail currents are drawn as well; only those of the inputs are to be set right."""
    for chip in _calibrated([Chip(seed=seed, effects=("neurons",)) for seed in range(6)]):
        left_v = build(FRONTEND, chip).frontend.network.hidden_bias_v - FRONTEND.network.hidden_bias_v
        assert np.abs(left_v).max() <= 0.6 * TrimRange().step("neuron_v")


def test_successive_approximation_finds_the_nearest_code_and_stops_at_the_reach() -> None:
    """One neuron's bias is what is measured; wanted are values between and beyond the codes of three bits."""
    trim_range = TrimRange(bits=3, neuron_v=0.04)
    wanted_v = np.array([0.0, 0.0149, 0.0151, -0.0349, -0.0351, 0.0299, 0.2, -0.2])
    chips = [Chip(trim=Trim.neutral(1, 1, trim_range)) for _ in wanted_v]

    def biases_v(rows: list[Chip]) -> np.ndarray:
        return np.array([row.trim.value("neuron_v") for row in rows if row.trim])

    done = _approach(chips, "neuron_v", biases_v, wanted_v[:, None])
    codes = [int(chip.trim.neuron_v[0]) for chip in done if chip.trim]
    assert codes == [0, 1, 2, -3, -4, 3, 3, -4]


def test_a_weight_of_nothing_leaves_its_neuron_alone() -> None:
    np.testing.assert_array_equal(_ratio(np.array([0.0, 2.0]), np.array([0.0, 1.0])), [1.0, 2.0])


def test_only_stretches_near_the_threshold_set_it() -> None:
    """Peaks far from it may move as they like."""
    wanted_v = np.array([[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]] * 2, np.float32)
    moved_v = wanted_v + np.float32(50.0)
    moved_v[:, 6] = wanted_v[:, 6] + np.array([0.25, -0.5], np.float32)
    np.testing.assert_allclose(_close_shift(moved_v, wanted_v, 6.2), [0.25, -0.5])


def test_the_length_of_the_chunks_does_not_matter(trimmed: list[Chip], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightsleeper.circuits.calibration.CHUNK_S", 1.3)
    again = _calibrated(CHIPS[:2])
    for chip, first in zip(again, trimmed[:2], strict=True):
        assert chip.trim is not None
        assert first.trim is not None
        for name in NAMES:
            np.testing.assert_array_equal(getattr(chip.trim, name), getattr(first.trim, name))


@pytest.mark.parametrize("noise_seed", [None, 3])
def test_calibration_is_the_same_alone_and_in_company(noise_seed: int | None) -> None:
    """Also of one factory after another batch; with noise in the first place, which has the noise of its own."""
    factory = Factory(FRONTEND, SEQUENCE_V, RATE_HZ, rows=2, noise_seed=noise_seed)
    together, alone = factory.trim(CHIPS[:2])[0].trim, factory.trim(CHIPS[:1])[0].trim
    assert together is not None
    assert alone is not None
    for name in NAMES:
        np.testing.assert_array_equal(getattr(alone, name), getattr(together, name))


def test_a_nominal_chip_needs_no_trim_and_one_bit_mends_less() -> None:
    chip = _calibrated([Chip(effects=())])[0]
    assert chip.trim is not None
    for name in NAMES:
        assert not getattr(chip.trim, name).any()
    coarse = _calibrated(CHIPS[:1], trim_range=TrimRange(bits=1))[0]
    fine = _calibrated(CHIPS[:1], trim_range=TrimRange(bits=8))[0]
    errors = [np.abs(build(FRONTEND, _here(c)).center_hz / FRONTEND.bank.center_hz - 1.0).max() for c in (coarse, fine)]
    assert errors[1] < 0.1 * errors[0]


@given(st.sampled_from(NAMES), st.floats(-1.0, 1.0), st.integers(1, 12))
def test_codes_are_the_nearest_within_their_reach(name: str, wanted: float, bits: int) -> None:
    trim_range = TrimRange(bits=bits)
    reach, step = getattr(trim_range, name), trim_range.step(name)
    value = float(trim_range.code(name, np.array(wanted)) * step)
    assert -reach * (1 + 1e-9) <= value <= reach - step + 1e-12
    assert abs(value - min(max(wanted, -reach), reach - step)) <= 0.5 * step * (1 + 1e-9)


def test_trims_act_on_their_own_transconductors() -> None:
    neutral = Trim.neutral(3, 3)
    for name, expected in (
        ("center", (1, 1, 1, 1)),
        ("q", (1, 1, 0, 0)),
        ("gain", (1, 0, 0, 0)),
    ):
        ratios = neutral.having(name, np.array([2, 0, 0])).ratios()
        np.testing.assert_allclose(ratios[:, 0], 1.0 + 2.0 * neutral.range.step(name) * np.array(expected))
        np.testing.assert_array_equal(ratios[:, 1:], 1.0)


def test_what_cannot_be_calibrated_with_is_refused() -> None:
    with pytest.raises(InputError, match="test sequence lasts 1 s; give 10 s or more"):
        Factory(FRONTEND, SEQUENCE_V[:16_000], RATE_HZ, rows=1)
    with pytest.raises(InputError, match="does not wake in the test sequence"):
        Factory(make_frontend(comparator=Comparator(threshold_v=1.0)), SEQUENCE_V, RATE_HZ, rows=1)
    with pytest.raises(InputError, match="6 chips at once; this factory trims at most 2"):
        Factory(FRONTEND, SEQUENCE_V, RATE_HZ, rows=2).trim(CHIPS)
    with pytest.raises(InputError, match="bits is 0 bits; give 1 to 12 bits"):
        TrimRange(bits=0)
    with pytest.raises(InputError, match="neuron_v is 9 V; give 0 to"):
        TrimRange(neuron_v=9.0)
