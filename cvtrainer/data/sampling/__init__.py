"""Which sample stands where in an epoch: samplers, and the plan that cuts an epoch into batches."""

from cvtrainer.data.sampling.balanced import Balanced
from cvtrainer.data.sampling.plan import BatchPlan, BatchRequest
from cvtrainer.data.sampling.repeats import RepeatFactor
from cvtrainer.data.sampling.sampler import BatchSampler, Order, Sampler, Sequential, Shuffled
from cvtrainer.data.sampling.shapes import AspectRatio
from cvtrainer.data.sampling.weighted import Weighted

__all__ = [
    "AspectRatio",
    "Balanced",
    "BatchPlan",
    "BatchRequest",
    "BatchSampler",
    "Order",
    "RepeatFactor",
    "Sampler",
    "Sequential",
    "Shuffled",
    "Weighted",
]
