"""What one arm has counted so far. Pure; ``look.py`` adds to it and ``records.py`` stores it."""

import math
from dataclasses import dataclass, fields
from datetime import UTC, datetime

import orjson
from perennial_api.arms import Arm, Bads, Labelled, Rewards, ShadowPairs

from perennial_observer.comparisons.agreement import PairResult

__all__ = ["Tally"]


@dataclass
class Tally:
    """Counts of one arm; see :class:`perennial_api.arms.Arm` for what each means."""

    predictions: int = 0
    rows: int = 0
    clients: int = 0
    outliers_total: int = 0
    outliers_bad: int = 0
    client_outliers_total: int = 0
    client_outliers_bad: int = 0
    labels_total: int = 0
    labels_bad: int = 0
    labels_missing: int = 0
    client_labels_total: int = 0
    client_labels_bad: int = 0
    rewards: int = 0
    reward_sum: float = 0.0
    shadow_requests: int = 0
    pairs: int = 0
    disagreements: int = 0
    differences: int = 0
    difference_sum: float = 0.0
    difference_squared_sum: float = 0.0
    difference_max: float = 0.0

    def dump(self) -> str:
        """Write it as JSON."""
        return orjson.dumps(vars(self)).decode()

    @classmethod
    def load(cls, text: str) -> "Tally":
        """Read what :meth:`dump` wrote; a count that this release doesn't know is dropped."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in orjson.loads(text).items() if name in known})

    def add_request(self, *, is_odd: bool | None, is_new_client: bool) -> None:
        """Count a live request; `is_odd` is None where it wasn't judged."""
        self.predictions += 1
        self.clients += is_new_client
        if is_odd is not None:
            self.outliers_total += 1
            self.outliers_bad += is_odd
            if is_new_client:
                self.client_outliers_total += 1
                self.client_outliers_bad += is_odd

    def add_label(self, *, is_wrong: bool, is_new_client: bool) -> None:
        """Count a labelled request."""
        self.labels_total += 1
        self.labels_bad += is_wrong
        if is_new_client:
            self.client_labels_total += 1
            self.client_labels_bad += is_wrong

    def add_reward(self, reward: float) -> None:
        """Count a request's reward, 0 to 1."""
        self.rewards += 1
        self.reward_sum += reward

    def add_pair(self, result: PairResult) -> None:
        """Count a mirrored answer beside the live one."""
        self.pairs += 1
        self.disagreements += not result.agrees
        if result.difference is None:
            return
        # A product overflows to infinity, which the API server would refuse; a power would raise.
        square_sum = self.difference_squared_sum + result.difference * result.difference
        if not math.isfinite(square_sum):
            return
        self.differences += 1
        self.difference_sum += result.difference
        self.difference_squared_sum = square_sum
        self.difference_max = max(self.difference_max, result.difference)

    def to_arm(self, revision: str, *, since: float, until: float) -> Arm:
        """Write it as the API's arm."""
        shadow = None
        if self.shadow_requests:
            shadow = ShadowPairs(
                requests=self.shadow_requests,
                agreement=Bads(total=self.pairs, bad=self.disagreements),
                differences=self.differences,
                difference_sum=self.difference_sum,
                difference_squared_sum=self.difference_squared_sum,
                difference_max=self.difference_max,
            )
        return Arm(
            revision=revision,
            since=datetime.fromtimestamp(since, UTC),
            counted_until=datetime.fromtimestamp(until, UTC),
            predictions=self.predictions,
            rows=self.rows,
            clients=self.clients,
            outliers=Bads(total=self.outliers_total, bad=self.outliers_bad),
            client_outliers=Bads(total=self.client_outliers_total, bad=self.client_outliers_bad),
            labels=Labelled(total=self.labels_total, bad=self.labels_bad, unlabelled=self.labels_missing),
            client_labels=Bads(total=self.client_labels_total, bad=self.client_labels_bad),
            rewards=Rewards(count=self.rewards, sum=self.reward_sum),
            shadow=shadow,
        )
