"""The whole stage: against the float64 reference, its noise, its power and area, and its plain dict."""

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from example_frontend import RATE_HZ, make_frontend, noise_bursts
from lightsleeper.circuits import CONTROL_RATE_HZ, Amplifier, Comparator, FilterBank, FrontEnd, Process, reference
from lightsleeper.circuits.rates import SUBSTEPS, frame_fraction, input_delay_s, interpolation_taps, oversampling_for
from lightsleeper.circuits.reference import interpolate, mean_drive
from lightsleeper.errors import InputError

FRONTEND = make_frontend()


@pytest.mark.parametrize(
    ("rms_v", "tolerance"), [(20e-6, 1e-3), (0.5e-3, 1e-2)], ids=["small signals", "amplifier clips"]
)
def test_every_net_equals_the_reference(rms_v: float, tolerance: float) -> None:
    """To float32 rounding at small signals; to the rational tanh where amplifier and filters saturate."""
    volts = noise_bursts(1, 2560, rms_v=rms_v)[0]
    nets = FRONTEND.simulate(volts, RATE_HZ)
    expected = reference.first_stage(FRONTEND, volts.astype(float), RATE_HZ)
    for name, values in expected.items():
        assert nets[name].shape == values.shape
        error = np.abs(nets[name] - values).max() / np.abs(values).max()
        assert error < tolerance, name


def test_shapes_and_times_of_the_nets() -> None:
    nets = FRONTEND.simulate(np.zeros(1610), RATE_HZ)
    frames, steps = 50, 50 * 32
    assert nets["time_s"].shape == (frames,)
    assert nets["time_s"][-1] == pytest.approx(frames / CONTROL_RATE_HZ)
    assert nets["filter"].shape == (3, steps)
    assert nets["filter_time_s"][-1] == pytest.approx(nets["time_s"][-1])
    for name in ("fast", "slow", "floor", "log_fast", "log_slow", "log_floor"):
        assert nets[name].shape == (3, frames)
    assert nets["hidden"].shape == (3, frames)
    for name in ("score", "integral", "wake"):
        assert nets[name].shape == (frames,)


def test_noise_off_is_deterministic_and_silence_stays_silent() -> None:
    volts = noise_bursts(1, 1600)[0]
    first, second = FRONTEND.simulate(volts, RATE_HZ), FRONTEND.simulate(volts, RATE_HZ)
    for name, values in first.items():
        np.testing.assert_array_equal(second[name], values)
    silent = FRONTEND.simulate(np.zeros(1600), RATE_HZ)
    for name in ("filter", "fast", "slow", "floor", "log_fast"):
        assert not silent[name].any()


def test_a_noise_seed_fixes_every_bit_and_another_changes_them_and_no_global_generator_moves() -> None:
    volts = noise_bursts(1, 1600, rms_v=1e-5)[0]
    before = np.random.get_state()[1].copy()  # noqa: NPY002  the global state is what must not move
    one, same, other = (FRONTEND.simulate(volts, RATE_HZ, noise_seed=seed)["filter"] for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, same)
    assert not (one == other).any(axis=1).all()
    assert np.corrcoef(one[2], other[2])[0, 1] < 0.9
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 2400), st.integers(0, 1000))
def test_the_future_changes_no_bit_of_the_past(cut: int, seed: int) -> None:
    volts = noise_bursts(1, 2560)[0]
    changed = volts.copy()
    changed[cut:] = noise_bursts(1, 2560, seed=seed + 1)[0, cut:]
    ours, theirs = (FRONTEND.simulate(v, RATE_HZ, noise_seed=1) for v in (volts, changed))
    np.testing.assert_array_equal(ours["filter"][:, :cut], theirs["filter"][:, :cut])
    for name in ("fast", "integral", "wake"):
        np.testing.assert_array_equal(ours[name][..., : cut // 128], theirs[name][..., : cut // 128])


def test_simulated_amplifier_and_microphone_noise_reach_the_first_band() -> None:
    """Without noise of the filters' own: input density times gain over a band of noise bandwidth pi f0 / 2Q."""
    quiet = FilterBank(center_hz=(1000.0,), q=(2.0,), capacitance_f=1e-6)
    frontend = dataclasses.replace(
        make_frontend((1000.0,)), bank=quiet, amplifier=Amplifier(gain=100.0, noise_v=10e-6, bandwidth_hz=8000.0)
    )
    filtered_v = frontend.simulate(np.zeros(320_000), RATE_HZ, noise_seed=1)["filter"][0]
    microphone_v2 = (0.632e-3 * 14.1e-3) ** 2 / 20_000.0
    density_v2 = (10e-6) ** 2 / 8000.0 + microphone_v2
    expected_v = 100.0 * np.sqrt(density_v2 * np.pi * 1000.0 / (2.0 * 2.0))
    assert filtered_v[1000:].std() == pytest.approx(expected_v, rel=0.03)


def test_power_and_area_are_sums_of_named_blocks() -> None:
    power_w, area_mm2 = FRONTEND.power_w(), FRONTEND.area_mm2()
    assert set(power_w) == set(area_mm2)
    assert min(power_w.values()) > 0
    assert min(area_mm2.values()) > 0
    assert power_w["filters"] == pytest.approx(FRONTEND.bank.band_power_w(FRONTEND.process).sum())
    assert power_w["bias and reference"] == pytest.approx(1.8 * 0.3e-6)
    # Two 10 pF capacitors a band at 1.5 fF/um2, and four transconductors of 100 um2 with overhead 3.
    assert area_mm2["filters"] == pytest.approx(3 * (20e-12 / 1.5e-15 + 4 * 300.0) * 1e-6)


@given(st.floats(1.0, 3.3))
def test_power_is_proportional_to_the_supply(supply_v: float) -> None:
    scaled = dataclasses.replace(FRONTEND, process=Process(supply_v=supply_v)).power_w()
    for name, power_w in FRONTEND.power_w().items():
        assert scaled[name] == pytest.approx(power_w * supply_v / 1.8)


def test_dict_round_trip_through_json_is_exact() -> None:
    frontend = make_frontend((500.0, 2000.0), comparator=Comparator(threshold_v=0.01, hysteresis_v=2e-3))
    data = json.loads(json.dumps(frontend.to_dict()))
    restored = FrontEnd.from_dict(data)
    assert restored.to_dict() == frontend.to_dict()
    assert restored.bank == frontend.bank
    volts = noise_bursts(1, 1600)[0]
    np.testing.assert_array_equal(
        restored.simulate(volts, RATE_HZ)["integral"], frontend.simulate(volts, RATE_HZ)["integral"]
    )


def _without(block: str, key: str | None = None) -> dict[str, Any]:
    data = FRONTEND.to_dict()
    del (data if key is None else data[block])[block if key is None else key]
    return data


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (_without("amplifier"), "expected the blocks"),
        (FRONTEND.to_dict() | {"mixer": {}}, "mixer"),
        (FRONTEND.to_dict() | {"comparator": {"threshold_v": 0.0, "delay_s": 1.0}}, "block comparator.*delay_s"),
        (_without("amplifier", "gain"), "block amplifier.*gain"),
        (_without("network", "hidden_weight"), "block network.*hidden_weight"),
    ],
)
def test_from_dict_names_what_is_missing_or_unknown(data: dict[str, Any], match: str) -> None:
    with pytest.raises(InputError, match=match):
        FrontEnd.from_dict(data)


def test_blocks_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="9 inputs; 2 bands give 6"):
        dataclasses.replace(FRONTEND, bank=FilterBank(center_hz=(100.0, 200.0), q=(1.0, 1.0)))
    two = make_frontend((500.0, 2000.0))
    with pytest.raises(InputError, match="each of the 3 bands"):
        dataclasses.replace(FRONTEND, envelopes=two.envelopes)


@pytest.mark.parametrize("volts", [np.zeros((2, 100)), np.array([0.0, np.nan]), np.array([np.inf])])
def test_bad_samples_are_refused(volts: Any) -> None:
    with pytest.raises(InputError, match="finite"):
        FRONTEND.simulate(volts, RATE_HZ)


@pytest.mark.parametrize("top_hz", [8000.0, 9000.0])
def test_band_above_the_recordings_is_refused(top_hz: float) -> None:
    with pytest.raises(InputError, match=f"needs recordings above {2 * top_hz:.0f} Hz"):
        oversampling_for(16_000.0, top_hz)


@given(st.floats(4000.0, 96_000.0), st.floats(0.01, 0.49))
def test_oversampling_is_the_smallest_that_gives_four_steps_a_period(rate_hz: float, share: float) -> None:
    factor = oversampling_for(rate_hz, share * rate_hz)
    assert factor * rate_hz >= 4.0 * share * rate_hz * (1 - 1e-12)
    assert factor == 1 or (factor - 1) * rate_hz < 4.0 * share * rate_hz


@pytest.mark.parametrize("factor", [1, 2])
def test_interpolation_is_flat_to_where_recordings_end_and_stops_its_images(factor: int) -> None:
    """0.05 dB and images of -50 dB up to 0.46 of the sample rate, 0.08 dB and -40 dB up to 0.48."""
    first, second = (taps.astype(float) for taps in interpolation_taps(factor))
    impulse = interpolate(interpolate(np.eye(1, 256)[0], first), second)
    phases = factor * SUBSTEPS
    response = np.abs(np.fft.rfft(impulse, 4096 * phases)) / phases
    frequency = np.arange(len(response)) / 4096  # in units of the sample rate
    for edge, flat_db, image_db in ((0.46, 0.05, -50.0), (0.48, 0.08, -40.0)):
        assert np.abs(20.0 * np.log10(response[frequency <= edge])).max() < flat_db
        assert 20.0 * np.log10(response[frequency >= 1.0 - edge].max()) < image_db


@pytest.mark.parametrize("factor", [1, 2])
def test_the_stated_delay_is_the_interpolations_and_the_means(factor: int) -> None:
    """A low tone through the filters and the means over substeps, each of which ends a sample before."""
    phases = factor * SUBSTEPS
    tone_hz, fine_hz = 200.0, 16_000.0 * phases
    wide = np.sin(2.0 * np.pi * tone_hz * np.arange(4800) / 16_000.0)
    for taps in interpolation_taps(factor):
        wide = interpolate(wide, taps.astype(float))
    drive = mean_drive(1e-3 * wide, clip=1.0, points=16)
    # Substep n lasts from n / rate on; its mean stands for its middle.
    middles_s = (np.arange(len(drive)) + 0.5) / fine_hz
    expected = 1e-3 * np.sin(2.0 * np.pi * tone_hz * (middles_s - input_delay_s(16_000.0, factor)))
    settled = slice(len(drive) // 2, None)
    np.testing.assert_allclose(drive[settled], expected[settled], atol=2e-6)


@given(st.floats(5e-3, 10.0), st.floats(100.0, 1e5))
def test_frame_fraction_decays_by_e_in_one_time_constant(time_s: float, rate_hz: float) -> None:
    remaining = (1.0 - frame_fraction(time_s, rate_hz)) ** (time_s * rate_hz)
    assert remaining == pytest.approx(np.exp(-1.0), rel=1e-6)
