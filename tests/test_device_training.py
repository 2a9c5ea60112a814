"""Generated C against PyTorch: every kind of layer, every averaging method, what is trained, and bad samples."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from device_trial import compiled, data_for, trial
from lightsleeper.device import Rule, emit, plan_device, read_network
from lightsleeper.device.graph import Trainable
from lightsleeper.device.networks import NETWORKS
from lightsleeper.device.oracle import distance, train_torch
from lightsleeper.device.plan import Plan, device_plans
from lightsleeper.errors import InputError

STEPS = 200
RULES = {
    "sgd": Rule(averaging="none"),
    "momentum": Rule(averaging="none", momentum=0.9, learning_rate=0.01),
    "pswa": Rule(period=20),
    "pswa_batch": Rule(period=20, batch=8, momentum=0.9, learning_rate=0.02, write_back_every=2, sample_every=3),
    "pwalks": Rule(averaging="pwalks", period=16, last=3),
    "pwalks_periods": Rule(averaging="pwalks", of="periods", period=18, last=3, write_back_every=2),
    "pswm": Rule(averaging="pswm", period=30),
    "pswm_earlier": Rule(averaging="pswm", against="earlier_mean", period=30, blend=0.3, sample_every=3),
    "settle": Rule(averaging="settle", learning_rate=0.01),
    "settle_flash": Rule(averaging="settle", learning_rate=3.0, anchor="flash"),
    # At 1.0 rounding decides on the depthwise network: one of five starts moved by 1e-7 ends 5e-3 away in PyTorch too.
    "settle_batch": Rule(averaging="settle", batch=4, learning_rate=0.5),
}


def _held_to_torch(name: str, rule: Rule, plan: Plan, steps: int = STEPS) -> None:
    model, network = trial(name)
    x, y = data_for(name, steps * rule.batch)
    weights, average = train_torch(model, network, rule, x, y, trained=plan.trained)
    start = emit(plan, name="net").weights
    assert distance(start, weights) > 0.02, "nothing was trained"
    with compiled(plan) as device:
        for sample, target in zip(x, y, strict=True):
            device.train_step(sample, target)
        assert device.field("steps")[0] == steps
        assert distance(device.field("weights"), weights) < 1e-5
        assert distance(device.average(), average) < 1e-5


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", ["mlp", "depthwise"])
def test_every_method_ends_at_the_weights_of_pytorch(name: str, rule: str) -> None:
    _held_to_torch(name, RULES[rule], plan_device(trial(name)[1], RULES[rule]))


@pytest.mark.parametrize("rule", ["pswa", "settle_batch"])
@pytest.mark.parametrize("name", [name for name in NETWORKS if name not in ("mlp", "depthwise")])
def test_every_layer_ends_at_the_weights_of_pytorch(name: str, rule: str) -> None:
    _held_to_torch(name, RULES[rule], plan_device(trial(name)[1], RULES[rule]))


@pytest.mark.parametrize("name", ["mlp", "conv1d", "gru"])
def test_settle_without_a_gradient_in_memory_ends_at_the_weights_of_pytorch(name: str) -> None:
    rule = RULES["settle"]
    (plan, *_) = [plan for plan in device_plans(trial(name)[1], rule) if not plan.accumulate]
    assert all(field.name != "gradient" for field in plan.fields("net"))
    _held_to_torch(name, rule, plan)


@pytest.mark.parametrize("glitch", [False, True])
def test_an_anchor_in_flash_gives_the_bits_of_one_in_memory(glitch: bool) -> None:
    """Through a roll-back as well: inputs that are twenty times too large, with random labels."""
    network = trial("mlp")[1]
    x, y = data_for("mlp", 900)
    if glitch:
        x[500:600] *= 20.0
        y[500:600] = np.random.default_rng(0).integers(0, 4, 100)
    ends = []
    for anchor in ("memory", "flash"):
        plan = plan_device(network, Rule(averaging="settle", anchor=anchor))  # type: ignore[arg-type]
        with compiled(plan) as device:
            for sample, target in zip(x, y, strict=True):
                device.train_step(sample, target)
            assert device.field("roll_backs")[0] == glitch
            fields = [device.field(name).tobytes() for name in ("weights", "fast", "path", "scale")]
            ends.append((fields, device.infer(x[0]).tobytes(), plan.state_bytes))
    assert ends[0][:2] == ends[1][:2]
    assert ends[0][2] - ends[1][2] == 4 * 676


@pytest.mark.parametrize("name", ["mlp", "depthwise", "gru"])
@pytest.mark.parametrize("trainable", ["last", "biases", "middle"])
def test_a_part_alone_is_trained(name: str, trainable: Trainable) -> None:
    network = trial(name)[1]
    names = [layer.name for layer in network.layers if layer.parameters]
    chosen: Trainable = names[len(names) // 2 - 1 : len(names) // 2] if trainable == "middle" else trainable
    rule = Rule(period=20, learning_rate=0.1)
    _held_to_torch(name, rule, plan_device(network, rule, trainable=chosen))


@pytest.mark.parametrize("name", ["depthwise", "conv1d", "two_grus"])
def test_what_is_computed_again_gives_the_same_bits(name: str) -> None:
    rule = RULES["pswa"]
    x, y = data_for(name, 30)
    ends = []
    plans = list(device_plans(trial(name)[1], rule))
    for plan in plans[:: max(1, len(plans) // 6)]:
        with compiled(plan) as device:
            for sample, target in zip(x, y, strict=True):
                device.train_step(sample, target)
            ends.append(device.field("weights").tobytes())
    assert len(ends) > 2
    assert len(set(ends)) == 1


@pytest.mark.parametrize("rule", RULES)
def test_two_compilers_agree_to_the_bit(rule: str) -> None:
    plan = plan_device(trial("depthwise")[1], RULES[rule])
    x, y = data_for("depthwise", 60 * RULES[rule].batch)
    ends = []
    for compiler in ("gcc", "clang"):
        with compiled(plan, compiler=compiler) as device:
            for sample, target in zip(x, y, strict=True):
                device.train_step(sample, target)
            ends.append(device.memory.tobytes())
    assert ends[0] == ends[1]


@pytest.mark.parametrize("rule", ["pswa", "pswa_batch", "settle"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_finite_are_counted_and_move_nothing(rule: str, bad: float) -> None:
    plan = plan_device(trial("mlp")[1], RULES[rule])
    x, y = data_for("mlp", 40)
    with compiled(plan) as clean, compiled(plan) as hit:
        for k, (sample, target) in enumerate(zip(x, y, strict=True)):
            assert clean.train_step(sample, target) >= 0
            hit.train_step(sample, target)
            broken = sample.copy()
            broken[k % 16] = bad
            assert hit.train_step(broken, target) == -1
            assert hit.train_step(sample, 4) == -1
            assert hit.train_step(sample, -1) == -1
        assert hit.field("skipped")[0] == 120
        hit.field("skipped")[0] = 0
        assert hit.memory.tobytes() == clean.memory.tobytes()


def test_targets_of_mse_that_are_not_finite_are_counted() -> None:
    plan = plan_device(trial("tanh_sigmoid_mse")[1], RULES["pswa"])
    x, y = data_for("tanh_sigmoid_mse", 1)
    y[0, 2] = np.nan
    with compiled(plan) as device:
        before = device.field("weights").tobytes()
        assert device.train_step(x[0], y[0]) == -1
        assert device.field("weights").tobytes() == before


def test_inference_is_that_of_pytorch_and_goes_by_the_average() -> None:
    for name in NETWORKS:
        model, network = trial(name)
        x, y = data_for(name, 60)
        with compiled(plan_device(network, RULES["pswa"])) as device:
            with torch.no_grad():
                expected = model(torch.from_numpy(x[:4])).numpy()
            np.testing.assert_allclose([device.infer(s) for s in x[:4]], expected, rtol=2e-5, atol=2e-6)
            for sample, target in zip(x, y, strict=True):
                device.train_step(sample, target)
            np.testing.assert_array_equal(device.infer(x[0]), device.infer(x[0], weights=device.average()))


def _identity() -> Plan:
    layer = nn.Linear(4, 4)
    model = nn.Sequential(layer)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(4))
        layer.bias.zero_()
    return plan_device(read_network(model, torch.zeros(1, 4), loss="cross_entropy"), Rule(averaging="none"))


def test_softmax_and_its_loss_over_the_whole_range() -> None:
    with compiled(_identity()) as device:
        start = device.memory.copy()

        @settings(max_examples=200, deadline=None)
        @given(values=st.lists(st.floats(-300.0, 300.0, width=32), min_size=4, max_size=4), label=st.integers(0, 3))
        def check(values: Sequence[float], label: int) -> None:
            device.memory[:] = start
            z = np.asarray(values, np.float32).astype(np.float64)
            assert device.train_step(values, label) == 1
            p = np.exp(z - z.max())
            expected = np.log(p.sum()) + z.max() - z[label]
            np.testing.assert_allclose(device.field("loss")[0], expected, rtol=1e-5, atol=1e-6)

        check()


def test_names_and_versions() -> None:
    network = trial("mlp")[1]
    plan = plan_device(network, Rule())
    versions = {emit(plan_device(network, rule), name="net").version for rule in RULES.values()}
    assert len(versions) == len(RULES)
    assert emit(plan, name="net").version == emit(plan_device(trial("mlp", seed=2)[1], Rule()), name="net").version
    for name in ("2net", "Net", "a-b", ""):
        with pytest.raises(InputError, match="is no C name"):
            emit(plan, name=name)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"averaging": "ema"}, "give none, pswa"),
        ({"learning_rate": 0.0}, "above 0"),
        ({"momentum": 1.0}, "under 1"),
        ({"averaging": "settle", "momentum": 0.9}, "Settle has no momentum"),
        ({"batch": 0}, "batch is 0"),
        ({"period": 0}, "period is 0"),
        ({"sample_share": 0.0}, "sample_share is 0"),
        ({"last": 0}, "last is 0"),
        ({"of": "epochs"}, "of is 'epochs'"),
        ({"blend": 0.0}, "blend is 0"),
        ({"against": "all"}, "against is 'all'"),
        ({"averaging": "settle", "anchor": "disk"}, "anchor is 'disk'"),
        ({"anchor": "flash"}, "only Settle has an anchor"),
    ],
)
def test_rules_out_of_range(options: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Rule(**options)  # type: ignore[arg-type]
