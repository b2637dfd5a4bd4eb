"""How many pods each revision has: pure decisions from the load, the rollout and what the user allows.

`policy` says who sets the number, `load` what the routers report, `demand` how many pods that takes, `stabilise` when
fewer are enough, `capacity` how many a share of the traffic needs, `plan` puts them together in one pass, and
`verdict` says whether it works.
"""

from perennial.rollout.scaling.capacity import needed_replicas
from perennial.rollout.scaling.load import Load, Sample, measure_load
from perennial.rollout.scaling.plan import Arm, Scaling, Situation, plan_scaling
from perennial.rollout.scaling.policy import ScaledBy, ScalePolicy
from perennial.rollout.scaling.verdict import AutoscalerView, assess_scaling

__all__ = [
    "Arm",
    "AutoscalerView",
    "Load",
    "Sample",
    "ScalePolicy",
    "ScaledBy",
    "Scaling",
    "Situation",
    "assess_scaling",
    "measure_load",
    "needed_replicas",
    "plan_scaling",
]
