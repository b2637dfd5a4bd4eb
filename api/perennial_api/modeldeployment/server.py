"""`spec.server`: how the model is served."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from perennial_api.base import Model, Rule
from perennial_api.durations import Duration
from perennial_api.pods import LocalObjectReference, NodeSelector, Resources, Toleration
from perennial_api.request_limits import body_rule, fits_body, fits_timeout, timeout_rule
from perennial_api.types import AtLeast, Float, Int, KeyedBy, Name, PositiveDuration, Quantity

__all__ = ["OnTooSlow", "OutlierScores", "ScaleMetric", "ScoreDetector", "Server"]


class ScaleMetric(StrEnum):
    """What the number of pods follows."""

    CPU = "Cpu"
    MEMORY = "Memory"
    CONCURRENCY = "Concurrency"
    RPS = "Rps"


class OnTooSlow(StrEnum):
    """What happens to a revision whose warm-up takes longer than the latency budget."""

    WARN = "Warn"
    REFUSE = "Refuse"


class ScoreDetector(StrEnum):
    """Detector of single odd rows that is fast enough for a request."""

    MAHALANOBIS = "Mahalanobis"
    KNN = "KNN"


class OutlierScores(Model):
    """How odd each row is by the measure of the bundle's reference sample, told in the answer's headers."""

    detector: ScoreDetector = ScoreDetector.MAHALANOBIS
    """Mahalanobis tells how far a row is from the mean in units of the spread, KNN how far it is from the nearest rows;
    an Outlier monitor with the same detector and contamination logs the same scores."""
    contamination: Annotated[Float, Field(gt=0, le=0.5)] = 0.01
    """Share of the reference rows that counts as odd, a fraction above 0, at most 0.5; it sets the score's cut."""


class Server(Model):
    """The model server's pods. Image and command come from the runtime, never from here."""

    rules = (
        Rule(
            cel=timeout_rule("requestTimeout"),
            message="requestTimeout is longer than 5m, for which no pod waits at its end: lower it",
            holds=lambda self: fits_timeout(self.request_timeout),
        ),
        Rule(
            cel=body_rule("maxRequestSize"),
            message="maxRequestSize must be between 1Ki and 64Mi: a whole body is held in the gateway's memory",
            holds=lambda self: fits_body(self.max_request_size),
        ),
        Rule(
            cel="!has(self.latencyBudget) || self.latencyBudget <= duration('60s')",
            message="latencyBudget is longer than 60s: lower it",
            holds=lambda self: self.latency_budget is None or self.latency_budget.seconds <= 60,  # noqa: PLR2004
        ),
        Rule(
            cel="!has(self.maxReplicas) || self.maxReplicas >= self.minReplicas",
            message="maxReplicas is below minReplicas: raise it or lower minReplicas",
            holds=lambda self: self.max_replicas is None or self.max_replicas >= self.min_replicas,
        ),
        Rule(
            cel="has(self.maxReplicas) == has(self.scaleMetric) && has(self.scaleMetric) == has(self.scaleTarget)",
            message="maxReplicas, scaleMetric and scaleTarget belong together: set all three to scale, or none",
            holds=lambda self: (
                len({v is None for v in (self.max_replicas, self.scale_metric, self.scale_target)}) == 1
            ),
        ),
    )

    runtime: Name = "bentoml-skops"
    """Name of a ModelRuntime of this namespace, or else of a ClusterModelRuntime, with role Server."""
    min_replicas: Annotated[Int, Field(ge=1, le=100)] = 1
    """How many pods serve each revision that may get traffic, 1 to 100; the fewest where it scales."""
    max_replicas: Annotated[Int, Field(ge=1, le=1000)] | None = None
    """The most pods of one revision, 1 to 1000. Left out, it has minReplicas always."""
    scale_metric: ScaleMetric | None = None
    """What the number of pods follows: Cpu or Memory (percent of the request), Concurrency (requests under way) or
    Rps (requests a second)."""
    scale_target: Annotated[Int, Field(ge=1, le=1_000_000)] | None = None
    """What one pod should carry, in scaleMetric's unit: percent, requests under way, or requests a second."""
    scale_down_window: Duration = Duration("5m")
    """How long the load must have been lower before pods go, for Concurrency and Rps as for Cpu and Memory."""
    latency_budget: Annotated[Duration, AtLeast("1ms")] | None = None
    """Latency that the slowest percent of the requests may not pass, such as 50ms: metric SlowRate counts the requests
    above it, and a new revision is measured against it before it gets any."""
    on_too_slow: OnTooSlow = OnTooSlow.WARN
    """What happens to a new revision whose own warm-up is slower than latencyBudget: Warn shows the figures, Refuse
    rolls it back."""
    outlier_scores: OutlierScores | None = None
    """Answers say in x-perennial-outliers how many of their rows are odd, and in x-perennial-outlier-scores each row's
    score. Left out, they don't; an Outlier monitor needs it not."""
    request_timeout: PositiveDuration = Duration("60s")
    """How long the gateway waits for an answer before it gives 504, at most 5m."""
    max_request_size: Quantity = "16Mi"
    """Largest request body that the gateway lets through, 1Ki to 64Mi; a larger one is answered 413."""
    resources: Resources = Resources()
    """Requests and limits of each server pod; what is left out comes from the runtime."""
    tolerations: Annotated[tuple[Toleration, ...], Field(max_length=16)] = ()
    """Taints that the server's pods accept."""
    node_selector: NodeSelector = Field(default={})
    """Labels that a node must have to run the server's pods."""
    image_pull_secrets: Annotated[tuple[LocalObjectReference, ...], Field(max_length=8), KeyedBy("name")] = ()
    """Secrets of this namespace with which the kubelet pulls the runtime's image."""
