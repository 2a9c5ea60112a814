"""The same training in PyTorch, which the generated C is held to."""

import copy
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.nn import functional

from lightsleeper.averaging import PSWA, PSWM, PWALKS, Settle
from lightsleeper.device.graph import Network
from lightsleeper.device.layers import Array, Loss
from lightsleeper.device.rule import Rule
from lightsleeper.errors import InputError

__all__ = ["distance", "optimizer_of", "train_torch"]

_Averaged = PSWA | PWALKS | PSWM | Settle


def optimizer_of(rule: Rule, parameters: Sequence[Tensor]) -> torch.optim.Optimizer:
    """The optimizer of PyTorch and `lightsleeper.averaging` that the generated C is written after."""
    if rule.averaging == "settle":
        return Settle(list(parameters), lr=rule.learning_rate)
    base = torch.optim.SGD(list(parameters), lr=rule.learning_rate, momentum=rule.momentum)
    if rule.averaging == "none":
        return base
    period = {"period": rule.period}
    options = {
        "sample_share": rule.sample_share,
        "sample_every": rule.sample_every,
        "write_back_every": rule.write_back_every,
    }
    if rule.averaging == "pwalks":
        return PWALKS(base, last=rule.last, of=rule.of, **period, **options)  # type: ignore[arg-type]
    if rule.averaging == "pswm":
        return PSWM(base, blend=rule.blend, against=rule.against, **period, **options)  # type: ignore[arg-type]
    return PSWA(base, **period, **options)  # type: ignore[arg-type]


def train_torch(
    model: nn.Module,
    network: Network,
    rule: Rule,
    samples: NDArray[np.float32],
    targets: ArrayLike,
    *,
    trained: frozenset[tuple[int, str]],
) -> tuple[list[Array], list[Array]]:
    """Train a copy of a module on samples in order.

    Args:
        model: as given to `read_network`, in evaluation mode and without BatchNorm.
        network: what was read from it.
        rule: how it is trained.
        samples: (n, ...) inputs.
        targets: (n,) labels or (n, outputs) values.
        trained: see `Network.trained`.

    Returns:
        The trained parameters in the order of the C state's, and their averages.
    """
    if any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules()):
        raise InputError("the module holds BatchNorm: fold it first (torch.nn.utils.fusion)")
    model = copy.deepcopy(model)
    chosen = _chosen(model, network, trained)
    for parameter in model.parameters():
        parameter.requires_grad_(any(parameter is c for c in chosen))
    optimizer = optimizer_of(rule, chosen)
    x, y = torch.from_numpy(samples), torch.as_tensor(np.asarray(targets))
    for start in range(0, len(x) - rule.batch + 1, rule.batch):
        optimizer.zero_grad()
        loss = _loss(network.loss, model(x[start : start + rule.batch]), y[start : start + rule.batch])
        loss.backward()  # type: ignore[no-untyped-call]
        if isinstance(optimizer, (PSWA, Settle)):
            optimizer.step(loss=loss)
        else:
            optimizer.step()
    weights = [_copy(p) for p in chosen]
    if not isinstance(optimizer, (PSWA, Settle)):
        return weights, weights
    with optimizer.averaged():
        return weights, [_copy(p) for p in chosen]


def distance(weights: Array, expected: Sequence[Array]) -> float:
    """Largest over tensors of |difference| / |expected|, both as Euclidean lengths."""
    parts = np.split(weights.astype(np.float64), np.cumsum([e.size for e in expected])[:-1])
    return max(
        float(np.linalg.norm(part - e.reshape(-1)) / max(float(np.linalg.norm(e)), 1e-12))
        for part, e in zip(parts, expected, strict=True)
    )


def _chosen(model: nn.Module, network: Network, trained: frozenset[tuple[int, str]]) -> list[nn.Parameter]:
    chosen = []
    for index, layer in enumerate(network.layers):
        module = model.get_submodule(layer.name)
        named = {name.removesuffix("_l0"): parameter for name, parameter in module.named_parameters()}
        chosen += [named[name] for name in layer.parameters if (index, name) in trained]
    return chosen


def _copy(parameter: Tensor) -> Array:
    return parameter.detach().numpy().astype(np.float32, copy=True)


def _loss(kind: Loss, output: Tensor, target: Tensor) -> Tensor:
    if kind == "cross_entropy":
        return functional.cross_entropy(output, target.long())
    if kind == "binary_cross_entropy":
        return functional.binary_cross_entropy_with_logits(output.reshape(-1), target.float())
    return functional.mse_loss(output, target.float().reshape(output.shape))
