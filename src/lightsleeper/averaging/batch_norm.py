"""BatchNorm statistics for averaged weights: re-estimated from batches, or from the next training batches.

The running statistics of a BatchNorm layer belong to the weights that produced them. After averaging they are out of
date, which can cost all accuracy (pytorch/pytorch #59363, Lightning-AI/pytorch-lightning #14866). The papers do not say
what they did. There are three ways: keep the statistics (do nothing; they follow with the layer's own momentum),
:func:`reestimate_batch_norm`, which costs forward passes, and :class:`BatchNormRefresh`, which costs none.
"""

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.hooks import RemovableHandle

from lightsleeper.errors import InputError

__all__ = ["BatchNormRefresh", "reestimate_batch_norm"]


@torch.no_grad()
def reestimate_batch_norm(
    model: nn.Module,
    batches: Iterable[Any],
    *,
    limit: int | None = None,
    forward: Callable[[nn.Module, Any], object] | None = None,
) -> int:
    """Set the running statistics of every BatchNorm layer to their mean over batches, for the model's present weights.

    Call it inside ``optimizer.averaged()``, or after a write-back. Each batch counts the same, as in
    ``torch.optim.swa_utils.update_bn``; unlike there, only the BatchNorm layers are in training mode, so dropout, which
    inference does not have, does not disturb the statistics. Modes and momenta are put back; the statistics too, if
    there is an error.

    Args:
        model: any module. One without BatchNorm statistics is left alone, and no batch is drawn.
        batches: a loader. Of a tuple or list the first entry is given to the model, on the model's device.
        limit: number of batches to use at most; all where None.
        forward: runs the model on a batch of another form, for example ``lambda model, batch: model(**batch)``.

    Returns:
        Batches used.

    Raises:
        InputError: ``batches`` was empty.
    """
    layers = _layers(model)
    if not layers:
        return 0
    modes = {module: module.training for module in model.modules()}
    momenta = [layer.momentum for layer in layers]
    statistics = [(tensor, tensor.clone()) for layer in layers for tensor in layer.buffers(recurse=False)]
    used = 0
    try:
        model.eval()
        for layer in layers:
            layer.train()
            _accumulate(layer)
        for batch in islice(batches, limit):
            (forward or _forward)(model, batch)
            used += 1
        if not used:
            raise InputError("no batch to re-estimate BatchNorm statistics from: give a loader with at least one")
    except BaseException:
        for tensor, before in statistics:
            tensor.copy_(before)
        raise
    finally:
        for module, training in modes.items():
            module.training = training
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
    return used


class BatchNormRefresh:
    """Re-estimate BatchNorm statistics from the training batches that follow, at no forward pass more.

    Give it to an averaging optimizer as ``after_write_back``. From each call on the statistics are the plain mean over
    the next ``batches`` training batches, so the first of them displaces what is out of date; then the layers' own
    momentum takes over.

    Args:
        model: the module in training.
        batches: batches in the mean, at least 1.

    Raises:
        InputError: ``batches`` is out of range, or the model has no BatchNorm statistics.
    """

    def __init__(self, model: nn.Module, *, batches: int) -> None:
        if isinstance(batches, bool) or not isinstance(batches, int) or batches < 1:
            raise InputError(f"batches is {batches!r}: give a whole number of at least 1")
        self.layers = _layers(model)
        if not self.layers:
            raise InputError("the model has no BatchNorm layer with running statistics: leave BatchNormRefresh out")
        self.batches = batches
        self._under_way: dict[_BatchNorm, tuple[float | None, RemovableHandle]] = {}

    def __call__(self) -> None:
        """Begin the mean anew in every layer."""
        for layer in self.layers:
            self._finish(layer)
            momentum = layer.momentum
            _accumulate(layer)
            self._under_way[layer] = (momentum, layer.register_forward_hook(self._after_forward))

    def _after_forward(self, layer: nn.Module, _inputs: Any, _output: Any) -> None:
        assert isinstance(layer, _BatchNorm)
        assert layer.num_batches_tracked is not None
        if int(layer.num_batches_tracked) >= self.batches:
            self._finish(layer)

    def _finish(self, layer: _BatchNorm) -> None:
        if layer in self._under_way:
            layer.momentum, handle = self._under_way.pop(layer)
            handle.remove()


def _layers(model: nn.Module) -> list[_BatchNorm]:
    return [m for m in model.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None]


def _accumulate(layer: _BatchNorm) -> None:
    """Make the next statistics a plain mean: torch then weighs batch n by 1/n, so the first replaces what was there."""
    assert layer.num_batches_tracked is not None
    layer.momentum = None
    layer.num_batches_tracked.zero_()


def _forward(model: nn.Module, batch: Any) -> None:
    inputs = batch[0] if isinstance(batch, (tuple, list)) else batch
    device = next((p.device for p in model.parameters()), None)
    model(inputs.to(device) if isinstance(inputs, Tensor) and device is not None else inputs)
