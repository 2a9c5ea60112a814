"""The caller-owned state of the generated C: its fields in order, all of four bytes, so there are no gaps."""

from dataclasses import dataclass

from lightsleeper.averaging.settle_rule import TOLERANCE
from lightsleeper.device.rule import Rule

__all__ = ["Field", "state_fields"]

FIELD_BYTES = 4

_COMMON = (
    ("uint32_t", "version", "{NAME}_VERSION", "of the network and the rule"),
    ("uint32_t", "steps", "0u", "updates made"),
    ("uint32_t", "skipped", "0u", "samples left out, for NaN, infinity or a label out of range"),
    ("uint32_t", "in_batch", "0u", "samples in the gradient so far"),
    ("float", "learning_rate", "{rate}", "of SGD, or what Settle starts from; may be changed"),
    ("float", "loss_sum", "0.0f", "of the samples in the gradient so far"),
    ("float", "loss", "0.0f", "mean over the last batch"),
)
_PERIODIC = (
    ("float", "mean_weight", "0.0f", "samples in the present mean"),
    ("uint32_t", "averaged", "0u", "1 once there is a mean"),
    ("uint32_t", "write_backs", "0u", "how often the mean became the weights"),
)
_RING = (
    ("uint32_t", "ring_next", "0u", "copy that is written next"),
    ("uint32_t", "ring_filled", "0u", "copies behind the mean"),
)
_SETTLE = (
    ("float", "size", "0.0f", "|z|"),
    ("float", "scale", "1.0f", "what the rule makes of the starting rate"),
    ("uint32_t", "age", "0u", "steps since the average began"),
    ("float", "weight_sum", "0.0f", "sum of t^3"),
    ("float", "path", "0.0f", "D, the way of the average"),
    ("float", "stretch", "1.0f", "c, how many times D the weights may go"),
    ("float", "energy", "0.0f", "G, sum of |g|^2"),
    ("uint32_t", "has_best", "0u", "1 once a period has ended"),
    ("float", "best", "0.0f", "mean loss of the best period"),
    ("float", "tolerance", "{tolerance}", "how much worse a window may be"),
    ("float", "window_mean", "0.0f", "of the losses of good windows"),
    ("float", "window_variance", "0.0f", "of the losses of good windows"),
    ("uint32_t", "windows", "0u", "good windows behind these two"),
    ("uint32_t", "probing", "0u", "windows of the probe so far, plus 1; 0 outside a probe"),
    ("float", "window_loss", "0.0f", "sum over the present window"),
    ("uint32_t", "losses", "0u", "steps in the present window"),
    ("float", "period_loss", "0.0f", "sum over the present period"),
    ("uint32_t", "period_losses", "0u", "steps in the present period"),
    ("float", "drift", "0.0f", "sum of -<g, x - z>"),
    ("float", "drift_energy", "0.0f", "sum of e |g|^2 where drift was measured"),
    ("float", "walk_drift", "0.0f", "drift over the last few periods"),
    ("float", "walk_energy", "0.0f", "drift_energy over the last few periods"),
    ("float", "moved", "0.0f", "sum of e |g|^2 over the period"),
    ("float", "gradients", "0.0f", "sum of |g|^2 over the period"),
    ("uint32_t", "roll_backs", "0u", "returns to the anchor"),
    ("uint32_t", "restarts", "0u", "times that the data were found to have changed"),
)
_COPIES = {
    "average": "mean of the sampled weights",
    "ring": "last samples",
    "fast": "z, the fast weights",
    "anchor": "last good average, the way back",
    "momentum": "of SGD",
    "gradient": "sum over the batch so far; zero between batches",
}


@dataclass(frozen=True, slots=True)
class Field:
    """A member of the state.

    Attributes:
        kind: C type.
        name: of the member.
        count: numbers in it.
        array: whether it is one.
        start: C value that it starts with; empty for arrays.
        meaning: for the comment.
    """

    kind: str
    name: str
    count: int
    array: bool
    start: str
    meaning: str

    @property
    def nbytes(self) -> int:
        """Size."""
        return FIELD_BYTES * self.count


def state_fields(rule: Rule, *, name: str, parameters: int, accumulate: bool) -> tuple[Field, ...]:
    """Members of the state for `parameters` trained weights.

    Args:
        rule: how it trains.
        name: prefix of the generated names.
        parameters: trained weights.
        accumulate: whether the gradient is kept whole.
    """
    scalars = list(_COMMON)
    if rule.averaging in ("pswa", "pswm", "pwalks"):
        scalars += _PERIODIC
    if rule.averaging == "pwalks":
        scalars += _RING
    if rule.averaging == "settle":
        scalars += _SETTLE
    starts = {"NAME": name.upper(), "rate": c_float(rule.learning_rate), "tolerance": c_float(TOLERANCE)}
    fields = [
        Field(kind, member, 1, False, start.format(**starts), meaning) for kind, member, start, meaning in scalars
    ]
    copies = {"weights": 1} | rule.copies | ({"gradient": 1} if accumulate else {})
    meanings = {"weights": "trained weights"} | _COPIES
    return (*fields, *(Field("float", n, parameters * k, True, "", meanings[n]) for n, k in copies.items()))


def c_float(value: float) -> str:
    """A C constant that reads back as the same float32."""
    text = f"{value:.9g}"
    return f"{text}f" if any(mark in text for mark in ".en") else f"{text}.0f"
