"""The torch network is the circuit's: same scores when installed, parameters within what the circuit can do."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from example_frontend import RATE_HZ, make_frontend, noise_bursts
from lightsleeper.circuits import FrontEnd, FrontEndStream
from lightsleeper.learning import TRAINING_RATE_HZ
from lightsleeper.learning.wake_model import LIMITS_S, WakeNetwork, initial_frontend

FRONTEND = make_frontend()


def _envelopes(rows: int = 4, frames: int = 60, seed: int = 0) -> NDArray[np.float32]:
    """Skewed positive envelopes (rows, frames, 3, bands) in V."""
    rng = np.random.default_rng(seed)
    return np.exp(rng.normal(-5.0, 1.0, (rows, frames, 3, 3))).astype(np.float32)


def _network(seed: int = 0) -> WakeNetwork:
    return WakeNetwork(FRONTEND, _envelopes(), seed=seed)


def _circuit_scores(frontend: FrontEnd, envelopes_v: NDArray[np.float32]) -> NDArray[np.float32]:
    """Integrator voltages (rows, frames) of the stream."""
    rows = len(envelopes_v)
    stream = FrontEndStream(frontend, rows=rows, rate_hz=RATE_HZ, frame_rate_hz=TRAINING_RATE_HZ)
    columns = envelopes_v.transpose(1, 2, 0, 3).reshape(envelopes_v.shape[1], 3, -1)
    return stream.decide(stream.compress(np.ascontiguousarray(columns)))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_installed_network_gives_the_modules_scores(seed: int) -> None:
    """After five seconds of the first frame, so that the circuit's memory starts where the module's does."""
    network = _network(seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    network.clamp()
    lead = 5 * round(TRAINING_RATE_HZ)
    body = _envelopes(seed=seed + 10)
    envelopes_v = np.concatenate([np.repeat(body[:, :1], lead, axis=1), body], axis=1)
    expected = network(torch.from_numpy(body)).detach().numpy()
    score_v = _circuit_scores(network.install(FRONTEND), envelopes_v)[:, lead:]
    np.testing.assert_allclose(score_v / FRONTEND.process.range_v, expected, atol=5e-5)
    assert expected.std() > 0.01


def test_installed_network_runs_in_the_whole_stage() -> None:
    """From volts at the microphone: envelopes of the stream into the module, against the stream's own integral."""
    volts = noise_bursts(1, 16_000)
    volts[:, 8000:] *= 0.2
    setting = {"rows": 1, "rate_hz": RATE_HZ, "frame_rate_hz": TRAINING_RATE_HZ}
    outputs, _ = FrontEndStream(FRONTEND, **setting).envelopes(volts)
    network = WakeNetwork(FRONTEND, outputs[None, 30:], seed=1)
    with torch.no_grad():
        network.log_neuron_s.fill_(math.log(0.02))
    installed = network.install(FRONTEND)
    integral_v = FrontEndStream(installed, **setting).process(volts)[0]
    expected = network(torch.from_numpy(outputs[None])).detach().numpy()[0]
    np.testing.assert_allclose(integral_v[60:] / FRONTEND.process.range_v, expected[60:], atol=2e-4)


def test_install_replaces_only_network_and_integrator() -> None:
    installed = _network().install(FRONTEND)
    for name in ("process", "microphone", "amplifier", "bank", "envelopes", "compressor", "comparator"):
        assert getattr(installed, name) == getattr(FRONTEND, name)
    for name in ("max_weight", "unit_current_a", "neuron_current_a", "capacitance_f"):
        assert getattr(installed.network, name) == getattr(FRONTEND.network, name)
    assert installed.integrator.rise_s == installed.integrator.fall_s == pytest.approx(FRONTEND.integrator.rise_s)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.floats(1.0, 100.0))
def test_clamp_holds_every_parameter_within_the_circuits_limits(seed: int, size: float) -> None:
    network = _network()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(size * torch.randn(parameter.shape, generator=generator))
    network.clamp()
    installed = network.install(FRONTEND)
    most = installed.network.max_weight * (1 + 1e-5)
    assert np.abs(installed.network.hidden_weight).max() <= most
    assert np.abs(installed.network.output_weight).max() <= most
    for times_s, (low_s, high_s) in (
        (installed.network.neuron_s, LIMITS_S["neuron"]),
        (np.array(installed.integrator.rise_s), LIMITS_S["integrator"]),
    ):
        assert times_s.min() >= low_s * (1 - 1e-5)
        assert times_s.max() <= high_s * (1 + 1e-5)


def test_clamp_leaves_what_is_within_limits() -> None:
    network = _network()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.clamp()
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=1e-6, atol=1e-7)


def test_a_constant_input_gives_a_constant_score_from_the_first_frame_on() -> None:
    frozen = np.repeat(_envelopes(frames=1), 40, axis=1)
    scores = _network()(torch.from_numpy(frozen))
    torch.testing.assert_close(scores, scores[:, :1].expand_as(scores), rtol=0, atol=1e-6)


def test_training_inputs_are_standardised() -> None:
    network = _network()
    x = network.compress(torch.from_numpy(_envelopes()))
    standard = ((x - network.input_mean) / network.input_scale).flatten(0, 1)
    torch.testing.assert_close(standard.mean(0), torch.zeros(9), rtol=0, atol=1e-4)
    torch.testing.assert_close(standard.std(0), torch.ones(9), rtol=1e-4, atol=0)


def test_the_seed_decides_the_weights_and_every_parameter_has_a_gradient() -> None:
    one, same, other = (_network(seed) for seed in (1, 1, 2))
    torch.testing.assert_close(one.hidden_weight, same.hidden_weight, rtol=0, atol=0)
    assert not torch.equal(one.hidden_weight, other.hidden_weight)
    one(torch.from_numpy(_envelopes(seed=1)))[:, 10:].square().sum().backward()
    for name, parameter in one.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_time_constant_gradients_equal_finite_differences() -> None:
    network, envelopes = _network(), torch.from_numpy(_envelopes(seed=1))
    network(envelopes).square().sum().backward()
    for parameter in (network.log_integrator_s, network.log_neuron_s):
        assert parameter.grad is not None
        sums = []
        for sign in (1.0, -1.0):
            with torch.no_grad():
                parameter.add_(sign * 0.01)
                sums.append(float(network(envelopes).square().sum()))
                parameter.sub_(sign * 0.01)
        assert float(parameter.grad.sum()) == pytest.approx((sums[0] - sums[1]) / 0.02, rel=0.02, abs=1e-3)


@pytest.mark.parametrize("bands", [1, 4, 8])
def test_initial_frontend_is_silent_and_log_spaced(bands: int) -> None:
    frontend = initial_frontend(bands=bands, neurons=5, low_hz=300.0, high_hz=4800.0)
    assert frontend.bank.bands == bands
    assert frontend.network.neurons == 5
    assert frontend.bank.center_hz[-1] == pytest.approx(4800.0)
    ratios = np.diff(np.log(frontend.bank.center_hz))
    np.testing.assert_allclose(ratios, ratios[:1].repeat(bands - 1))
    integral_v = frontend.simulate(noise_bursts(1, 1600)[0], RATE_HZ)["integral"]
    assert not integral_v.any()


def test_initial_times_are_those_of_the_blocks() -> None:
    expected = dataclasses.asdict(initial_frontend(bands=8).envelopes)
    for name, values in dataclasses.asdict(initial_frontend(bands=3).envelopes).items():
        assert values == (expected[name][:3] if isinstance(values, tuple) else expected[name])
