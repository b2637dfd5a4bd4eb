"""The warm-up: how fast a revision answers before it gets any traffic, and whether that keeps its latency budget.

`cluster/warmup.py` sends the requests; here is how many, and what their latencies mean. The budget is about a model by
itself: batching ties latency to load, so the gate's metric SlowRate decides under traffic.
"""

from perennial.rollout.warmup.assess import MARGIN, assess_warm_up, skip_warm_up
from perennial.rollout.warmup.measurement import Measurement, WarmUpPlan, quantile

__all__ = ["MARGIN", "Measurement", "WarmUpPlan", "assess_warm_up", "quantile", "skip_warm_up"]
