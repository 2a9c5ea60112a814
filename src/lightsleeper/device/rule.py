"""How the device trains: learning rate, momentum, batch, and which averaging is fused into the update."""

import math
from dataclasses import dataclass
from typing import Literal

from lightsleeper.averaging.sampling import SamplingGate
from lightsleeper.errors import InputError

__all__ = ["Averaging", "Rule"]

Averaging = Literal["none", "pswa", "pwalks", "pswm", "settle"]
_AVERAGINGS = ("none", "pswa", "pwalks", "pswm", "settle")


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """SGD with averaging, as the optimizers of `lightsleeper.averaging` around `torch.optim.SGD`, or Settle.

    Attributes:
        averaging: ``"none"``, or which of the optimizers.
        learning_rate: of SGD; what Settle starts from.
        momentum: of SGD, in [0, 1). Settle has none.
        batch: samples whose mean gradient makes one step; over 1 takes a copy of the trained weights.
        period, sample_share, sample_every, write_back_every: as in `PSWA`.
        last, of: as in `PWALKS`.
        blend, against: as in `PSWM`.
        anchor: where Settle's last good average lies: in the state, or in flash that the caller keeps.

    Raises:
        InputError: a value is out of range.
    """

    averaging: Averaging = "pswa"
    learning_rate: float = 0.05
    momentum: float = 0.0
    batch: int = 1
    period: int = 100
    sample_share: float = 0.5
    sample_every: int = 1
    write_back_every: int = 1
    last: int = 5
    of: Literal["samples", "periods"] = "samples"
    blend: float = 0.5
    against: Literal["weights", "earlier_mean"] = "weights"
    anchor: Literal["memory", "flash"] = "memory"

    def __post_init__(self) -> None:
        if self.averaging not in _AVERAGINGS:
            raise InputError(f"averaging is {self.averaging!r}: give {', '.join(_AVERAGINGS)}")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0.0):
            raise InputError(f"learning_rate is {self.learning_rate!r}: give a finite number above 0")
        if not 0.0 <= self.momentum < 1.0:
            raise InputError(f"momentum is {self.momentum!r}: give a number of at least 0 and under 1")
        if self.averaging == "settle" and self.momentum:
            raise InputError("Settle has no momentum: leave it at 0")
        for name in ("batch", "last"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InputError(f"{name} is {value!r}: give a whole number of at least 1")
        if self.of not in ("samples", "periods"):
            raise InputError(f'of is {self.of!r}: give "samples" or "periods"')
        if not 0.0 < self.blend <= 1.0:
            raise InputError(f"blend is {self.blend!r}: give a number above 0 and at most 1")
        if self.against not in ("weights", "earlier_mean"):
            raise InputError(f'against is {self.against!r}: give "weights" or "earlier_mean"')
        if self.anchor not in ("memory", "flash"):
            raise InputError(f'anchor is {self.anchor!r}: give "memory" or "flash"')
        if self.anchor == "flash" and self.averaging != "settle":
            raise InputError(f'anchor is "flash" but averaging is {self.averaging!r}: only Settle has an anchor')
        _ = self.gate

    @property
    def gate(self) -> SamplingGate:
        """When weights are sampled and written back."""
        return SamplingGate(
            period=self.period,
            sample_share=self.sample_share,
            sample_every=self.sample_every,
            write_back_every=self.write_back_every,
        )

    @property
    def carry(self) -> float:
        """Samples that the mean last written back counts for in the next window."""
        if self.averaging != "pswm" or self.against != "earlier_mean":
            return 0.0
        return self.gate.expected_samples_per_window * (1.0 - self.blend) / self.blend

    @property
    def copies(self) -> dict[str, int]:
        """Copies of the trained weights beside the weights themselves, by the name that they have in the C state."""
        averages = {
            "none": {},
            "pswa": {"average": 1},
            "pswm": {"average": 1},
            "pwalks": {"ring": self.last + (self.of == "periods")},
            "settle": {"fast": 1} | ({"anchor": 1} if self.anchor == "memory" else {}),
        }[self.averaging]
        return averages | ({"momentum": 1} if self.momentum else {})
