"""The rule of `Settle` in plain numbers: how far to step, and when to go back. It knows no tensors.

With w the point where gradients g are taken, z the fast weights, x their average and a the last good average, the
anchor::

    w = (1 - b) z + b x                          Schedule-Free interpolation (arXiv:2405.15682)
    e0 = min(lr, c D / sqrt(G + |g|^2))          distance over gradients (DoG, arXiv:2302.12022); lr where that is less
    e = min(e0, SIZE |z| / |g|)                  one batch moves the weights by a tenth of their size at most
    G += |g|^2 (e/e0)^2                          a clipped batch counts for what it moved
    z -= e g;  x += k (z - x),  k = t^p / sum of t^p

D is the path of the average, the sum of ``|x - a| / c`` over periods, and at least ``REACH |z|``. At the end of a
period (a tenth of the steps so far) the average becomes the anchor, and *drift is held against spread*: while z runs
ahead of x, gradients still point from the average past z, so ``-<g, x - z> / (e |g|^2)``, summed over the period, is
negative; once z wanders about x it tends to 1/2. Under ``DRIFT`` the rate was too low and grows. Before the first
period that counts, a rate that alone held every step, while z ran away from x, was far too low: it grows as much as it
may and the average begins anew, so that nothing of the search for a rate stays in D, G and the average.

c, at least 1, is how many times D the weights may go. A walk (drift over ``WALK``, over the last few periods) whose
loss is still the best so far has more to gain from a higher rate than from more steps: c and the rate grow. Where a
period is worse than the best beyond the noise of losses, c shrinks.

Every window of 16 steps the mean loss is judged. Where it stands out, the weights go back to the anchor, and the anchor
is only watched for three windows. If the last of these is bad too, the data have changed: the average starts again, and
more is tolerated from then on, for data that come in blocks change all the time. If it is good, the rate was too high,
or some batches were corrupt: the rate is halved.

What was tried, with figures: docs/settle.md.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

__all__ = ["BLEND", "WINDOW", "Control", "Verdict"]

BLEND = 0.8
"""b: share of the average in the point where gradients are taken."""
POWER = 3.0
"""p: later weights count more."""
WINDOW = 16
"""Steps whose mean loss is judged."""
PERIOD_SHARE = 0.1
"""A period is this share of the steps since the average began."""
SIZE = 0.1
"""Largest step over the size of the weights."""
REACH = 0.03
"""Least distance D over the size of the weights."""
DRIFT = 0.4
"""Under this the rate grows; 1/2 is a walk about the average."""
WALK = 0.42
"""Over this the weights are taken to walk about their average."""
WALK_MEMORY = 0.7
"""What a period's drift counts for in that, over the next one's: one alone is too noisy."""
STRETCH = (0.7, 1.2)
"""Factors of c in a period: down and up."""
GROWTH = (1.2, 8.0)
"""Least and largest growth of the rate in a period."""
ALONE = 0.99
"""Share of what the rate asks for; steps that make more of it in a period were held by nothing else."""
STANDS_OUT = 4.0
"""Standard deviations of window losses."""
TOLERANCE = 2.0
"""A window may be worse than the best period by this multiple of its loss as well; fourfold with every restart."""
PROBE_WINDOWS = 3
MEMORY_WINDOWS = 128
"""Windows behind the mean and the spread of window losses."""
FIRST_SPREAD = 0.3
"""Spread of window losses before it is known, over the first of them."""


class Verdict(Enum):
    """What a step asks for once it is made."""

    GO_ON = "go on"
    ACCEPT = "the average becomes the anchor"
    ROLL_BACK = "the weights go back to the anchor"
    PROBED = "the anchor was watched long enough"


@dataclass(slots=True)
class Control:
    """State of the rule.

    Attributes:
        size: |z|, renewed at every verdict but `GO_ON`.
        scale: what the rule makes of the starting rate: lr = scale * lr at the start.
        age: steps since the average began.
        weight_sum: sum of t^p.
        path, stretch, energy: D, c and G.
        best: mean loss of the best period; NaN before the first.
        tolerance: see `TOLERANCE`.
        window_mean, window_variance, windows: of the losses of good windows.
        probing: windows of the probe so far, plus 1; 0 outside a probe.
        loss_sum, losses: of the present window.
        period_loss, period_losses: of the windows of the present period.
        drift, drift_energy: sums of -<g, x - z> and of e |g|^2 over the steps where both were measured.
        walk_drift, walk_energy: the same over the last few periods.
        moved, gradients: sums of e |g|^2 and |g|^2 over the period.
        roll_backs, restarts, skipped_steps: counts.
    """

    size: float
    scale: float = 1.0
    age: int = 0
    weight_sum: float = 0.0
    path: float = 0.0
    stretch: float = 1.0
    energy: float = 0.0
    best: float = math.nan
    tolerance: float = TOLERANCE
    window_mean: float = 0.0
    window_variance: float = 0.0
    windows: int = 0
    probing: int = 0
    loss_sum: float = 0.0
    losses: int = 0
    period_loss: float = 0.0
    period_losses: int = 0
    drift: float = 0.0
    drift_energy: float = 0.0
    walk_drift: float = 0.0
    walk_energy: float = 0.0
    moved: float = 0.0
    gradients: float = 0.0
    roll_backs: int = 0
    restarts: int = 0
    skipped_steps: int = 0

    def step_size(self, lr: float, gradient_square: float) -> float:
        """e for the starting rate `lr` and |g|^2; 0 in a probe."""
        if self.probing:
            return 0.0
        rate = lr * self.scale
        if gradient_square > 0.0:
            distance = max(self.stretch * self.path, REACH * self.size)
            rate = min(rate, distance / math.sqrt(self.energy + gradient_square))
            step = min(rate, SIZE * self.size / math.sqrt(gradient_square))
            self.energy += gradient_square * (step / rate) ** 2 if rate > 0.0 else 0.0
        else:
            step = rate
        self.moved += step * gradient_square
        self.gradients += gradient_square
        return step

    def averaging_share(self) -> float:
        """k for this step; 0 in a probe."""
        self.age += 1
        if self.probing:
            return 0.0
        # Over 1,000, so that long runs stay far from overflow.
        weight = math.pow(self.age / 1000.0, POWER)
        self.weight_sum += weight
        return weight / self.weight_sum

    def measure_drift(self, away: float, step: float, gradient_square: float) -> None:
        """Take <g, x - z> of this step, before it is made."""
        self.drift -= away
        self.drift_energy += step * gradient_square

    def judge(self, loss: float | None, *, shared: Callable[[float], float] = float) -> Verdict:
        """Count a made step with its finite loss; a window in which one is not known (None) is not judged.

        `shared` gives the mean over the ranks of a distributed run of a sum of losses.
        """
        self.loss_sum += math.nan if loss is None else loss
        self.losses += 1
        if self.losses < WINDOW:
            return Verdict.GO_ON
        self.loss_sum = shared(self.loss_sum)
        mean = self.loss_sum / self.losses
        self.period_loss += self.loss_sum
        self.period_losses += self.losses
        self.loss_sum, self.losses = 0.0, 0
        bad = self._stands_out(mean)
        if self.probing:
            return self._probe(bad, mean)
        if bad:
            self.roll_backs += 1
            self.probing = 1
            self._begin_period()
            return Verdict.ROLL_BACK
        if not math.isnan(mean):
            self._remember(mean)
        return Verdict.ACCEPT if self.period_losses >= PERIOD_SHARE * self.age else Verdict.GO_ON

    def accept(self, moved: float, lr: float) -> None:
        """End a period whose average lies `moved` from the anchor before it."""
        searching = self.path == 0.0
        self.path += moved / self.stretch
        drift = self.drift / self.drift_energy if self.drift_energy > 0.0 else 0.0
        mean = self.period_loss / self.period_losses
        further = not searching and self._change_stretch(mean)
        if math.isnan(self.best) or mean < self.best:
            self.best = mean
        if searching and drift < 0.0 and self.moved > ALONE * lr * self.scale * self.gradients:
            self.scale *= GROWTH[1]
            self._begin_average()
        elif self.gradients > 0.0 and lr * self.scale > 2.0 * self.moved / self.gradients:
            self.scale /= 2.0
        elif drift < DRIFT:
            self.scale *= min(GROWTH[1], max(GROWTH[0], 1.0 - drift))
        elif further:
            self.scale *= STRETCH[1]
        self._begin_period()

    def _change_stretch(self, mean: float) -> bool:
        """Change c by the period's mean loss; whether it grew. Without losses, or a best one, nothing is known."""
        noise = math.sqrt(self.window_variance * WINDOW / self.period_losses)
        if mean > self.best + noise:
            self.stretch = max(1.0, self.stretch * STRETCH[0])
        self.walk_drift = WALK_MEMORY * self.walk_drift + self.drift
        self.walk_energy = WALK_MEMORY * self.walk_energy + self.drift_energy
        further = mean < self.best and self.walk_drift > WALK * self.walk_energy
        if further:
            self.stretch *= STRETCH[1]
        return further

    def _probe(self, bad: bool, mean: float) -> Verdict:
        if self.probing < PROBE_WINDOWS:
            self.probing += 1
            return Verdict.GO_ON
        self.probing = 0
        if bad:
            self.restarts += 1
            self.best = mean
            self.tolerance *= 4.0
            self._begin_average()
        else:
            self.scale /= 2.0
            self.stretch = max(1.0, self.stretch / 2.0)
        self._begin_period()
        return Verdict.PROBED

    def _begin_average(self) -> None:
        self.age, self.weight_sum, self.path, self.stretch, self.energy = 0, 0.0, 0.0, 1.0, 0.0

    def _begin_period(self) -> None:
        self.period_loss, self.period_losses = 0.0, 0
        self.drift, self.drift_energy, self.moved, self.gradients = 0.0, 0.0, 0.0, 0.0

    def _stands_out(self, mean: float) -> bool:
        reference = mean if math.isnan(self.best) else self.best
        spread = math.sqrt(self.window_variance) if self.windows else FIRST_SPREAD * abs(reference)
        return mean > reference + STANDS_OUT * spread + self.tolerance * abs(reference)

    def _remember(self, mean: float) -> None:
        self.windows += 1
        if self.windows == 1:
            self.window_mean, self.window_variance = mean, (FIRST_SPREAD * mean) ** 2
            return
        share = 1.0 / min(self.windows, MEMORY_WINDOWS)
        deviation = mean - self.window_mean
        self.window_mean += share * deviation
        self.window_variance = (1.0 - share) * (self.window_variance + share * deviation**2)

    def state_dict(self) -> dict[str, Any]:
        """Every field, for a checkpoint."""
        return asdict(self)
