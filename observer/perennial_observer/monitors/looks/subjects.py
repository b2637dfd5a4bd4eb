"""One deployment while it is looked at. Pure."""

from dataclasses import dataclass, field

from perennial_api import ModelDeployment
from perennial_api.modeldeployment.monitoring import Monitor

from perennial_observer.monitors.alarms.rule import name_monitor
from perennial_observer.monitors.alarms.verdicts import Memory
from perennial_observer.monitors.looks.rest import Rest
from perennial_observer.store.rows import DeploymentKey

__all__ = ["Subject", "revision_of"]


@dataclass(frozen=True)
class Subject:
    """One deployment, and how far its log has come.

    Parameters
    ----------
    deployment_id
        Its row in the database; None before it sent anything.
    revision
        The one whose rows are judged; None before one is stable.
    watermark
        None before the first row that fits.
    rejected
        How many rows came that don't.
    reference_digest
        Of the sample that the revision's server sent; None before it came.
    rest
        How long it can be left alone, gathered while it is looked at.
    """

    deployment: ModelDeployment
    key: DeploymentKey
    deployment_id: int | None
    revision: str | None
    watermark: float | None
    rejected: int = 0
    reference_digest: str | None = None
    rest: Rest = field(default_factory=Rest)

    @property
    def exclude(self) -> tuple[str, ...]:
        """Columns that are kept out of the log."""
        return self.deployment.spec.logger.exclude

    def name_of(self, monitor: Monitor, memory: Memory) -> str:
        """Name one of its monitors, as breach ids begin."""
        return name_monitor(monitor.name, self.key.uid, memory.revision)


def revision_of(deployment: ModelDeployment) -> str | None:
    """Return the revision that is stable, if one is."""
    rollout = deployment.status.rollout
    return rollout.stable if rollout is not None else None
