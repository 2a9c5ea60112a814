"""Weight averaging that moves training: optimizers that wrap any torch optimizer, and streaming statistics of weights.

It knows nothing of sensors and needs only torch. The callbacks for Lightning and Hugging Face are modules of their own,
``averaging.lightning`` and ``averaging.transformers``, which are not imported here.
"""

from lightsleeper.averaging.batch_norm import BatchNormRefresh, reestimate_batch_norm
from lightsleeper.averaging.memory_plan import MemoryPlan, plan_memory
from lightsleeper.averaging.periodic import PSWA, PSWM, PWALKS
from lightsleeper.averaging.settle import Settle
from lightsleeper.averaging.statistics import WeightDistribution
from lightsleeper.averaging.trimmed_mean import TrimmedMean
from lightsleeper.averaging.wrapper import NonFiniteLossError

__all__ = [
    "PSWA",
    "PSWM",
    "PWALKS",
    "BatchNormRefresh",
    "MemoryPlan",
    "NonFiniteLossError",
    "Settle",
    "TrimmedMean",
    "WeightDistribution",
    "plan_memory",
    "reestimate_batch_norm",
]
