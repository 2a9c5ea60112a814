"""PSWA, PWALKS and PSWM against the plain reference, and their averaged view."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lightsleeper.averaging import PSWA, PSWM, PWALKS
from lightsleeper.averaging.periodic_optimizer import PeriodicOptimizer
from lightsleeper.averaging.reference import pswa, pswm, pwalks
from lightsleeper.errors import InputError, LightsleeperError

LR = 0.1
MOMENTUM = 0.8
SIZE = 7


def _gradients(steps: int) -> Tensor:
    return torch.randn(steps, SIZE, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def _update(gradients: Tensor) -> Callable[[Tensor], Tensor]:
    """Heavy-ball SGD on given gradients plus a pull to 0, as one step of the reference."""
    state = {"velocity": torch.zeros(SIZE, dtype=torch.float64), "t": 0}

    def update(w: Tensor) -> Tensor:
        state["velocity"] = MOMENTUM * state["velocity"] + gradients[state["t"]] + w
        state["t"] += 1
        return w - LR * state["velocity"]

    return update


def _fast_path(make: Callable[[torch.optim.Optimizer], PeriodicOptimizer], gradients: Tensor) -> list[Tensor]:
    """The weights after each step of an optimizer over two tensors, joined."""
    parameters = [
        torch.nn.Parameter(torch.ones(3, dtype=torch.float64)),
        torch.nn.Parameter(torch.ones(4, dtype=torch.float64)),
    ]
    optimizer = make(torch.optim.SGD(parameters, lr=LR, momentum=MOMENTUM))
    path = []
    for gradient in gradients:
        for parameter, part in zip(parameters, gradient.split([3, 4]), strict=True):
            parameter.grad = part + parameter.detach()
        optimizer.step()
        path.append(torch.cat([p.detach().clone() for p in parameters]))
    return path


def _assert_same_path(fast: list[Tensor], reference: list[Tensor]) -> None:
    torch.testing.assert_close(torch.stack(fast), torch.stack(reference), rtol=1e-10, atol=1e-12)


START = torch.ones(SIZE, dtype=torch.float64)
GATES: list[dict[str, Any]] = [
    {"P": 10},
    {"P": 7, "L": 1.0, "K": 3},
    {"P": 10, "L": 0.8, "p": 0.4, "K": 2, "seed": 9},
    {"P": 3, "L": 0.1, "p": 0.2, "seed": 1},
    {"P": 9, "L": 0.8, "K": 2, "E": 3},
    {"P": 1},
]


def _options(gate: dict[str, Any]) -> dict[str, Any]:
    names = {
        "P": "period",
        "L": "sample_share",
        "p": "sample_probability",
        "K": "write_back_every",
        "E": "sample_every",
        "seed": "seed",
    }
    return {names[key]: value for key, value in gate.items()}


@pytest.mark.parametrize("gate", GATES)
def test_pswa_is_its_reference(gate: dict[str, Any]) -> None:
    gradients = _gradients(100)
    fast = _fast_path(lambda base: PSWA(base, **_options(gate)), gradients)
    _assert_same_path(fast, pswa(START, _update(gradients), steps=100, **gate))


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("of", ["samples", "periods"])
@pytest.mark.parametrize("last", [1, 3, 8])
def test_pwalks_is_its_reference(gate: dict[str, Any], of: Any, last: int) -> None:
    gradients = _gradients(100)
    fast = _fast_path(lambda base: PWALKS(base, last=last, of=of, **_options(gate)), gradients)
    slow = pwalks(START, _update(gradients), steps=100, last=last, of_periods=of == "periods", **gate)
    _assert_same_path(fast, slow)


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("against", ["weights", "earlier_mean"])
@pytest.mark.parametrize("blend", [0.3, 1.0])
def test_pswm_is_its_reference(gate: dict[str, Any], against: Any, blend: float) -> None:
    gradients = _gradients(100)
    fast = _fast_path(lambda base: PSWM(base, blend=blend, against=against, **_options(gate)), gradients)
    slow = pswm(START, _update(gradients), steps=100, b=blend, of_earlier_mean=against == "earlier_mean", **gate)
    _assert_same_path(fast, slow)


@given(st.integers(1, 12), st.floats(0.05, 1.0), st.floats(0.1, 1.0), st.integers(1, 3), st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_limits_of_the_variants_are_pswa(period: int, share: float, probability: float, every: int, seed: int) -> None:
    gate = {"period": period, "sample_share": share, "sample_probability": probability, "seed": seed}
    gradients = _gradients(40)
    plain = _fast_path(lambda base: PSWA(base, write_back_every=every, **gate), gradients)  # type: ignore[arg-type]
    for against in ("weights", "earlier_mean"):
        momentum = _fast_path(
            lambda base, a=against: PSWM(base, blend=1.0, against=a, write_back_every=every, **gate), gradients
        )
        _assert_same_path(momentum, plain)
    plain = _fast_path(lambda base: PSWA(base, **gate), gradients)  # type: ignore[arg-type]
    _assert_same_path(_fast_path(lambda base: PWALKS(base, last=1, of="periods", **gate), gradients), plain)  # type: ignore[arg-type]


# --- the averaged view ---


def _drifting(
    make: Callable[[torch.optim.Optimizer], PeriodicOptimizer],
) -> tuple[torch.nn.Parameter, PeriodicOptimizer]:
    """A weight that goes up by 1 at each step."""
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = make(torch.optim.SGD([parameter], lr=1.0))
    parameter.grad = -torch.ones(1)
    return parameter, optimizer


def _views(make: Callable[[torch.optim.Optimizer], PeriodicOptimizer], steps: int) -> tuple[list[float], list[float]]:
    parameter, optimizer = _drifting(make)
    own, averaged = [], []
    for _ in range(steps):
        optimizer.step()
        own.append(parameter.item())
        with optimizer.averaged():
            averaged.append(parameter.item())
        assert parameter.item() == own[-1]
    return own, averaged


def test_averaged_view_of_pswa() -> None:
    own, averaged = _views(lambda base: PSWA(base, period=4), 8)
    assert own == [1.0, 2.0, 3.0, 3.5, 4.5, 5.5, 6.5, 7.0]
    assert averaged == [1.0, 2.0, 3.0, 3.5, 3.5, 3.5, 6.5, 7.0]


def test_averaged_view_of_pwalks() -> None:
    own, averaged = _views(lambda base: PWALKS(base, period=4, last=3), 8)
    assert own == [1.0, 2.0, 3.0, 3.5, 4.5, 5.5, 6.5, 6.0]
    assert averaged == [1.0, 2.0, 3.0, 3.5, 3.5, 3.5, 4.5, 6.0]


def test_averaged_view_of_pwalks_over_periods() -> None:
    own, averaged = _views(lambda base: PWALKS(base, period=2, last=2, of="periods"), 6)
    assert own == [1.0, 2.0, 3.0, 3.0, 4.0, 4.5]
    assert averaged == [1.0, 2.0, 2.0, 3.0, 3.0, 4.5]


def test_averaged_view_of_pswm_is_the_mean() -> None:
    own, averaged = _views(lambda base: PSWM(base, period=2, sample_share=1.0, blend=0.5), 4)
    assert own == [1.0, 1.75, 2.75, 3.5]
    assert averaged == [1.0, 1.5, 2.75, 3.25]


def test_weights_are_restored_after_an_exception_and_step_is_refused_inside() -> None:
    parameter, optimizer = _drifting(lambda base: PSWA(base, period=4))
    for _ in range(6):
        optimizer.step()
    own = parameter.detach().clone()

    def step_inside() -> None:
        with optimizer.averaged():
            assert parameter.item() != own.item()
            parameter.data.add_(100.0)
            optimizer.step()

    with pytest.raises(InputError, match="inside averaged"):
        step_inside()
    assert torch.equal(parameter, own)
    assert optimizer.steps == 6
    optimizer.step()
    assert optimizer.steps == 7


def test_averaged_may_be_nested() -> None:
    parameter, optimizer = _drifting(lambda base: PSWA(base, period=4))
    for _ in range(5):
        optimizer.step()
    with optimizer.averaged():
        with optimizer.averaged():
            assert parameter.item() == 3.5
        assert parameter.item() == 3.5
    assert parameter.item() == 4.5


def test_no_sample_no_write_back() -> None:
    parameter, optimizer = _drifting(lambda base: PSWA(base, period=2, sample_probability=1e-9))
    for _ in range(6):
        optimizer.step()
    assert parameter.item() == 6.0
    assert optimizer.write_backs == 0
    with optimizer.averaged():
        assert parameter.item() == 6.0


def test_weights_that_become_nan_are_an_error_before_they_are_written_or_shown() -> None:
    parameter, optimizer = _drifting(lambda base: PSWA(base, period=3, sample_share=1.0))
    optimizer.step()
    parameter.grad = torch.full((1,), float("inf"))
    optimizer.step()
    with pytest.raises(LightsleeperError, match="NaN or infinite by step 2"), optimizer.averaged():
        pass
    with pytest.raises(LightsleeperError, match="NaN or infinite by step 3"):
        optimizer.step()


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda base: PSWA(base, period=0), "period"),
        (lambda base: PSWA(base, period=3, state="forget"), "state"),  # type: ignore[arg-type]
        (lambda base: PSWA(base, period=3, nonfinite="ignore"), "nonfinite"),  # type: ignore[arg-type]
        (lambda base: PWALKS(base, period=3, last=0), "last"),
        (lambda base: PWALKS(base, period=3, of="years"), "of"),  # type: ignore[arg-type]
        (lambda base: PSWM(base, period=3, blend=0.0), "blend"),
        (lambda base: PSWM(base, period=3, against="all"), "against"),  # type: ignore[arg-type]
    ],
)
def test_refuses_bad_options(make: Callable[[torch.optim.Optimizer], PeriodicOptimizer], named: str) -> None:
    with pytest.raises(InputError, match=f"^{named} is "):
        _drifting(make)
