"""PSWA, PWALKS and PSWM: the mean of sampled weights is written back each period, and training goes on from it.

After Tripathi, Liu, Kurup, Shah (and Dhar), arXiv:1905.05774, and Kurup's tinyML talk of 23 June 2020. A side copy
(EMA, SWA) only watches a run; here the run itself restarts from its mean, which lets the learning rate be higher. From
the papers and the patent: the running mean, sampling with a probability in the last share of a period, write-back every
so many periods, and the three names. Ours, where they are silent: no chance in sampling by default, the last half of
the period, write-back each period, the optimizer's state kept, and the formulas of PWALKS and PSWM
(reference/weight_averaging.md section 1).

Patent note (facts, not legal advice): US 11,922,316 B2 (LG Electronics), granted 5 March 2024, listed active, expiry 16
July 2042. Its claim 1 lists all of: a running mean per weight; a gate to batches in a predefined last subset; a random
determination with a set probability; no update outside the subset; assignment of the mean after K periods;
re-initialisation at K + 1. With the default ``sample_probability=1`` nothing is determined at random. Only claims 1 to
6 and the abstract were read.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal, TypedDict, Unpack

import torch
from torch import Tensor
from torch.optim import Optimizer

from lightsleeper.averaging.memory_plan import MemoryPlan
from lightsleeper.averaging.optimizer_state import StateAtWriteBack
from lightsleeper.averaging.periodic_optimizer import PeriodicOptimizer, WeightValues
from lightsleeper.averaging.running_mean import RunningMean, same_tensors
from lightsleeper.averaging.sampling import SamplingGate
from lightsleeper.averaging.storage import OneStorage, StorageChoice
from lightsleeper.averaging.sums import Storage
from lightsleeper.averaging.weight_ring import WeightRing
from lightsleeper.averaging.wrapper import NonFinite
from lightsleeper.errors import InputError

__all__ = ["PSWA", "PSWM", "PWALKS", "PeriodicOptions"]


class PSWA(PeriodicOptimizer):
    """Periodically Sampled Weight Averaging: ``w <- mean of the sampled weights`` at the end of each window.

    A window is ``write_back_every`` periods. Takes one extra copy of the trainable weights. It is a torch optimizer:
    closures, schedulers, ``state_dict`` anywhere in a period, GradScaler (a step that it skips is no sample), DDP (all
    ranks draw alike).

    A run shorter than a window never writes back; :meth:`averaged` still gives the mean of the samples taken so far.

    Args:
        base: the optimizer that makes the steps; any.
        period: steps in a period, for example ``len(loader)``. The paper's is an epoch; a quarter to a whole one was
            tried here.
        sample_share: last share of the period in which weights are sampled, in (0, 1].
        sample_probability: probability of sampling such a step, in (0, 1]. 1 is deterministic.
        write_back_every: periods between write-backs, at least 1.
        state: what becomes of the inner optimizer's state at a write-back: ``"keep"``, ``"reset"`` or ``"average"``.
        sample_every: of those steps each so many-th, counted back from the period's end. Neighbours are nearly alike,
            so this saves time.
        seed: of the sampling draws.
        storage: type of the mean between samples: ``"float32"``, or to save memory ``"bfloat16"``, ``"float16"`` (3
            bytes a weight) or ``"int8"`` (2 bytes), see :class:`WeightDistribution`.
        plan: in place of ``storage``, a plan of :func:`plan_memory`. Tensors that it leaves out keep the weights of the
            steps; where it asks for fewer samples, ``sample_every`` is raised to give them.
        nonfinite: ``"raise"`` or ``"skip"`` when the loss is NaN or infinite.
        after_write_back: called after each write-back, for example to re-estimate BatchNorm statistics.

    Raises:
        InputError: an option is out of range, ``base`` has nothing to train, or the plan is for other parameters or
            another number of copies.
    """

    def __init__(
        self,
        base: Optimizer,
        *,
        period: int,
        sample_share: float = 0.5,
        sample_probability: float = 1.0,
        write_back_every: int = 1,
        sample_every: int = 1,
        state: StateAtWriteBack = "keep",
        seed: int = 0,
        storage: Storage = "float32",
        plan: MemoryPlan | None = None,
        nonfinite: NonFinite = "raise",
        after_write_back: Callable[[], object] | None = None,
    ) -> None:
        gate = SamplingGate(
            period=period,
            sample_share=sample_share,
            sample_probability=sample_probability,
            write_back_every=write_back_every,
            sample_every=sample_every,
            seed=seed,
        )
        if plan is not None:
            gate = _thinned(gate, plan.most_samples)
        super().__init__(base, gate=gate, state=state, nonfinite=nonfinite, after_write_back=after_write_back)
        self._choice: StorageChoice = OneStorage(storage)
        if plan is not None:
            self._check(plan, storage)
            self._choice = plan
        self._mean = RunningMean(self._choice)

    @property
    def nbytes(self) -> int:
        """Bytes of the extra copy."""
        return self._mean.nbytes

    @property
    def _copies(self) -> int:
        return 1

    def _check(self, plan: MemoryPlan, storage: Storage) -> None:
        if storage != "float32":
            raise InputError("storage= and plan= were both given: the plan says the storage of each tensor")
        if self.state_policy.kind == "average":
            raise InputError(
                'state="average" copies the optimizer\'s state, which a memory plan does not count: keep it'
            )
        if plan.copies != self._copies:
            raise InputError(
                f"the plan is for {plan.copies} copies, {type(self).__name__} keeps {self._copies} here: "
                f"plan_memory(..., copies={self._copies})"
            )
        plan.select(self._trainable())

    def _sample(self) -> None:
        self._mean.sample(self._trainable)

    def _end_window(self) -> WeightValues:
        if not self._mean.open:
            return []
        self._mean.finish()
        return self._mean.values()

    def _estimates(self) -> WeightValues:
        return self._mean.values()

    def _options(self) -> dict[str, Any]:
        return super()._options() | {"storage": self._choice.options()}

    def _rule_state(self, parameters: list[Tensor]) -> dict[str, Any]:
        return {"mean": self._mean.state_dict(parameters)}

    def _load_rule_state(self, state: dict[str, Any], parameters: list[Tensor]) -> None:
        self._mean.load_state_dict(state["mean"], parameters)


class PeriodicOptions(TypedDict, total=False):
    """Options that PWALKS and PSWM share with :class:`PSWA`, which describes them and has the same defaults."""

    sample_share: float
    sample_probability: float
    write_back_every: int
    sample_every: int
    state: StateAtWriteBack
    seed: int
    storage: Storage
    plan: MemoryPlan | None
    nonfinite: NonFinite
    after_write_back: Callable[[], object] | None


class PWALKS(PSWA):
    """Periodic Weight Averaging over the Last K Samples: ``w <- mean of the last K`` samples, or period means.

    The window slides over write-backs: it is not emptied there. Only the name is published; the formula is ours. Takes
    K extra copies of the trainable weights, and one more for ``of="periods"``, each in ``storage``. With K = 1 and
    ``of="periods"`` it is PSWA.

    Args:
        base: the optimizer that makes the steps; any.
        period: steps in a period.
        last: K, at least 1.
        of: ``"samples"``, or ``"periods"``, where each period adds the mean of its samples.
        options: as for :class:`PSWA`. With ``of="periods"`` a mean is taken over each period, also where
            ``write_back_every`` is more than 1.

    Raises:
        InputError: as :class:`PSWA`.
    """

    def __init__(
        self,
        base: Optimizer,
        *,
        period: int,
        last: int = 5,
        of: Literal["samples", "periods"] = "samples",
        **options: Unpack[PeriodicOptions],
    ) -> None:
        if isinstance(last, bool) or not isinstance(last, int) or last < 1:
            raise InputError(f"last is {last!r}: give a whole number of at least 1")
        if of not in ("samples", "periods"):
            raise InputError(f'of is {of!r}: give "samples" or "periods"')
        self.last = last
        self.of = of
        super().__init__(base, period=period, **options)
        self._ring = WeightRing(last, self._choice)
        self._has_news = False

    @property
    def nbytes(self) -> int:
        """Bytes of the extra copies."""
        return self._mean.nbytes + self._ring.nbytes

    @property
    def _copies(self) -> int:
        return self.last + (self.of == "periods")

    def _sample(self) -> None:
        if self.of == "periods":
            self._mean.sample(self._trainable)
            return
        trainable = self._trainable()
        self._ring.push(trainable, trainable)
        self._has_news = True

    def _end_period(self) -> None:
        if self._mean.open:
            self._mean.finish()
            self._ring.push(self._mean.parameters, [mean for _, mean in self._mean.values()])
            self._has_news = True

    def _end_window(self) -> WeightValues:
        if not self._has_news:
            return []
        self._has_news = False
        return self._ring.mean()

    def _estimates(self) -> WeightValues:
        if not self._mean.open:
            return self._ring.mean()
        if not same_tensors(self._mean.parameters, self._ring.parameters):
            return self._mean.values()
        return self._ring.mean(newest=[mean for _, mean in self._mean.values()])

    def _options(self) -> dict[str, Any]:
        return super()._options() | {"last": self.last, "of": self.of}

    def _rule_state(self, parameters: list[Tensor]) -> dict[str, Any]:
        own = {"ring": self._ring.state_dict(parameters), "has_news": self._has_news}
        return super()._rule_state(parameters) | own

    def _load_rule_state(self, state: dict[str, Any], parameters: list[Tensor]) -> None:
        super()._load_rule_state(state, parameters)
        self._ring.load_state_dict(state["ring"], parameters)
        self._has_news = state["has_news"]


class PSWM(PSWA):
    """Periodically Sampled Weight Momentum: write back a blend ``b*mean + (1 - b)*v`` with older weights v.

    Only the name is published. Both readings are ours:

    - ``against="weights"``: v is the weights at the end of the window, so write-back is partial.
    - ``against="earlier_mean"``: v is what was written back last, after the patent's claim 2, where the mean goes on
      from the earlier one. It is carried in the running mean itself, as ``c = N*(1 - b)/b`` samples where N is the
      number to expect in a window: n samples give ``(c*v + sum of samples)/(c + n)``, which is the blend for n = N. The
      first window has no v.

    Both take one extra copy of the trainable weights. With b = 1 both are PSWA.

    Args:
        base: the optimizer that makes the steps; any.
        period: steps in a period.
        blend: b, in (0, 1].
        against: which older weights.
        options: as for :class:`PSWA`.

    Raises:
        InputError: as :class:`PSWA`.
    """

    def __init__(
        self,
        base: Optimizer,
        *,
        period: int,
        blend: float = 0.5,
        against: Literal["weights", "earlier_mean"] = "weights",
        **options: Unpack[PeriodicOptions],
    ) -> None:
        super().__init__(base, period=period, **options)
        if not 0.0 < blend <= 1.0:
            raise InputError(f"blend is {blend!r}: give a number above 0 and at most 1")
        if against not in ("weights", "earlier_mean"):
            raise InputError(f'against is {against!r}: give "weights" or "earlier_mean"')
        self.blend = blend
        self.against = against

    def _end_window(self) -> WeightValues:
        if not self._mean.open:
            return []
        if self.against == "earlier_mean":
            self._mean.finish(carry=self.gate.expected_samples_per_window * (1.0 - self.blend) / self.blend)
            return self._mean.values()
        self._mean.finish()
        return [(p, torch.lerp(p.to(mean.dtype), mean, self.blend)) for p, mean in self._mean.values()]

    def _options(self) -> dict[str, Any]:
        return super()._options() | {"blend": self.blend, "against": self.against}


def _thinned(gate: SamplingGate, most_samples: int | None) -> SamplingGate:
    """Return the gate with no more samples in a window, or with one in a period where that is not enough."""
    if most_samples is None:
        return gate
    in_a_period = max(1, most_samples // gate.write_back_every)
    return replace(gate, sample_every=max(gate.sample_every, math.ceil(gate.last_share / in_a_period)))
