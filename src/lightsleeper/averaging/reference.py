"""The averaging rules as one reads them: one vector of weights, every sample stored, the mean taken as a mean.

In the notation of reference/weight_averaging.md section 1: P steps in a period, L the last share of it in which
sampling is allowed, p the sampling probability, K periods between write-backs. ``update`` is one step of any optimizer,
from weights to weights; E: of the last share each E-th step, counted back from the period's end. Each function returns
the weights after every step. The optimizers of :mod:`lightsleeper.averaging.periodic` are held to these by tests.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from lightsleeper.averaging.sampling import uniform

__all__ = ["moments", "pswa", "pswm", "pwalks"]

Update = Callable[[Tensor], Tensor]


def moments(samples: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Return mean and unbiased variance of stored samples, in two passes in float64."""
    x = torch.stack(samples).double()
    mean = x.mean(dim=0)
    return mean, ((x - mean) ** 2).sum(dim=0) / (len(samples) - 1)


def pswa(
    w: Tensor,
    update: Update,
    *,
    steps: int,
    P: int,
    L: float = 0.5,
    p: float = 1.0,
    K: int = 1,
    E: int = 1,
    seed: int = 0,
) -> list[Tensor]:
    """Write back the mean of the samples of the last K periods, and forget them."""
    path: list[Tensor] = []
    samples: list[Tensor] = []
    for t in range(steps):
        w = update(w)
        if _sampled(t, P=P, L=L, p=p, E=E, seed=seed):
            samples.append(w)
        if (t + 1) % (P * K) == 0 and samples:
            w = _mean(samples)
            samples = []
        path.append(w)
    return path


def pwalks(
    w: Tensor,
    update: Update,
    *,
    steps: int,
    P: int,
    last: int,
    of_periods: bool,
    L: float = 0.5,
    p: float = 1.0,
    K: int = 1,
    E: int = 1,
    seed: int = 0,
) -> list[Tensor]:
    """Write back the mean of the last samples, or of the last periods' means, where there is a new one."""
    path: list[Tensor] = []
    kept: list[Tensor] = []
    period: list[Tensor] = []
    written = 0
    for t in range(steps):
        w = update(w)
        if _sampled(t, P=P, L=L, p=p, E=E, seed=seed):
            (period if of_periods else kept).append(w)
        if (t + 1) % P == 0 and period:
            kept.append(_mean(period))
            period = []
        if (t + 1) % (P * K) == 0 and len(kept) > written:
            w = _mean(kept[-last:])
            written = len(kept)
        path.append(w)
    return path


def pswm(
    w: Tensor,
    update: Update,
    *,
    steps: int,
    P: int,
    b: float,
    of_earlier_mean: bool,
    L: float = 0.5,
    p: float = 1.0,
    K: int = 1,
    E: int = 1,
    seed: int = 0,
) -> list[Tensor]:
    """Write back ``b*mean + (1 - b)*v``: v is the weights themselves, or what was written back before."""
    path: list[Tensor] = []
    samples: list[Tensor] = []
    v: Tensor | None = None
    expected = sum(_sampled(t, P=P, L=L, p=1.0, E=E, seed=seed) for t in range(P)) * p * K
    c = expected * (1 - b) / b
    for t in range(steps):
        w = update(w)
        if _sampled(t, P=P, L=L, p=p, E=E, seed=seed):
            samples.append(w)
        if (t + 1) % (P * K) == 0 and samples:
            if not of_earlier_mean:
                w = b * _mean(samples) + (1 - b) * w
            elif v is None:
                w = v = _mean(samples)
            else:
                w = v = (c * v + torch.stack(samples).sum(dim=0)) / (c + len(samples))
            samples = []
        path.append(w)
    return path


def _sampled(t: int, *, P: int, L: float, p: float, E: int, seed: int) -> bool:
    in_last_share = t % P >= P - max(1, round(L * P))
    steps_to_end = (P - 1) - t % P
    return in_last_share and steps_to_end % E == 0 and (p == 1 or uniform(seed, t) < p)


def _mean(samples: list[Tensor]) -> Tensor:
    return torch.stack(samples).mean(dim=0)
