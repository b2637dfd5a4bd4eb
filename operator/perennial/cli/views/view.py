"""What `status` shows, gathered."""

from __future__ import annotations

from dataclasses import dataclass

from perennial_api import ModelDeployment, ModelRevision, RetrainingRun

__all__ = ["PodLine", "View"]


@dataclass(frozen=True, slots=True)
class PodLine:
    """One pod of a revision.

    Attributes
    ----------
    state
        Its phase, or what its container waits for, such as CrashLoopBackOff.
    """

    name: str
    revision: str
    ready: bool
    state: str
    restarts: int = 0


@dataclass(frozen=True, slots=True)
class View:
    """All that `status` shows of one deployment."""

    deployment: ModelDeployment
    revisions: tuple[ModelRevision, ...] = ()
    runs: tuple[RetrainingRun, ...] = ()
    pods: tuple[PodLine, ...] = ()
