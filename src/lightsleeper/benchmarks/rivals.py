"""The methods that are compared: how each is built from a network, a rate and a number of steps.

Methods whose weights follow the same path are one family: plain SGD and the averages that only watch it are trained
once and evaluated side by side. A family is built with those of its methods that are wanted.

Rates: momentum SGD moves its weights by rate/(1 - momentum) a unit of gradient, so its rate is given as that effective
rate, which compares with that of methods without momentum (reference/weight_averaging.md section 9, rule 4).
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from torch.optim import SGD, AdamW
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from lightsleeper.averaging import PSWA, PSWM, PWALKS, Settle
from lightsleeper.benchmarks.packages import optional_package
from lightsleeper.errors import InputError

__all__ = [
    "DEFAULT_METHODS",
    "FAMILIES",
    "METHODS",
    "Family",
    "Method",
    "Plan",
    "Training",
    "family_of",
    "method_named",
]

MOMENTUM = 0.9
SGD_RATES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)

Kind = Literal["plain", "decay", "side copy", "write-back", "tuning-free"]
View = Callable[[], AbstractContextManager[nn.Module]]


@dataclass(frozen=True)
class Plan:
    """What a method may know before it starts.

    Attributes:
        steps: steps of the run.
        epoch_steps: steps of an epoch.
    """

    steps: int
    epoch_steps: int

    @property
    def period(self) -> int:
        """Steps between write-backs: an epoch, at most a quarter of the run."""
        return max(1, min(self.epoch_steps, self.steps // 4))


@dataclass(frozen=True)
class Training:
    """One network in training.

    Attributes:
        optimizer: makes the steps.
        views: for each method of the family, gives the network as that method would deploy it now.
        after_step: called after each step: schedules, side copies.
        takes_loss: the loss is given to the step, and the method itself handles one that is not finite.
    """

    optimizer: Any  # a torch optimizer, some of which take more than torch's step()
    views: dict[str, View]
    after_step: tuple[Callable[[], object], ...] = ()
    takes_loss: bool = False


@dataclass(frozen=True)
class Method:
    """A row of the tables.

    Attributes:
        name: how the command line calls it.
        title: for tables and plots.
        kind: whether it writes averages back into training or only watches, decays its rate, or needs none.
        source: package or paper.
    """

    name: str
    title: str
    kind: Kind
    source: str


@dataclass(frozen=True)
class Family:
    """Methods that share one training run.

    Attributes:
        name: of the family.
        version: counts up whenever its runs change, so that older results are not mixed in.
        methods: its rows.
        rates: grid of rates, ascending.
        rate_name: what the rate is.
        build: (network, rate, plan, wanted methods) -> the training.
        default_rate: the rate that its authors state, where they state one.
    """

    name: str
    version: int
    methods: tuple[Method, ...]
    rates: tuple[float, ...]
    rate_name: str
    build: Callable[[nn.Module, float, Plan, Sequence[str]], Training]
    default_rate: float | None = None

    @property
    def shares_grid(self) -> bool:
        """Whether its grid is the common one of effective learning rates."""
        return self.rates == SGD_RATES


def _momentum_sgd(network: nn.Module, rate: float) -> SGD:
    return SGD(network.parameters(), lr=rate * (1 - MOMENTUM), momentum=MOMENTUM)


def _as_is(network: nn.Module) -> View:
    return lambda: nullcontext(network)


def _averaged(network: nn.Module, optimizer: Any) -> View:
    """View of an optimizer that shows its average in `averaged()`."""

    @contextmanager
    def view() -> Iterator[nn.Module]:
        with optimizer.averaged():
            yield network

    return view


def _sgd(network: nn.Module, rate: float, plan: Plan, wanted: Sequence[str]) -> Training:
    views: dict[str, View] = {}
    after_step: list[Callable[[], object]] = []
    for name in wanted:
        views[name], more = _SIDE_COPIES[name](network, plan)
        after_step += more
    return Training(_momentum_sgd(network, rate), views, tuple(after_step))


_SideCopy = tuple[View, list[Callable[[], object]]]


def _no_copy(network: nn.Module, _: Plan) -> _SideCopy:
    return _as_is(network), []


def _ema(network: nn.Module, plan: Plan) -> _SideCopy:
    decay = 1 - 1 / max(0.3 * plan.epoch_steps, 1.0)
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay))  # type: ignore[no-untyped-call]
    return _as_is(average.module), [lambda: average.update_parameters(network)]


def _swa(network: nn.Module, plan: Plan) -> _SideCopy:
    """Equal-weight mean over the last quarter at the constant rate; before that there is no average to show."""
    average = AveragedModel(network)
    steps = 0

    def update() -> None:
        nonlocal steps
        steps += 1
        if 4 * steps > 3 * plan.steps:
            average.update_parameters(network)

    return lambda: nullcontext(average.module if 4 * steps > 3 * plan.steps else network), [update]


def _polynomial(network: nn.Module, _: Plan) -> _SideCopy:
    average = optional_package("dog", distribution="dog-optimizer").PolynomialDecayAverager(network, gamma=8.0)
    return _as_is(average.averaged_model), [average.step]


class _Lawa:
    """Mean of the last 5 weights that lie a hundredth of the run apart (Kaddour, arXiv:2209.14981; Sanyal 2306.03241).

    Own code: no maintained package holds it.
    """

    def __init__(self, network: nn.Module, plan: Plan) -> None:
        self._network = network
        self._stride = max(1, plan.steps // 100)
        self._steps = 0
        self._last: deque[list[torch.Tensor]] = deque(maxlen=5)

    def step(self) -> None:
        self._steps += 1
        if self._steps % self._stride == 0:
            self._last.append([p.detach().clone() for p in self._network.parameters()])

    @contextmanager
    def view(self) -> Iterator[nn.Module]:
        own = [p.detach().clone() for p in self._network.parameters()]
        with torch.no_grad():
            if self._last:
                for parameter, *copies in zip(self._network.parameters(), *self._last, strict=True):
                    parameter.copy_(torch.stack(copies).mean(dim=0))
        try:
            yield self._network
        finally:
            with torch.no_grad():
                for parameter, value in zip(self._network.parameters(), own, strict=True):
                    parameter.copy_(value)


def _lawa(network: nn.Module, plan: Plan) -> _SideCopy:
    lawa = _Lawa(network, plan)
    return lawa.view, [lawa.step]


_SIDE_COPIES: dict[str, Callable[[nn.Module, Plan], _SideCopy]] = {
    "sgd": _no_copy,
    "ema": _ema,
    "swa": _swa,
    "lawa": _lawa,
    "polynomial": _polynomial,
}


def _one_cycle(network: nn.Module, rate: float, plan: Plan, _: Sequence[str]) -> Training:
    optimizer = _momentum_sgd(network, rate)
    schedule = OneCycleLR(
        optimizer, rate * (1 - MOMENTUM), total_steps=plan.steps + 1, pct_start=0.1, cycle_momentum=False
    )
    return Training(optimizer, {"one_cycle": _as_is(network)}, (schedule.step,))


def _cosine(network: nn.Module, rate: float, plan: Plan, _: Sequence[str]) -> Training:
    optimizer = _momentum_sgd(network, rate)
    schedule = CosineAnnealingLR(optimizer, plan.steps)
    return Training(optimizer, {"cosine": _as_is(network)}, (schedule.step,))


def _lookahead(network: nn.Module, rate: float, _: Plan, __: Sequence[str]) -> Training:
    package = optional_package("pytorch_optimizer", distribution="pytorch_optimizer")
    optimizer = package.Lookahead(_momentum_sgd(network, rate), k=5, alpha=0.5)

    @contextmanager
    def slow_weights() -> Iterator[nn.Module]:
        optimizer.backup_and_load_cache()
        yield network
        optimizer.clear_and_load_backup()

    return Training(optimizer, {"lookahead": slow_weights})


def _pswa(network: nn.Module, rate: float, plan: Plan, _: Sequence[str]) -> Training:
    optimizer = PSWA(_momentum_sgd(network, rate), period=plan.period)
    return Training(optimizer, {"pswa": _averaged(network, optimizer)})


def _pwalks(network: nn.Module, rate: float, plan: Plan, _: Sequence[str]) -> Training:
    optimizer = PWALKS(_momentum_sgd(network, rate), period=max(1, plan.period // 2), last=4, of="periods")
    return Training(optimizer, {"pwalks": _averaged(network, optimizer)})


def _pswm(network: nn.Module, rate: float, plan: Plan, _: Sequence[str]) -> Training:
    optimizer = PSWM(_momentum_sgd(network, rate), period=plan.period, against="earlier_mean")
    return Training(optimizer, {"pswm": _averaged(network, optimizer)})


def _schedule_free(network: nn.Module, rate: float, plan: Plan, _: Sequence[str]) -> Training:
    package = optional_package("schedulefree", distribution="schedulefree")
    warm_up = min(100, plan.steps // 10)
    optimizer = package.SGDScheduleFree(network.parameters(), lr=rate, momentum=0.9, warmup_steps=warm_up)
    optimizer.train()

    @contextmanager
    def average() -> Iterator[nn.Module]:
        # Toggled back by a copy: the package's own eval() and train() move the weights by rounding at every look.
        own = [p.detach().clone() for p in network.parameters()]
        optimizer.eval()
        yield network
        optimizer.train()
        with torch.no_grad():
            for parameter, value in zip(network.parameters(), own, strict=True):
                parameter.copy_(value)

    return Training(optimizer, {"schedule_free": average})


def _dog(network: nn.Module, rate: float, plan: Plan, _: Sequence[str]) -> Training:
    package = optional_package("dog", distribution="dog-optimizer")
    optimizer = package.DoG(network.parameters(), reps_rel=rate)
    view, after_step = _polynomial(network, plan)
    return Training(optimizer, {"dog": view}, tuple(after_step))


def _adamw(network: nn.Module, rate: float, _: Plan, __: Sequence[str]) -> Training:
    return Training(AdamW(network.parameters(), lr=rate), {"adamw": _as_is(network)})


def _prodigy(network: nn.Module, rate: float, plan: Plan, _: Sequence[str]) -> Training:
    package = optional_package("prodigyopt", distribution="prodigyopt")
    optimizer = package.Prodigy(network.parameters(), lr=rate)
    schedule = CosineAnnealingLR(optimizer, plan.steps)
    return Training(optimizer, {"prodigy": _as_is(network)}, (schedule.step,))


def _settle(network: nn.Module, rate: float, _: Plan, __: Sequence[str]) -> Training:
    optimizer = Settle(network.parameters(), lr=rate)
    return Training(optimizer, {"settle": _averaged(network, optimizer)}, takes_loss=True)


_EFFECTIVE = "effective learning rate, lr/(1 - momentum)"


def _family(
    method: Method,
    build: Callable[[nn.Module, float, Plan, Sequence[str]], Training],
    *,
    rates: tuple[float, ...] = SGD_RATES,
    rate_name: str = _EFFECTIVE,
    default_rate: float | None = None,
    version: int = 1,
) -> Family:
    return Family(method.name, version, (method,), rates, rate_name, build, default_rate)


_ALL = (
    Family(
        "sgd",
        1,
        (
            Method("sgd", "SGD, constant", "plain", "torch"),
            Method("ema", "EMA, horizon 0.3 epoch", "side copy", "torch"),
            Method("swa", "SWA, last quarter", "side copy", "torch"),
            Method("lawa", "LAWA, 5 of 1 %", "side copy", "own code after arXiv:2209.14981"),
            Method("polynomial", "polynomial average 8", "side copy", "dog-optimizer"),
        ),
        SGD_RATES,
        _EFFECTIVE,
        _sgd,
    ),
    _family(Method("one_cycle", "SGD, one-cycle", "decay", "torch"), _one_cycle),
    _family(Method("cosine", "SGD, cosine decay", "decay", "torch"), _cosine),
    _family(Method("lookahead", "Lookahead, k 5", "write-back", "pytorch_optimizer"), _lookahead),
    _family(Method("pswa", "PSWA, 1 epoch", "write-back", "lightsleeper"), _pswa),
    _family(Method("pwalks", "PWALKS, 4 of 1/2 epoch", "write-back", "lightsleeper"), _pwalks),
    _family(Method("pswm", "PSWM, earlier mean", "write-back", "lightsleeper"), _pswm),
    _family(
        Method("schedule_free", "Schedule-Free SGD", "tuning-free", "schedulefree"),
        _schedule_free,
        rate_name="learning rate",
    ),
    _family(
        Method("dog", "DoG, polynomial average", "tuning-free", "dog-optimizer"),
        _dog,
        rates=(1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1),
        rate_name="first distance over 1 + |w0|",
        default_rate=1e-6,
    ),
    _family(
        Method("adamw", "AdamW, constant", "plain", "torch"),
        _adamw,
        rates=(1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1),
        rate_name="learning rate",
        default_rate=1e-3,
    ),
    _family(
        Method("prodigy", "Prodigy, cosine decay", "tuning-free", "prodigyopt"),
        _prodigy,
        rates=(0.03, 0.1, 0.3, 1.0, 3.0, 10.0),
        rate_name="multiplier of the learning rate",
        default_rate=1.0,
    ),
    _family(
        Method("settle", "Settle", "tuning-free", "lightsleeper"),
        _settle,
        rates=(1e-4, 1e-2, 1.0, 100.0),
        rate_name="learning rate at the start",
        default_rate=1e-2,
        version=5,
    ),
)

FAMILIES: dict[str, Family] = {family.name: family for family in _ALL}
METHODS: dict[str, Method] = {method.name: method for family in _ALL for method in family.methods}
DEFAULT_METHODS = tuple(METHODS)


def method_named(name: str) -> Method:
    """A method by its name.

    Raises:
        InputError: there is none; lists the known ones.
    """
    if name not in METHODS:
        raise InputError(f"no method {name!r}: choose from {', '.join(METHODS)}")
    return METHODS[name]


def family_of(name: str) -> Family:
    """The family in which a method is trained.

    Raises:
        InputError: there is no such method.
    """
    method = method_named(name)
    return next(family for family in _ALL if method in family.methods)
