"""A strategy is a road: the steps that a rollout walks, and the one walker that walks them.

`steps` are the kinds of steps, `build` turns `spec.rollout` into a road, `walk` takes a rollout as far along it as it
can go now, `waits` are what may hold it up, `endings` how it ends.
"""

from perennial.rollout.road.build import build_road, next_weight
from perennial.rollout.road.progress import Progress
from perennial.rollout.road.steps import FULL_PERCENT, Look, MirrorCopies, Preview, Road, SetWeight, Stay
from perennial.rollout.road.walk import progress

__all__ = [
    "FULL_PERCENT",
    "Look",
    "MirrorCopies",
    "Preview",
    "Progress",
    "Road",
    "SetWeight",
    "Stay",
    "build_road",
    "next_weight",
    "progress",
]
