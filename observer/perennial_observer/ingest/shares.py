"""Which share of a deployment's predictions its servers log, so that no label waits for one that they don't."""

from dataclasses import dataclass, field

from perennial_bundle.sampling import is_sampled

from perennial_observer.store.rows import DeploymentKey

__all__ = ["Shares"]

# A revision that has sent nothing for this long serves no more, and no entry of its is under way.
HEARD_S = 3600.0
MAX_REVISIONS = 32
MAX_DEPLOYMENTS = 10_000


@dataclass(frozen=True)
class _Heard:
    percent: int
    time_s: float


@dataclass
class Shares:
    """The percentages that servers give with their log, by deployment and revision.

    After a start, until a deployment's servers have sent something, all of its predictions are held for logged: a label
    is rather kept in vain than lost.
    """

    _heard: dict[str, dict[str, _Heard]] = field(default_factory=dict)

    def note(self, key: DeploymentKey, revision: str, percent: int, *, now: float) -> None:
        """Remember what a revision's server says of itself."""
        if len(self._heard) >= MAX_DEPLOYMENTS and key.uid not in self._heard:
            self._heard.clear()
        recent = {
            name: heard
            for name, heard in self._heard.get(key.uid, {}).items()
            if name != revision and now - heard.time_s < HEARD_S
        }
        if len(recent) >= MAX_REVISIONS:
            recent.clear()
        # A new dictionary each time, for a thread may be reading the last one.
        self._heard[key.uid] = recent | {revision: _Heard(percent, now)}

    def may_come(self, key: DeploymentKey, prediction_id: str) -> bool:
        """Whether a prediction that isn't in the log may yet be sent: one of the revisions would log it."""
        heard = self._heard.get(key.uid)
        return heard is None or is_sampled(prediction_id, max(each.percent for each in heard.values()))
