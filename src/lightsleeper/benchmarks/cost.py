"""Cost of a method: time per step over plain SGD, and bytes of state per trainable weight."""

import functools
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD

from lightsleeper.benchmarks import networks
from lightsleeper.benchmarks.rivals import METHODS, Plan, Training, family_of
from lightsleeper.benchmarks.scoring import loss_of

__all__ = ["COST_SETTINGS", "extra_bytes", "measure_cost"]

BASELINE = "plain SGD"
_STEPS_A_BLOCK = 50
_WARM_UP_STEPS = 120  # over Schedule-Free's warm-up of 100 steps
_AROUND = "sgd"
_AROUND_MOMENTUM_SGD = frozenset(
    ("ema", "swa", "lawa", "polynomial", "one_cycle", "cosine", "lookahead", "pswa", "pwalks", "pswm")
)
"""Methods that are built around SGD with momentum: their own cost is what they add to that."""

COST_SETTINGS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "DS-CNN 14x14, batch 32": (lambda: networks.ds_cnn(classes=10), (32, 1, 14, 14)),
    "MLP 72-32-6, batch 1": (lambda: networks.mlp(72, 32, 6), (1, 72)),
}
"""Networks and the shape of a batch at which the cost is measured."""


def measure_cost(methods: Sequence[str], *, rounds: int = 25) -> Iterator[dict[str, Any]]:
    """One row for each setting and method.

    All methods of a setting train in turns of 50 steps, in one process on one thread, and processor time is taken, so
    that a busy machine is busy for all of them alike. A turn is an epoch, so that each holds a whole period of the
    methods that write back; real periods are longer, and their write-backs rarer. A run is as long as it is measured
    (1,370 steps without --quick): what a method does once a hundredth of a run (LAWA) it does every 13 steps here, and
    SWA averages in the last quarter only.

    `ratio` is the median over rounds of a method's time over plain SGD's (no momentum) in the same round,
    `ratio_quartiles` its spread; `own_ratio` the same over SGD with momentum for the methods that are built around it,
    and `ratio` for all others; `bytes_per_weight` is beside weights and gradients, see `extra_bytes`.
    """
    torch.set_num_threads(1)
    for setting, (make, shape) in COST_SETTINGS.items():
        steppers = {
            name: _Stepper(name, make, shape, steps=_WARM_UP_STEPS + rounds * _STEPS_A_BLOCK)
            for name in dict.fromkeys((BASELINE, _AROUND, *methods))
        }
        for stepper in steppers.values():
            stepper.time_s(_WARM_UP_STEPS)
        times: dict[str, list[float]] = {name: [] for name in steppers}
        for _ in range(rounds):
            for name, stepper in steppers.items():
                times[name].append(stepper.time_s(_STEPS_A_BLOCK) / _STEPS_A_BLOCK)
        for name in (BASELINE, *methods):
            stepper = steppers[name]
            ratios = _ratios(times[name], times[BASELINE])
            around = times[_AROUND if name in _AROUND_MOMENTUM_SGD else BASELINE]
            weights = sum(p.numel() for p in stepper.network.parameters() if p.requires_grad)
            state = extra_bytes(stepper.training, stepper.network)
            yield {
                "setting": setting,
                "weights": weights,
                "method": name,
                "method_title": METHODS[name].title if name in METHODS else name,
                "step_s": statistics.median(times[name]),
                "ratio": statistics.median(ratios),
                "ratio_quartiles": [statistics.quantiles(ratios, n=4)[at] for at in (0, 2)] if rounds > 1 else None,
                "own_ratio": statistics.median(_ratios(times[name], around)),
                "rounds": rounds,
                "extra_bytes": state,
                "bytes_per_weight": state / weights,
            }


def _ratios(times: Sequence[float], base: Sequence[float]) -> list[float]:
    return [own / other for own, other in zip(times, base, strict=True)]


class _Stepper:
    """One method on random data: the time of a step does not depend on what is learned, and nothing may diverge."""

    def __init__(self, name: str, make: Callable[[], nn.Module], shape: tuple[int, ...], *, steps: int) -> None:
        torch.manual_seed(0)
        self.network = make()
        self._x = torch.randn(shape)
        self._y = torch.arange(shape[0]) % 6
        plan = Plan(steps=steps, epoch_steps=_STEPS_A_BLOCK)
        if name == BASELINE:
            self.training = Training(SGD(self.network.parameters(), lr=1e-3), {})
        else:
            family = family_of(name)
            rate = family.default_rate or family.rates[0]
            self.training = family.build(self.network, rate, plan, (name,))

    def time_s(self, steps: int) -> float:
        """Processor seconds of so many steps."""
        training, network = self.training, self.network
        began = time.process_time()
        for _ in range(steps):
            training.optimizer.zero_grad()
            loss = loss_of("accuracy", network(self._x), self._x, self._y)
            loss.backward()  # type: ignore[no-untyped-call]
            if training.takes_loss:
                training.optimizer.step(loss=loss)
            else:
                training.optimizer.step()
            for follow in training.after_step:
                follow()
        return time.process_time() - began


def extra_bytes(training: Training, network: nn.Module) -> int:
    """Bytes of all tensors that a training holds beside the network's weights, gradients and buffers.

    Every tensor that can be reached from the optimizer and the side copies counts once by its storage, step counters
    included. Plain Python numbers do not count.
    """
    own = [*network.parameters(), *network.buffers(), *(p.grad for p in network.parameters() if p.grad is not None)]
    known = {tensor.untyped_storage().data_ptr() for tensor in own}
    sizes = {
        storage.data_ptr(): storage.nbytes()
        for tensor in _tensors((training.optimizer, training.after_step), seen=set())
        if (storage := tensor.untyped_storage()).data_ptr() not in known
    }
    return sum(sizes.values())


def _tensors(item: Any, *, seen: set[int]) -> Iterator[Tensor]:
    """Every tensor that can be reached through containers, attributes, closures and partial functions."""
    if id(item) in seen or isinstance(item, type | str | bytes | int | float | complex | None):
        return
    seen.add(id(item))
    if isinstance(item, Tensor):
        yield item
        return
    for below in _below(item):
        yield from _tensors(below, seen=seen)


def _below(item: Any) -> Iterable[Any]:
    if isinstance(item, dict):
        return [*item.keys(), *item.values()]
    if isinstance(item, list | tuple | set | frozenset | deque):
        return list(item)
    if isinstance(item, functools.partial):
        return [item.func, *item.args, *item.keywords.values()]
    found = [cell.cell_contents for cell in getattr(item, "__closure__", None) or () if _filled(cell)]
    found += [getattr(item, name) for name in getattr(type(item), "__slots__", ()) if hasattr(item, name)]
    return [*found, getattr(item, "__self__", None), *getattr(item, "__dict__", {}).values()]


def _filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False
