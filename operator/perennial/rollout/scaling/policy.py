"""What `spec.server` says about the number of pods, and who sets it."""

from dataclasses import dataclass
from enum import StrEnum

from perennial_api.modeldeployment.server import ScaleMetric, Server

__all__ = ["ScalePolicy", "ScaledBy"]


class ScaledBy(StrEnum):
    """Who writes a Deployment's `spec.replicas`; nobody else does, so that it is never fought over."""

    MANIFEST = "Manifest"  # the operator, with the rest of the manifest
    AUTOSCALER = "Autoscaler"  # the cluster's HorizontalPodAutoscaler
    OPERATOR = "Operator"  # the operator, through /scale


_SCALED_BY = {
    ScaleMetric.CPU: ScaledBy.AUTOSCALER,
    ScaleMetric.MEMORY: ScaledBy.AUTOSCALER,
    ScaleMetric.CONCURRENCY: ScaledBy.OPERATOR,
    ScaleMetric.RPS: ScaledBy.OPERATOR,
}


@dataclass(frozen=True, slots=True)
class ScalePolicy:
    """The user's wishes about the pods of each revision.

    Attributes
    ----------
    minimum, maximum
        Bounds of each revision's pods; equal where nothing scales.
    metric, target
        What the number follows, and how much of it one pod should carry; None and 1 where nothing scales.
    window_s
        How long the load must have been lower before pods go.
    """

    minimum: int
    maximum: int
    metric: ScaleMetric | None = None
    target: int = 1
    window_s: float = 300.0

    @classmethod
    def of(cls, server: Server) -> "ScalePolicy":
        """Read the spec."""
        window_s = server.scale_down_window.seconds
        if server.scale_metric is None or server.max_replicas is None or server.scale_target is None:
            return cls(server.min_replicas, server.min_replicas, window_s=window_s)
        return cls(
            server.min_replicas, server.max_replicas, server.scale_metric, server.scale_target, window_s
        )

    @property
    def scaled_by(self) -> ScaledBy:
        """Who sets the number of pods."""
        return ScaledBy.MANIFEST if self.metric is None else _SCALED_BY[self.metric]

    def clamp(self, replicas: int) -> int:
        """Return the nearest allowed number."""
        return max(self.minimum, min(self.maximum, replicas))
