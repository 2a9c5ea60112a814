"""The behavioural netlist against known answers: transfer functions, noise, distortion, time constants, thresholds."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from example_frontend import make_frontend
from lightsleeper.circuits import Amplifier, Comparator, FilterBank, FrontEnd, FrontEndStream, Integrator
from lightsleeper.circuits.spice import Plot, run_ngspice, write_netlist
from lightsleeper.circuits.spice.netlist import (
    amplifier,
    band,
    circuit,
    comparator,
    decision,
    first_stage,
    logarithms,
    network,
    preamble,
)
from lightsleeper.errors import InputError

FRONTEND = make_frontend()


def one_band(center_hz: float = 1000.0, q: float = 2.0, **bank: float) -> FrontEnd:
    frontend = make_frontend((center_hz,))
    return dataclasses.replace(frontend, bank=FilterBank(center_hz=(center_hz,), q=(q,), **bank))


def simulated(*parts: str) -> list[Plot]:
    return run_ngspice(circuit("test", *parts))


def between(plot: Plot, net: str, time_s: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.interp(time_s, plot.real("time"), plot.real(f"v({net})"))


def test_small_signals_see_amplifier_and_band_passes_as_their_transfer_functions() -> None:
    (plot,) = simulated(first_stage(FRONTEND), "V1 microphone 0 ac 1", ".ac dec 20 10 100k")
    frequency_hz = plot.real("frequency")
    ratio = 1j * frequency_hz / FRONTEND.amplifier.corner_hz
    amplified = FRONTEND.amplifier.gain * ratio / (1.0 + ratio)
    np.testing.assert_allclose(plot["v(amplified)"], amplified, rtol=1e-6)
    responses = FRONTEND.bank.response(frequency_hz)
    for number in range(1, FRONTEND.bank.bands + 1):
        np.testing.assert_allclose(plot[f"v(band{number})"], amplified * responses[number - 1], rtol=1e-6)


@pytest.mark.parametrize(
    ("q", "capacitance_f", "linearisation"), [(0.8, 1e-12, 1.0), (4.0, 1e-12, 1.0), (2.0, 1e-11, 3.0)]
)
def test_output_noise_is_that_of_the_formula(q: float, capacitance_f: float, linearisation: float) -> None:
    frontend = one_band(q=q, capacitance_f=capacitance_f, linearisation=linearisation)
    plots = simulated(
        preamble(frontend), *band(frontend, 1), "V1 amplified 0 ac 1", ".noise v(band1) V1 dec 100 0.01 10meg"
    )
    total_v = next(p for p in plots if p.name == "Integrated Noise").real("v(onoise_total)")[0]
    assert total_v == pytest.approx(frontend.bank.output_noise_v(frontend.process)[0], rel=2e-3)


def test_input_noise_is_that_of_microphone_and_amplifier() -> None:
    plots = simulated(first_stage(FRONTEND), "V1 microphone 0 ac 1", ".noise v(amplified) V1 lin 500 1 8k")
    total_v = next(p for p in plots if p.name == "Integrated Noise").real("v(onoise_total)")[0]
    microphone_v = FRONTEND.microphone.noise_pa * FRONTEND.microphone.sensitivity_v_per_pa * math.sqrt(0.4)
    expected = FRONTEND.amplifier.gain * math.hypot(microphone_v, FRONTEND.amplifier.noise_v)
    assert total_v == pytest.approx(expected, rel=2e-3)


@pytest.mark.parametrize(("share", "tolerance"), [(0.1, 0.02), (0.2, 0.03), (0.346, 0.06)])
def test_distortion_of_a_transconductor_is_a_twelfth_of_the_squared_drive(share: float, tolerance: float) -> None:
    """THD = (A / VL)^2 / 12 for small A (2.2); 0.346 VL is the 1 % point."""
    frontend = one_band()
    range_v = frontend.process.range_v
    (plot,) = simulated(
        preamble(frontend, noise=False),
        f"X1 in 0 out ota gm=1n range={range_v:.10g}\nV1 in 0 sin(0 {share * range_v:.10g} 1k)\nR1 out 0 1meg",
        ".tran 1u 2m 0 1u",
    )
    current = between(plot, "out", 1e-3 + np.arange(1000) * 1e-6)
    spectrum = np.abs(np.fft.rfft(current))
    assert spectrum[3] / spectrum[1] == pytest.approx(share**2 / 12.0, rel=tolerance)


def test_amplifier_clips_softly() -> None:
    frontend = make_frontend((1000.0,), amplifier=Amplifier(gain=100.0, clip_v=0.3))
    (plot,) = simulated(
        preamble(frontend), *amplifier(frontend), "V1 microphone 0 sin(0 10m 5k)", ".tran 1u 1m 0 1u uic"
    )
    time_s = plot.real("time")
    expected = 0.3 * np.tanh(100.0 * plot.real("v(coupled)") / 0.3)
    np.testing.assert_allclose(plot.real("v(amplified)"), expected, atol=1e-4)
    assert 0.29 < np.abs(plot.real("v(amplified)")[time_s > 2e-4]).max() < 0.3


def test_detectors_rise_and_fall_with_their_own_time_constants() -> None:
    frontend = one_band()
    times_s = frontend.envelopes.times_s()[:, 0]
    # Without its filter: the net of the band is driven by a pulse, downwards to show that it is rectified.
    lines = [line for line in band(frontend, 1) if not line.startswith("X_band1")]
    source = "V1 band1 0 pulse(0 -50m 0 1n 1n 20m 1)"
    (plot,) = simulated(preamble(frontend, noise=False), *lines, source, ".tran 20u 60m 0 20u uic")
    rise_s, fall_s = np.linspace(1e-4, 0.0199, 50), np.linspace(0.021, 0.059, 50)
    for kind, (attack_s, decay_s) in (("fast", times_s[:2]), ("slow", times_s[2:4])):
        high = between(plot, f"{kind}1", rise_s)
        np.testing.assert_allclose(high, 0.05 * (1.0 - np.exp(-rise_s / attack_s)), atol=2e-4)
        low = between(plot, f"{kind}1", fall_s)
        np.testing.assert_allclose(low, low[0] * np.exp(-(fall_s - fall_s[0]) / decay_s), atol=2e-4)
    floor = between(plot, "floor1", rise_s)
    expected = 0.05 * (1.0 - np.exp(-rise_s / times_s[4]))
    assert np.all(floor < expected)
    np.testing.assert_allclose(floor[-1], expected[-1], rtol=0.1)


def test_operating_point_of_the_network_is_what_it_says_of_silence() -> None:
    (plot,) = simulated(first_stage(FRONTEND), "V1 microphone 0 0", ".op")
    stream = FrontEndStream(FRONTEND, rows=1, rate_hz=16_000.0)
    hidden, score = stream.network(np.zeros((1, 2000, 9), np.float32))
    for number in range(FRONTEND.network.neurons):
        assert plot.real(f"v(hidden{number + 1})")[0] == pytest.approx(hidden[0, -1, number], abs=1e-6)
    assert plot.real("v(score)")[0] == pytest.approx(score[0, -1], abs=1e-6)
    assert plot.real("v(integral)")[0] == pytest.approx(score[0, -1], abs=1e-6)


def test_network_and_logarithms_follow_their_equations() -> None:
    rng = np.random.default_rng(1)
    envelopes_v = rng.uniform(0.0, 0.05, size=(3, 3))
    sources = [
        f"V_{kind}{number} {kind}{number} 0 {envelopes_v[which, number - 1]:.10g}"
        for which, kind in enumerate(("fast", "slow", "floor"))
        for number in (1, 2, 3)
    ]
    logs = [line for number in (1, 2, 3) for line in logarithms(FRONTEND, number)]
    (plot,) = simulated(preamble(FRONTEND), *logs, *network(FRONTEND), *sources, ".op")
    inputs = FRONTEND.process.slope_v * np.log1p(envelopes_v / FRONTEND.compressor.knee_v).reshape(-1)
    range_v, weights = FRONTEND.process.range_v, FRONTEND.network
    hidden = range_v * np.tanh((weights.hidden_weight @ inputs + weights.hidden_bias_v) / range_v)
    score = range_v * np.tanh((weights.output_weight @ hidden + weights.output_bias_v) / range_v)
    np.testing.assert_allclose([plot.real(f"v(hidden{n})")[0] for n in (1, 2, 3)], hidden, rtol=1e-4)
    np.testing.assert_allclose(plot.real("v(score)"), score, rtol=1e-4)


def test_comparator_switches_at_its_threshold_and_below_its_hysteresis() -> None:
    frontend = make_frontend((1000.0,), comparator=Comparator(threshold_v=0.01, hysteresis_v=4e-3))
    sweep = "V1 integral 0 pwl(0 0 0.1 20m 0.2 0)"
    (plot,) = simulated(preamble(frontend), comparator(frontend), sweep, ".tran 20u 0.2 0 20u")
    high = plot.real("v(wake)") > 0.9
    changes = plot.real("v(integral)")[np.flatnonzero(np.diff(high.astype(int)))]
    assert changes == pytest.approx([0.01, 0.006], abs=1e-4)


def test_integrator_is_asymmetric() -> None:
    frontend = make_frontend((1000.0,), integrator=Integrator(rise_s=10e-3, fall_s=40e-3))
    source = "V1 score 0 pulse(0 50m 0 1n 1n 20m 1)"
    (plot,) = simulated(preamble(frontend), *decision(frontend), source, ".tran 20u 60m 0 20u uic")
    peak_v = 0.05 * (1.0 - math.exp(-2.0))
    assert between(plot, "integral", np.array([0.02]))[0] == pytest.approx(peak_v, rel=1e-3)
    assert between(plot, "integral", np.array([0.06]))[0] == pytest.approx(peak_v * math.exp(-1.0), rel=1e-3)


def test_frontend_cir_runs_as_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "frontend.cir"
    write_netlist(one_band(), path)
    text = path.read_text(encoding="ascii").replace(" 60m 0 ", " 12m 0 ")
    (plot,) = run_ngspice(text)
    assert plot.name == "Transient Analysis"
    for net in ("amplified", "band1", "fast1", "slow1", "floor1", "score", "integral", "wake"):
        assert np.isfinite(plot.real(f"v({net})")).all()
    assert plot.real("v(fast1)")[-1] > 1e-3
    assert [entry.name for entry in tmp_path.iterdir()] == ["frontend.cir"]
    with pytest.raises(InputError, match="choose another place"):
        write_netlist(one_band(), tmp_path / "missing" / "frontend.cir")
    with pytest.raises(InputError, match="choose another place"):
        write_netlist(one_band(), tmp_path)


@pytest.mark.parametrize("parameter", ["clip_v", "gain", "corner_hz"])
def test_every_parameter_of_the_amplifier_reaches_the_netlist(parameter: str) -> None:
    changed = dataclasses.replace(
        FRONTEND, amplifier=dataclasses.replace(FRONTEND.amplifier, **{parameter: 1.5 * 0.123})
    )
    assert first_stage(changed) != first_stage(FRONTEND)
