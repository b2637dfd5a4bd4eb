"""`status.rollout.warmUp`: how fast a revision answered before it got any traffic."""

from typing import Annotated

from pydantic import Field

from perennial_api.base import StatusModel
from perennial_api.modeldeployment.gate_status import Count
from perennial_api.types import Bool, Float, Message, Name, Time

__all__ = ["WarmUp"]


class WarmUp(StatusModel):
    """A short measured warm-up through the revision's own endpoints."""

    revision: Name
    """The revision."""
    time: Time
    """When."""
    requests: Count = 0
    """Sample requests answered."""
    errors: Count = 0
    """Sample requests that failed."""
    p50_ms: Annotated[Float, Field(ge=0)] | None = None
    """Median latency in milliseconds."""
    p99_ms: Annotated[Float, Field(ge=0)] | None = None
    """Latency in milliseconds that one in a hundred passed."""
    within_budget: Bool | None = None
    """Whether p99 with margin is inside server.latencyBudget; left out where there is none."""
    message: Message = ""
    """The figures in a sentence."""
