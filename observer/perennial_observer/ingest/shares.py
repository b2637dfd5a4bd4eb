"""Which share of a deployment's predictions gets into the log, so that no label waits for one that doesn't.

Two things leave predictions out: the server's `spec.logger.percent`, and `spec.monitoring.maxRowsPerSecond` here. Both
choose by a prediction's place in the sample, so a share of what the server sends is the smaller share of all.
"""

from dataclasses import dataclass, field

from perennial_bundle.sampling import is_sampled, sample_place

from perennial_observer.ingest.rates import Rate, choose_share
from perennial_observer.store.rows import DeploymentKey

__all__ = ["Shares"]

# A revision that has sent nothing for this long serves no more, and no entry of its is under way.
HEARD_S = 3600.0
# A label that overtakes its prediction comes so much earlier at most: it is measured by the largest share since.
PEAK_S = 60.0
MAX_REVISIONS = 32
MAX_DEPLOYMENTS = 10_000


@dataclass(frozen=True)
class _Heard:
    percent: int
    time_s: float


@dataclass(frozen=True)
class _Peak:
    """The largest share of this minute and of the one before."""

    share: float
    before: float
    since_s: float


@dataclass
class Shares:
    """The percentages that servers give with their log, by deployment and revision, and what rates leave of them.

    After a start, until a deployment's servers have sent something, all of its predictions are held for logged: a label
    is rather kept in vain than lost.
    """

    _heard: dict[str, dict[str, _Heard]] = field(default_factory=dict)
    _rates: dict[str, Rate] = field(default_factory=dict)
    _peaks: dict[str, _Peak] = field(default_factory=dict)

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

    def choose(self, key: DeploymentKey, rows: int, max_rows_per_s: float | None, *, now: float) -> float:
        """Return the share that is kept of `rows` that have just come; they aren't counted yet."""
        share = choose_share(self._rates.get(key.uid, Rate()).after(rows, now=now), max_rows_per_s)
        peak = self._peaks.get(key.uid)
        if peak is None:
            if len(self._peaks) >= MAX_DEPLOYMENTS:
                self._peaks.clear()
            peak = _Peak(share, share, now)
        elif now - peak.since_s >= PEAK_S:
            peak = _Peak(share, peak.share, now)
        self._peaks[key.uid] = _Peak(max(share, peak.share), peak.before, peak.since_s)
        return share

    def count(self, key: DeploymentKey, rows: int, *, now: float) -> None:
        """Count `rows` whose fate is settled; those that were refused come again."""
        if len(self._rates) >= MAX_DEPLOYMENTS and key.uid not in self._rates:
            self._rates.clear()
        self._rates[key.uid] = self._rates.get(key.uid, Rate()).after(rows, now=now)

    def may_come(self, key: DeploymentKey, prediction_id: str) -> bool:
        """Whether a prediction that isn't in the log may yet get there: one of the revisions would log it."""
        heard = self._heard.get(key.uid)
        if heard is None:
            return True
        percent = max(each.percent for each in heard.values())
        peak = self._peaks.get(key.uid)
        share = 1.0 if peak is None else max(peak.share, peak.before)
        if share >= 1.0:
            return is_sampled(prediction_id, percent)
        return sample_place(prediction_id) < share * percent / 100.0
