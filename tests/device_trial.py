"""What the tests of the device share: a trial network, its data, its C on this computer."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from lightsleeper.device import HostModel, Network, Plan, compile_host, emit, read_network
from lightsleeper.device.networks import NETWORKS, TrialNetwork, seeded, trial_data

__all__ = ["compiled", "data_for", "trial"]


def trial(name: str, seed: int = 1) -> tuple[nn.Module, Network]:
    chosen: TrialNetwork = NETWORKS[name]
    model = seeded(chosen.build, seed)
    return model, read_network(model, torch.zeros(1, *chosen.shape), loss=chosen.loss)


def data_for(name: str, samples: int, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.generic]]:
    return trial_data(NETWORKS[name], trial(name)[1], samples, seed=seed)


@contextmanager
def compiled(plan: Plan, *, compiler: str = "gcc") -> Iterator[HostModel]:
    with tempfile.TemporaryDirectory() as folder:
        yield compile_host(emit(plan, name="net"), Path(folder), compiler=compiler)
