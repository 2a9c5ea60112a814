"""Chips: what is drawn and what is not, Pelgrom, temperature, supply and age, and rows of chips side by side."""

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from example_frontend import RATE_HZ, make_frontend, noise_bursts
from lightsleeper.circuits import (
    EFFECTS,
    Amplifier,
    Built,
    Chip,
    FilterBank,
    FrontEnd,
    FrontEndStream,
    Mismatch,
    Process,
    build,
    reference,
)
from lightsleeper.errors import InputError

FRONTEND = make_frontend()
VOLTS = noise_bursts(1, 2560)[0]
KELVIN = 273.15


def _flat(built: Built) -> dict[str, NDArray[np.float64]]:
    """Every number of a chip by its place."""
    values: dict[str, Any] = {"bank": [*built.ratios, built.center_hz, built.q, built.peak_gain]}
    for item in dataclasses.fields(built):
        if item.name != "frontend":
            values[item.name] = getattr(built, item.name)
    for block, parameters in built.frontend.to_dict().items():
        values |= {f"{block}.{name}": value for name, value in parameters.items()}
    return {name: np.asarray(value, np.float64) for name, value in values.items()}


def _changed(chip: Chip, *, frontend: FrontEnd = FRONTEND) -> set[str]:
    """Places that differ from the nominal stage."""
    nominal, built = _flat(build(frontend, Chip(effects=()))), _flat(build(frontend, chip))
    return {name for name, value in built.items() if not np.array_equal(value, nominal[name])}


def test_a_seed_is_a_chip_and_another_seed_is_another_in_the_same_process() -> None:
    before = np.random.get_state()[1].copy()  # noqa: NPY002  the global state is what must not move
    one, same, other = (FRONTEND.simulate(VOLTS, RATE_HZ, chip=Chip(seed=seed)) for seed in (3, 3, 4))
    for name, values in one.items():
        np.testing.assert_array_equal(values, same[name])
    for name in ("filter", "fast", "log_floor", "hidden", "integral"):
        assert not np.array_equal(one[name], other[name])
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    assert _changed(Chip(seed=0)) == _changed(Chip(seed=1)) != set()


@pytest.mark.parametrize("noise_seed", [None, 5])
def test_the_nominal_chip_gives_the_bits_of_no_chip(noise_seed: int | None) -> None:
    plain = FRONTEND.simulate(VOLTS, RATE_HZ, noise_seed=noise_seed)
    nominal = FRONTEND.simulate(VOLTS, RATE_HZ, noise_seed=noise_seed, chip=Chip(seed=9, effects=()))
    for name, values in plain.items():
        np.testing.assert_array_equal(nominal[name], values, err_msg=name)
    assert _changed(Chip(seed=9, effects=())) == set()


def test_a_chip_without_a_noise_seed_is_noiseless() -> None:
    chip = Chip(seed=1, temperature_c=60.0)
    first, second = (FRONTEND.simulate(VOLTS, RATE_HZ, chip=chip)["filter"] for _ in range(2))
    np.testing.assert_array_equal(first, second)
    rest_v = FRONTEND.simulate(np.zeros(16_000), RATE_HZ, chip=chip)["filter"]
    assert np.ptp(rest_v[:, 10_000:], axis=1).max() < 1e-7
    noisy = FRONTEND.simulate(np.zeros(16_000), RATE_HZ, chip=chip, noise_seed=0)["filter"]
    assert np.ptp(noisy[:, 10_000:], axis=1).min() > 1e-5


TOUCHED = {
    "amplifier": {"amplifier.gain", "amplifier.corner_hz"},
    "bias": {"bank", "ratios", "amplifier.noise_v", "network.neuron_s", "integrator.rise_s", "integrator.fall_s"},
    "capacitors": {"bank", "ratios", "network.neuron_s", "integrator.rise_s", "integrator.fall_s"},
    "comparator": {"comparator.threshold_v", "comparator.hysteresis_v", "integrator_offset_v"},
    "detectors": {"detector_offset_v", "envelope_offset_v"},
    "drift": {"network.hidden_weight", "network.hidden_bias_v", "network.output_weight", "network.output_bias_v"},
    "filter_offsets": {"filter_offset_v"},
    "filters": {"bank", "ratios"},
    "logarithms": {"knee_v", "log_offset_v"},
    "neurons": {"neuron_gain", "neuron_offset_v", "output_gain", "network.hidden_bias_v", "network.output_bias_v"},
    "time_constants": {"network.neuron_s", "integrator.rise_s", "integrator.fall_s"},
    "weights": {"network.hidden_weight", "network.hidden_bias_v", "network.output_weight", "network.output_bias_v"},
}
ENVELOPE_TIMES = {f"envelopes.{name}" for name in FRONTEND.to_dict()["envelopes"] if name.endswith("_s")}


@pytest.mark.parametrize("effect", EFFECTS)
def test_an_effect_alone_touches_its_own_devices_and_is_heard(effect: str) -> None:
    chip = Chip(seed=2, years=1.0, effects=(effect,))
    expected = TOUCHED[effect] | (ENVELOPE_TIMES if effect in ("bias", "capacitors", "time_constants") else set())
    assert _changed(chip) == expected
    nominal, heard = (FRONTEND.simulate(VOLTS, RATE_HZ, chip=c) for c in (None, chip))
    if effect == "comparator":  # it acts on nothing but the decision
        assert not np.array_equal(nominal["integral"], heard["integral"])
        return
    assert not np.array_equal(nominal["score"], heard["score"])


@given(st.sets(st.sampled_from(EFFECTS)), st.integers(0, 2**63 - 1))
@settings(max_examples=25)
def test_switching_one_effect_leaves_the_draw_of_the_others(effects: set[str], seed: int) -> None:
    """No draw hangs on what was drawn before it: each effect's ratios and offsets are there or exactly nominal."""
    both, alone = (_flat(build(FRONTEND, Chip(seed=seed, effects=chosen))) for chosen in (effects, EFFECTS))
    for effect, name in (("detectors", "envelope_offset_v"), ("logarithms", "knee_v"), ("neurons", "neuron_gain")):
        nominal = _flat(build(FRONTEND, Chip(effects=())))[name]
        np.testing.assert_array_equal(both[name], alone[name] if effect in effects else nominal)


def test_no_two_groups_of_devices_share_a_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    keys: list[int] = []
    plain = np.random.default_rng

    def watched(key: list[int]) -> np.random.Generator:
        keys.append(key[1])
        return plain(key)

    monkeypatch.setattr(np.random, "default_rng", watched)
    build(FRONTEND, Chip(seed=1, years=1.0))
    assert len(keys) >= 40
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("gate_um2", [25.0, 100.0, 1600.0])
def test_spread_of_the_centre_frequencies_follows_pelgrom(gate_um2: float) -> None:
    """sigma(I) = A_VT kappa / (UT sqrt(W L)) and 0.5 % um / sqrt(W L); f0 of two independent currents 1/sqrt(2) of it.

    At 16 um2 a device the reference has 2.6 % (2.9): a fifth of 80 um2.
    """
    frontend = dataclasses.replace(FRONTEND, process=Process(ota_gate_um2=gate_um2))
    built = [build(frontend, Chip(seed=seed, effects=("filters",))) for seed in range(700)]
    device_um2 = gate_um2 / 5.0
    sigma = np.hypot(3.9e-3 * 0.7 / 25.865e-3, 5e-3) / np.sqrt(device_um2)
    for values, share in (
        ([chip.center_hz for chip in built], np.sqrt(0.5)),
        ([chip.q for chip in built], np.sqrt(1.5)),
        ([chip.peak_gain for chip in built], np.sqrt(2.0)),
    ):
        assert np.log(values).std(axis=0).mean() == pytest.approx(share * sigma, rel=0.05)
    if gate_um2 == 1600.0:
        assert sigma == pytest.approx(0.026 * np.sqrt(16.0 / device_um2), rel=0.02)


def test_offsets_follow_pelgrom_with_pair_and_load() -> None:
    built = [build(FRONTEND, Chip(seed=seed, effects=("detectors",))) for seed in range(300)]
    expected_v = np.hypot(3.9e-3, 2.2e-3) / np.sqrt(20.0)
    assert np.std([chip.envelope_offset_v for chip in built]) == pytest.approx(expected_v, rel=0.05)
    assert np.std([chip.detector_offset_v for chip in built]) == pytest.approx(expected_v, rel=0.06)


@pytest.mark.parametrize("temperature_c", [-20.0, 27.0, 60.0])
@pytest.mark.parametrize("law", ["ptat", "constant"])
def test_centre_frequency_follows_the_bias_law(temperature_c: float, law: Any) -> None:
    """Measured as the peak of the simulated impulse response; also on a chip with its own mismatch."""
    frontend = make_frontend((300.0, 1000.0, 3000.0))
    warmth = (temperature_c + KELVIN) / (27.0 + KELVIN)
    impulse_v = np.zeros(16_000)
    impulse_v[100] = 1e-4
    for effects in ((), ("filters",)):
        chip = Chip(seed=5, temperature_c=temperature_c, bias_law=law, effects=effects)
        built = build(frontend, chip)
        nets = frontend.simulate(impulse_v, RATE_HZ, chip=chip)
        response = np.abs(np.fft.rfft(nets["filter"], 16 * nets["filter"].shape[1], axis=1))
        frequency_hz = np.arange(response.shape[1]) / response.shape[1] / 2.0 * _step_rate_hz(frontend)
        peak_hz = frequency_hz[response.argmax(axis=1)]
        np.testing.assert_allclose(peak_hz, built.center_hz, rtol=3e-3)
        if not effects:
            expected_hz = np.array(frontend.bank.center_hz) * (1.0 if law == "ptat" else 1.0 / warmth)
            np.testing.assert_allclose(built.center_hz, expected_hz, rtol=1e-12)
            np.testing.assert_allclose(built.q, frontend.bank.q)


def _step_rate_hz(frontend: FrontEnd) -> float:
    return FrontEndStream(frontend, rows=1, rate_hz=RATE_HZ).step_rate_hz


@pytest.mark.parametrize("temperature_c", [-20.0, 60.0])
def test_third_harmonic_and_noise_follow_the_formulas_at_temperature(temperature_c: float) -> None:
    """HD3 = (A / VL)^2 / 12 with VL = 2 kT / (kappa q) (2.2), and Vn^2 = 2 gamma kT/C (1 + Q) (2.3)."""
    bank = FilterBank(center_hz=(1000.0,), q=(2.0,))
    frontend = dataclasses.replace(make_frontend((1000.0,)), bank=bank, amplifier=Amplifier(gain=1.0, clip_v=100.0))
    chip = Chip(temperature_c=temperature_c, effects=())
    kt = 1.380649e-23 * (temperature_c + KELVIN)
    range_v = 2.0 * kt / 1.602176634e-19 / 0.7
    stream = FrontEndStream(frontend, rows=1, rate_hz=RATE_HZ, chips=(chip,))
    tone_v = 15e-3 * np.sin(2.0 * np.pi * 500.0 * np.arange(16_000) / RATE_HZ)
    spectrum = np.abs(np.fft.rfft(stream.drive(tone_v.astype(np.float32)[None])[0][16_000 : 16_000 + 96 * 250]))
    assert spectrum[3 * 250] / spectrum[250] == pytest.approx((15e-3 / range_v) ** 2 / 12.0, rel=0.04)
    silent = dataclasses.replace(frontend, amplifier=Amplifier(gain=1e-3))
    filtered_v = silent.simulate(np.zeros(320_000), RATE_HZ, chip=chip, noise_seed=1)["filter"][0]
    assert filtered_v[2000:].std() == pytest.approx(np.sqrt(2.0 * (2.0 / 0.7) * kt / 10e-12 * 3.0), rel=0.03)


@given(st.floats(-40.0, 125.0))
def test_everything_that_hangs_on_the_linear_range_goes_with_temperature(temperature_c: float) -> None:
    warmth = (temperature_c + KELVIN) / (27.0 + KELVIN)
    built = build(FRONTEND, Chip(temperature_c=temperature_c, effects=()))
    stage = built.frontend
    for hot, cold in (
        (stage.process.range_v, FRONTEND.process.range_v),
        (stage.process.slope_v, FRONTEND.process.slope_v),
        (built.knee_v, np.full(9, FRONTEND.compressor.knee_v)),
        (stage.network.hidden_bias_v, FRONTEND.network.hidden_bias_v),
        (stage.comparator.hysteresis_v, FRONTEND.comparator.hysteresis_v),
    ):
        np.testing.assert_allclose(hot, warmth * np.asarray(cold), rtol=1e-12)
    target = FRONTEND.network.hidden_weight
    np.testing.assert_allclose(stage.network.hidden_weight, np.sign(target) * np.abs(target) ** (1.0 / warmth))
    ratio = build(FRONTEND, Chip(temperature_c=temperature_c, effects=(), weight_law="ratio"))
    np.testing.assert_array_equal(ratio.frontend.network.hidden_weight, target)
    assert stage.integrator == FRONTEND.integrator
    slow = build(FRONTEND, Chip(temperature_c=temperature_c, effects=(), bias_law="constant")).frontend.integrator
    assert slow.rise_s == pytest.approx(warmth * FRONTEND.integrator.rise_s)


def test_copied_currents_come_closer_as_the_chip_warms() -> None:
    """ln ratio = kappa dVT / UT: by T0/T (2.9), but for the current factor."""
    mismatch = Mismatch(current_factor_um=0.0)
    cold, hot = (
        build(FRONTEND, Chip(seed=1, temperature_c=t, effects=("filters",), mismatch=mismatch)).ratios
        for t in (-20.0, 60.0)
    )
    np.testing.assert_allclose(np.log(hot), np.log(cold) * (KELVIN - 20.0) / (KELVIN + 60.0), rtol=1e-9)


def test_supply_moves_the_currents_and_the_amplifiers_swing() -> None:
    built = build(FRONTEND, Chip(effects=(), supply_v=2.0))
    np.testing.assert_allclose(built.ratios, 1.0 + 0.02 * 0.2)
    assert built.frontend.amplifier.clip_v == pytest.approx(FRONTEND.amplifier.clip_v * 2.0 / 1.8)
    assert FRONTEND.simulate(VOLTS, RATE_HZ, chip=Chip(supply_v=2.0))["wake"].max() in (0.0, np.float32(2.0))
    assert _changed(Chip(effects=(), supply_v=1.8)) == set()


def test_programming_error_and_drift_are_what_they_say() -> None:
    errors, drifts = [], []
    target = FRONTEND.network.hidden_weight
    for seed in range(200):
        fresh = build(FRONTEND, Chip(seed=seed, effects=("weights",))).frontend.network.hidden_weight
        old = build(FRONTEND, Chip(seed=seed, effects=("weights", "drift"), years=4.0)).frontend.network.hidden_weight
        errors.append(np.log(fresh / target))
        drifts.append(np.log(old / fresh))
    assert np.std(errors) == pytest.approx(0.01, rel=0.05)
    assert np.std(drifts) == pytest.approx(4.0 * 0.005, rel=0.05)
    assert _changed(Chip(effects=("drift",), years=0.0)) == set()


def test_offsets_of_the_filters_act_as_in_the_circuit() -> None:
    """C Vo' = Gin f(Vin + e1) - Gd f(Vo + e2) - G1 f(Vx + e3); C Vx' = G2 f(Vo + e4), by Runge-Kutta."""
    frontend = make_frontend((400.0,), amplifier=Amplifier(gain=1.0, clip_v=100.0, corner_hz=1.0))
    chip = Chip(seed=3, effects=("filter_offsets", "filters"), mismatch=Mismatch(threshold_v_um=15e-3))
    built = build(frontend, chip)
    range_v = frontend.process.range_v
    tone_v = np.zeros(6400)
    tone_v[3200:] = 20e-3 * np.sin(2.0 * np.pi * 400.0 * np.arange(3200) / RATE_HZ)
    filtered_v = frontend.simulate(tone_v, RATE_HZ, chip=chip)["filter"][0]
    e = built.filter_offset_v[:, 0] / range_v
    w0, q = 2.0 * np.pi * 400.0, 2.0
    g = np.array([w0 / q, w0 / q, w0, w0]) * built.ratios[:, 0]

    def slope(o: float, x: float, time_s: float) -> tuple[float, float]:
        u = 20e-3 / range_v * np.sin(2.0 * np.pi * 400.0 * (time_s - 0.2)) if time_s > 0.2 else 0.0
        into = g[0] * np.tanh(u + e[0]) - g[1] * np.tanh(o + e[1]) - g[2] * np.tanh(x + e[2])
        return into, g[3] * np.tanh(o + e[3])

    o, x, dt, waves = 0.0, 0.0, 1.0 / 64_000.0, []
    for i in range(25_600):
        t = i * dt
        a = slope(o, x, t)
        b = slope(o + 0.5 * dt * a[0], x + 0.5 * dt * a[1], t + 0.5 * dt)
        c = slope(o + 0.5 * dt * b[0], x + 0.5 * dt * b[1], t + 0.5 * dt)
        d = slope(o + dt * c[0], x + dt * c[1], t + dt)
        o += dt / 6.0 * (a[0] + 2.0 * b[0] + 2.0 * c[0] + d[0])
        x += dt / 6.0 * (a[1] + 2.0 * b[1] + 2.0 * c[1] + d[1])
        waves.append(o * range_v)
    truth_v = np.array(waves)
    assert abs(built.filter_offset_v[3, 0]) > 1e-3
    assert filtered_v[3000:3190].mean() == pytest.approx(-built.filter_offset_v[3, 0], rel=1e-3)
    assert truth_v[12_700] == pytest.approx(-built.filter_offset_v[3, 0], rel=1e-3)
    rate = _step_rate_hz(frontend)
    late, theirs = filtered_v[round(0.3 * rate) :], truth_v[round(0.3 * 64_000) :]
    assert late.std() == pytest.approx(theirs.std(), rel=5e-3)
    assert late.mean() == pytest.approx(theirs.mean(), rel=0.02)


@pytest.mark.parametrize("temperature_c", [-20.0, 27.0, 60.0])
def test_a_chip_equals_the_reference(temperature_c: float) -> None:
    chip = Chip(seed=4, temperature_c=temperature_c, supply_v=1.7, years=5.0)
    volts = noise_bursts(1, 2560, rms_v=50e-6)[0]
    nets = FRONTEND.simulate(volts, RATE_HZ, chip=chip)
    expected = reference.first_stage(FRONTEND, volts.astype(float), RATE_HZ, chip=chip)
    for name, values in expected.items():
        assert np.abs(nets[name] - values).max() < 2e-3 * np.abs(values).max(), name


@pytest.mark.parametrize("rows", [3, 9, 42])
def test_chips_side_by_side_give_the_bits_of_each_alone(rows: int) -> None:
    frontend = make_frontend((300.0, 1000.0, 7000.0))
    volts = noise_bursts(rows, 1280)
    temperatures_c = itertools.cycle((-20.0, 27.0, 60.0))
    chips = [Chip(seed=seed, temperature_c=next(temperatures_c), years=3.0) for seed in range(rows)]
    together = FrontEndStream(frontend, rows=rows, rate_hz=RATE_HZ, chips=chips).trace(volts)
    for row in {0, rows // 2, rows - 1}:
        alone = frontend.simulate(volts[row], RATE_HZ, chip=chips[row])
        for name in ("filter", "fast", "log_slow", "hidden", "score", "integral", "wake"):
            np.testing.assert_array_equal(together[name][row], alone[name], err_msg=name)


def test_chunks_of_a_chip_join_to_the_whole() -> None:
    chips = [Chip(seed=seed) for seed in (1, 2)]
    volts = noise_bursts(2, 4000)
    whole = FrontEndStream(FRONTEND, rows=2, rate_hz=RATE_HZ, noise_seed=1, chips=chips).process(volts)
    stream = FrontEndStream(FRONTEND, rows=2, rate_hz=RATE_HZ, noise_seed=1, chips=chips)
    parts = [stream.process(part) for part in np.split(volts, [130, 1000, 3001], axis=1)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"temperature_c": 200.0}, "temperature_c is 200 C; give -40 to 125 C"),
        ({"temperature_c": float("nan")}, "temperature_c is nan C"),
        ({"supply_v": 5.0}, "supply_v is 5 V; give 1.2 to 3.6 V"),
        ({"years": -1.0}, "years is -1 years; give 0 to 25 years"),
        ({"seed": -1}, "seed is -1; give 0 to"),
        ({"effects": ("gravity",)}, "effects .* gravity; give .*amplifier"),
        ({"effects": "weights"}, "effects is or holds weights"),
        ({"bias_law": "cubic"}, "bias_law is cubic; give ptat or constant"),
        ({"weight_law": "none"}, "weight_law is none"),
    ],
)
def test_what_no_chip_can_be_is_refused(values: dict[str, Any], match: str) -> None:
    with pytest.raises(InputError, match=match):
        Chip(**values)


def test_mismatch_out_of_range_names_field_limit_and_unit() -> None:
    with pytest.raises(InputError, match=r"mismatch: threshold_v_um is 3\.9 V um; give 0 to 0\.05 V um"):
        Mismatch(threshold_v_um=3.9)
    with pytest.raises(InputError, match=r"programming is -0\.1; give 0 to 0\.5"):
        Mismatch(programming=-0.1)
    with pytest.raises(InputError, match="2 chips for 3 signals"):
        FrontEndStream(FRONTEND, rows=3, rate_hz=RATE_HZ, chips=[Chip(), Chip()])
