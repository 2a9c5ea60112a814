"""Settle as one reads it: one vector of weights, the average and the anchor stored, one function a step.

Symbols and constants are those of :mod:`lightsleeper.averaging.settle_rule`, which writes the rule down. `Settle` is
held to this by tests.
"""

import math
from collections.abc import Callable

from torch import Tensor

__all__ = ["settle"]

b, p, W, SHARE = 0.8, 3.0, 16, 0.1
SIZE, REACH, DRIFT, WALK = 0.1, 0.03, 0.4, 0.42

Gradient = Callable[[Tensor, int], tuple[float, Tensor]]


def settle(  # noqa: PLR0912, PLR0915  the rule in one piece, to be read from top to bottom
    w: Tensor, gradient: Gradient, *, steps: int, lr: float
) -> list[Tensor]:
    """Return the average x after every step.

    Args:
        w: the weights at the start, (n,).
        gradient: (w, step) -> loss and its gradient, (n,); both finite.
        steps: number of steps.
        lr: rate to start from.
    """
    path: list[Tensor] = []
    w, z, x, anchor = w.clone(), w.clone(), w.clone(), w.clone()
    age = 0
    weights = D = G = 0.0
    c, U, V = 1.0, 0.0, 0.0
    size = float(z.norm())
    best: float | None = None
    tolerance = 2.0
    mean, variance, windows = 0.0, 0.0, 0
    probing = 0
    window: list[float] = []
    period: list[float] = []
    H = HE = E = Q = 0.0
    for step in range(steps):
        f, g = gradient(w, step)
        q = float(g.norm()) ** 2
        age += 1
        if not probing:
            e0 = min(lr, max(c * D, REACH * size) / math.sqrt(G + q))
            e = min(e0, SIZE * size / math.sqrt(q))
            G += q * (e / e0) ** 2
            E, Q = E + e * q, Q + q
            if age % 4 == 0:
                H, HE = H - float(g @ (x - z)), HE + e * q
            weights += (age / 1000) ** p
            z = z - e * g
            x = x + (z - x) * ((age / 1000) ** p / weights)
            w = (1 - b) * z + b * x
        path.append(x)

        window.append(f)
        if len(window) < W:
            continue
        L, window, period = sum(window) / W, [], [*period, *window]
        reference = L if best is None else best
        spread = math.sqrt(variance) if windows else 0.3 * abs(reference)
        bad = reference + 4 * spread + tolerance * abs(reference) < L
        if probing:
            probing += 1
            if probing <= 3:
                continue
            probing = 0
            if bad:  # the data have changed: the average starts again
                best, age, weights, D, c, G = L, 0, 0.0, 0.0, 1.0, 0.0
                tolerance *= 4
            else:
                lr, c = lr / 2, max(1.0, c / 2)
        elif bad:
            w = z = x = anchor
            path[-1] = x
            probing = 1
        else:
            windows += 1
            if windows == 1:
                mean, variance = L, (0.3 * L) ** 2
            else:
                k = 1 / min(windows, 128)
                mean, variance = mean + k * (L - mean), (1 - k) * (variance + k * (L - mean) ** 2)
            if len(period) < SHARE * age:
                continue
            searching = D == 0.0
            D += float((x - anchor).norm()) / c
            anchor = x
            P = sum(period) / len(period)
            h = H / HE if HE > 0 else 0.0
            further = False
            if best is not None and not searching:
                U, V = 0.7 * U + H, 0.7 * V + HE
                if best + math.sqrt(variance * W / len(period)) < P:
                    c = max(1.0, 0.7 * c)
                elif best > P and U > WALK * V:
                    c, further = 1.2 * c, True
            best = P if best is None else min(best, P)
            if searching and h < 0 and 0.99 * lr * Q < E:
                lr *= 8
                age, weights, D, c, G = 0, 0.0, 0.0, 1.0, 0.0
            elif lr > 2 * E / Q:
                lr /= 2
            elif h < DRIFT:
                lr *= min(8.0, max(1.2, 1 - h))
            elif further:
                lr *= 1.2
        period, H, HE, E, Q = [], 0.0, 0.0, 0.0, 0.0
        size = float(z.norm())
    return path
