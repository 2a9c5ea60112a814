"""Every method learns, is deterministic, and evaluates without moving its training."""

import math
import sys

import pytest
import torch

from benchmark_task import BLOBS, blobs
from lightsleeper import averaging
from lightsleeper.benchmarks.one_run import run_once
from lightsleeper.benchmarks.packages import optional_package
from lightsleeper.benchmarks.rivals import FAMILIES, METHODS, Plan, family_of
from lightsleeper.errors import InputError, MissingToolError

GOOD_RATES = {"dog": 0.1, "adamw": 0.01, "prodigy": 1.0, "settle": 0.01}
BUILT = [name for name in FAMILIES if name != "settle" or hasattr(averaging, "Settle")]


def curves(name: str, *, steps: int = 300, seed: int = 0):
    family = FAMILIES[name]
    methods = [method.name for method in family.methods]
    rate = GOOD_RATES.get(name, 0.1)
    return run_once(BLOBS, blobs(), family, methods, rate=rate, seed=seed, batch=4, steps=steps)


@pytest.mark.parametrize("name", BUILT)
def test_every_method_learns_and_equal_seeds_give_equal_scores(name: str):
    first = curves(name)
    assert [curve.method for curve in first] == [method.name for method in FAMILIES[name].methods]
    assert all(curve.scores[-1] > 0.85 and not curve.diverged for curve in first)
    assert [curve.scores for curve in curves(name)] == [curve.scores for curve in first]
    assert [curve.scores for curve in curves(name, seed=1)] != [curve.scores for curve in first]


@pytest.mark.parametrize("name", BUILT)
def test_a_look_does_not_move_the_training(name: str):
    family = FAMILIES[name]
    methods = [method.name for method in family.methods]

    def weights(looks: bool) -> torch.Tensor:
        torch.manual_seed(0)
        network = BLOBS.network()
        training = family.build(network, GOOD_RATES.get(name, 0.1), Plan(steps=40, epoch_steps=10), methods)
        data = blobs()
        for _ in range(40):
            training.optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(network(data.x_train), data.y_train)
            loss.backward()
            training.optimizer.step(**({"loss": loss} if training.takes_loss else {}))
            for follow in training.after_step:
                follow()
            if looks:
                for view in training.views.values():
                    with view() as deployed:
                        deployed(data.x_test)
        return torch.cat([p.detach().ravel() for p in network.parameters()])

    assert torch.equal(weights(looks=True), weights(looks=False))


def test_side_copies_share_the_path_of_plain_sgd():
    with_copies = {curve.method: curve for curve in curves("sgd", steps=60)}
    alone = run_once(BLOBS, blobs(), FAMILIES["sgd"], ["sgd"], rate=0.1, seed=0, batch=4, steps=60)
    assert with_copies["sgd"].scores == alone[0].scores
    assert len({curve.scores for curve in with_copies.values()}) > 1


def one_weight_path(method: str, plan: Plan, values: list[float]) -> list[float]:
    """What a side copy shows after each step of a network of one weight that is set by hand."""
    network = torch.nn.Linear(1, 1, bias=False)
    training = FAMILIES["sgd"].build(network, 0.1, plan, [method])
    shown = []
    for value in values:
        with torch.no_grad():
            network.weight.fill_(value)
        for follow in training.after_step:
            follow()
        with training.views[method]() as deployed:
            shown.append(float(next(deployed.parameters()).detach()))
    return shown


def test_side_copies_have_the_known_answers():
    eight = [float(value) for value in range(1, 9)]
    plan = Plan(steps=8, epoch_steps=10)  # EMA horizon of 3 steps
    expected = [1.0]
    for value in eight[1:]:
        expected.append(expected[-1] + (value - expected[-1]) / 3)
    assert one_weight_path("ema", plan, eight) == pytest.approx(expected)
    assert one_weight_path("swa", plan, eight) == pytest.approx([1, 2, 3, 4, 5, 6, 7, 7.5])
    assert one_weight_path("lawa", plan, eight) == pytest.approx([1, 1.5, 2, 2.5, 3, 4, 5, 6])
    expected = [1.0]
    for step, value in enumerate(eight[1:], start=2):
        expected.append(expected[-1] + (value - expected[-1]) * 9 / (step + 8))
    assert one_weight_path("polynomial", plan, eight) == pytest.approx(expected)


def test_momentum_sgd_takes_the_effective_rate():
    network = torch.nn.Linear(1, 1)
    optimizer = FAMILIES["sgd"].build(network, 0.3, Plan(10, 10), ["sgd"]).optimizer
    group = optimizer.param_groups[0]
    assert group["lr"] / (1 - group["momentum"]) == pytest.approx(0.3)


@pytest.mark.parametrize("name", ["one_cycle", "cosine"])
def test_decays_end_near_zero_and_one_cycle_peaks_at_a_tenth(name: str):
    network = torch.nn.Linear(1, 1)
    training = FAMILIES[name].build(network, 1.0, Plan(100, 10), [name])
    rates = []
    for _ in range(100):
        rates.append(training.optimizer.param_groups[0]["lr"])
        training.optimizer.step()
        for follow in training.after_step:
            follow()
    assert max(rates) == pytest.approx(0.1, rel=0.02)
    assert rates[-1] < 1e-3
    assert rates.index(max(rates)) == pytest.approx(10 if name == "one_cycle" else 0, abs=1)


def test_grids_ascend_and_span_two_and_a_half_decades():
    for family in FAMILIES.values():
        assert list(family.rates) == sorted(set(family.rates))
        assert math.log10(family.rates[-1] / family.rates[0]) >= 2.5
        assert family.default_rate is None or family.default_rate in family.rates


def test_unknown_method_lists_the_known_ones():
    with pytest.raises(InputError, match="no method 'adam': choose from sgd, ema") as caught:
        family_of("adam")
    assert all(name in str(caught.value) for name in METHODS)


def test_a_missing_package_is_named_with_the_way_to_get_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "schedulefree", None)
    with pytest.raises(MissingToolError, match=r"schedulefree is not installed: pip install 'lightsleeper\[bench\]'"):
        FAMILIES["schedule_free"].build(BLOBS.network(), 0.1, Plan(10, 10), ["schedule_free"])
    with pytest.raises(MissingToolError, match=r"nowhere-package .*\[cluster\]"):
        optional_package("no_such_module_here", distribution="nowhere-package", extra="cluster")
