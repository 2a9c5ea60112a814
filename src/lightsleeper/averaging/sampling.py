"""When a step's weights are sampled and when the mean is written back."""

import math
from dataclasses import dataclass
from functools import cached_property

from lightsleeper.errors import InputError

__all__ = ["SamplingGate", "mixed", "uniform"]

_MASK = (1 << 64) - 1


def mixed(seed: int, counter: int) -> int:
    """Return 64 random bits that depend on ``seed`` and ``counter`` alone (SplitMix64 of Steele et al., 2014).

    A counter in place of a generator leaves no state to save, and every rank of a distributed run draws the same.
    """
    x = (seed * 0x9E3779B97F4A7C15 + (counter + 1) * 0xD1342543DE82EF95) & _MASK
    for _ in range(2):
        x = (x + 0x9E3779B97F4A7C15) & _MASK
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
        x ^= x >> 31
    return x


def uniform(seed: int, counter: int) -> float:
    """Return a number in [0, 1) drawn as :func:`mixed`."""
    return (mixed(seed, counter) >> 11) / float(1 << 53)


@dataclass(frozen=True, kw_only=True)
class SamplingGate:
    """Decide by the step's number alone (0 for the first) whether it is sampled, ends a period, ends a window.

    A *window* is ``write_back_every`` periods; at its end the mean is written back.

    Args:
        period: optimizer steps in a period, at least 1 (the paper: one epoch).
        sample_share: last share of each period whose steps may be sampled, in (0, 1]; at least one step is.
        sample_probability: probability that such a step is sampled, in (0, 1].
        write_back_every: periods between write-backs, at least 1.
        sample_every: of those steps only each so many-th may be, counted back from the period's last step; at least 1.
        seed: of the draws, which are made only where ``sample_probability`` is under 1.

    Raises:
        InputError: a value is out of its range.
    """

    period: int
    sample_share: float = 0.5
    sample_probability: float = 1.0
    write_back_every: int = 1
    sample_every: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("period", "write_back_every", "sample_every"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InputError(f"{name} is {value!r}: give a whole number of at least 1")
        for name in ("sample_share", "sample_probability"):
            value = getattr(self, name)
            if not 0.0 < value <= 1.0:
                raise InputError(f"{name} is {value!r}: give a number above 0 and at most 1")

    @property
    def samples_per_period(self) -> int:
        """Steps of a period that may be sampled."""
        return math.ceil(self.last_share / self.sample_every)

    @property
    def steps_per_window(self) -> int:
        """Steps between two write-backs."""
        return self.period * self.write_back_every

    @cached_property
    def last_share(self) -> int:
        """Steps in the last share of a period."""
        return max(1, round(self.sample_share * self.period))

    @property
    def expected_samples_per_window(self) -> float:
        """Mean number of samples between two write-backs."""
        return self.samples_per_period * self.sample_probability * self.write_back_every

    def samples(self, step: int) -> bool:
        """Whether the weights after this step enter the mean."""
        left_in_period = self.period - 1 - step % self.period
        if left_in_period >= self.last_share or left_in_period % self.sample_every:
            return False
        return self.sample_probability >= 1.0 or uniform(self.seed, step) < self.sample_probability

    def ends_period(self, step: int) -> bool:
        """Whether this is the last step of a period."""
        return (step + 1) % self.period == 0

    def ends_window(self, step: int) -> bool:
        """Whether the mean is written back after this step."""
        return (step + 1) % self.steps_per_window == 0
