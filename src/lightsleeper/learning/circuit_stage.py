"""Move the bands themselves: gradient steps through the simulated circuit, for bank and network together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from joblib import Parallel, delayed
from numpy.typing import NDArray
from torch import Tensor

from lightsleeper.averaging import PSWA
from lightsleeper.circuits import FrontEnd, FrontEndStream
from lightsleeper.circuits.gradient import bank_envelopes
from lightsleeper.circuits.kernels import STATES
from lightsleeper.learning.bank_model import BankModel
from lightsleeper.learning.wake_model import WakeNetwork
from lightsleeper.learning.wake_stage import Batches, NetworkSettings, bag_loss
from lightsleeper.learning.windows import TRAINING_RATE_HZ, Windows, rows_for
from lightsleeper.recordings import Scene

__all__ = ["CircuitSettings", "fit_circuit"]


@dataclass(frozen=True, slots=True)
class CircuitSettings:
    """How the circuit is trained.

    Attributes:
        steps: optimizer steps; each simulates `shards` groups of windows forward and backward.
        shards: groups of windows in a batch, one thread each.
        bank_rate: learning rate of log frequencies, log Qs and log times.
        network_rate: learning rate of the network.
        period: steps in a period of PSWA.
    """

    steps: int = 48
    shards: int = 2
    bank_rate: float = 0.02
    network_rate: float = 5e-3
    period: int = 16


def fit_circuit(
    windows: Windows,
    scenes: Sequence[Scene],
    frontend: FrontEnd,
    network: WakeNetwork,
    *,
    seed: int,
    settings: CircuitSettings | None = None,
    report: Callable[[int], None] | None = None,
) -> tuple[FrontEnd, NDArray[np.float64]]:
    """Train centre frequencies, Qs, time constants and network through the circuit with PSWA.

    Args:
        windows: training examples; their envelopes give the states at the start of each window.
        scenes: the scenes that they were cut from.
        frontend: stage to start from.
        network: its network, trained in place; it ends with the averaged weights.
        seed: of batches and of the circuit's noise.
        settings: see `CircuitSettings`.
        report: called with 1 after every step.

    Returns:
        The stage with the averaged bank installed, and the loss of every step.
    """
    settings = settings or CircuitSettings()
    shard = _Shard(windows, scenes, frontend)
    bank = BankModel(frontend, rate_hz=shard.rate_hz, step_rate_hz=shard.step_rate_hz)
    groups = [
        {"params": list(bank.parameters()), "lr": settings.bank_rate, "weight_decay": 0.0},
        {"params": list(network.parameters()), "lr": settings.network_rate},
    ]
    optimizer = PSWA(torch.optim.AdamW(groups, weight_decay=1e-4, betas=(0.9, 0.99)), period=settings.period)
    rows = rows_for(frontend.bank.bands)
    batches = Batches(windows, NetworkSettings(batch=rows), seed=seed)
    parameters = [*bank.parameters(), *network.parameters()]
    losses = []
    for step in range(settings.steps):
        draws = [(batches.draw(), batches.gains(rows, frontend.bank.bands)) for _ in range(settings.shards)]
        jobs = (
            delayed(shard.gradient)(bank, network, parameters, index, gains, seed + step * settings.shards + i)
            for i, (index, gains) in enumerate(draws)
        )
        results = Parallel(n_jobs=settings.shards, backend="threading")(jobs)
        for parameter, *gradients in zip(parameters, *(r[1] for r in results), strict=True):
            parameter.grad = torch.stack(gradients).mean(0)
        losses.append(float(np.mean([r[0] for r in results])))
        optimizer.step(loss=torch.tensor(losses[-1]))
        bank.clamp()
        network.clamp()
        if report is not None:
            report(1)
    with optimizer.averaged():
        # Samples are taken before the clamp, so their mean may lie outside by a little.
        bank.clamp()
        network.clamp()
        averaged = {name: value.detach().clone() for name, value in network.state_dict().items()}
        frontend = bank.install(frontend)
    network.load_state_dict(averaged)
    return frontend, np.array(losses)


class _Shard:
    """Simulates a group of windows side by side and differentiates their loss."""

    def __init__(self, windows: Windows, scenes: Sequence[Scene], frontend: FrontEnd) -> None:
        self._windows, self._scenes, self._frontend = windows, scenes, frontend
        self.rate_hz = scenes[0].rate_hz
        self._rows = rows_for(frontend.bank.bands)
        self.step_rate_hz = self._stream(0, frontend).step_rate_hz

    def _stream(self, noise_seed: int, frontend: FrontEnd) -> FrontEndStream:
        return FrontEndStream(
            frontend,
            rows=self._rows,
            rate_hz=self.rate_hz,
            noise_seed=noise_seed,
            frame_rate_hz=TRAINING_RATE_HZ,
        )

    def gradient(
        self,
        bank: BankModel,
        network: WakeNetwork,
        parameters: Sequence[torch.nn.Parameter],
        index: NDArray[np.int64],
        gains: NDArray[np.float32],
        noise_seed: int,
    ) -> tuple[float, tuple[Tensor, ...]]:
        """Loss of the windows `index` and its gradient with respect to `parameters`."""
        windows = self._windows
        # The bands may have moved to other numbers of substeps since the stage was built.
        stream = self._stream(noise_seed, bank.install(self._frontend))
        columns = stream.columns
        state = np.zeros((STATES, gains.size), np.float32)
        state[-3:] = windows.envelopes_v[index, 0].transpose(1, 0, 2).reshape(3, -1)
        envelopes = bank_envelopes(
            bank.coefficients().repeat(1, self._rows),
            columns,
            fixed=stream.fixed_coefficients,
            drive=stream.drive(self._samples(index)),
            noise=stream.noise,
            state=columns.spread(state),
            words=stream.words,
            hop=stream.hop,
            frames=windows.envelopes_v.shape[1],
        )
        rows = envelopes.reshape(len(envelopes), 3, self._rows, -1).permute(2, 0, 1, 3)
        scores = network(rows * torch.from_numpy(gains)[:, None, None])
        wake = torch.from_numpy(windows.wake[index].astype(np.float32))
        loss = bag_loss(scores, torch.from_numpy(windows.judged[index]), wake)
        return float(loss.detach()), torch.autograd.grad(loss, parameters)

    def _samples(self, index: NDArray[np.int64]) -> NDArray[np.float32]:
        """Microphone voltage of the windows, (rows, samples)."""
        per_frame = round(self.rate_hz / TRAINING_RATE_HZ)
        length = self._windows.envelopes_v.shape[1] * per_frame
        starts = self._windows.start[index] * per_frame
        pieces = [
            self._scenes[scene].pressure_pa[start : start + length]
            for scene, start in zip(self._windows.scene[index], starts, strict=True)
        ]
        return np.stack(pieces) * np.float32(self._frontend.microphone.sensitivity_v_per_pa)
