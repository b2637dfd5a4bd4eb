"""What the observer has counted for each revision that answers side by side with another: the arms of a comparison.

The operator reads these counts to judge a canary and to end an experiment. They all start at zero when the comparison
begins and never fall in it, so that a reader can take the difference of two reports. The unit is the request (one
prediction id), whatever its number of rows: rows of one request are alike, and would count one client's oddity many
times. Where a request has several rows, its first one stands for it.
"""

from typing import Annotated

from pydantic import Field

from perennial_api.base import StatusModel
from perennial_api.types import Float, Int, KeyedBy, Name, Time

__all__ = ["Arm", "Arms", "Bads", "Labelled", "Rewards", "ShadowPairs"]

Count = Annotated[Int, Field(ge=0)]


class Bads(StatusModel):
    """A count of trials, and of the bad ones among them: what a gate compares between two arms."""

    total: Count = 0
    """Trials."""
    bad: Count = 0
    """Bad ones among them."""


class Labelled(Bads):
    """The same for labels, with the trials that stayed without one."""

    unlabelled: Count = 0
    """Predictions as old as the others whose label didn't come in time, or proves nothing; not part of total."""


class Rewards(StatusModel):
    """Rewards, each from 0 to 1: sum is the successes and count - sum the failures of a bandit's arm."""

    count: Count = 0
    """Requests rewarded."""
    sum: Annotated[Float, Field(ge=0)] = 0.0
    """Sum of their rewards."""


class ShadowPairs(StatusModel):
    """Mirrored answers of this revision beside the live answers to the same requests."""

    requests: Count = 0
    """Mirrored requests that this revision has answered."""
    agreement: Bads = Bads()
    """Of those whose live answer was logged too: total pairs, and the bad ones whose answers differ in any row. Numbers
    of a regression agree within a millionth of the larger one."""
    differences: Count = 0
    """Pairs whose answers are numbers: the output predict of a regression, the output probability otherwise."""
    difference_sum: Annotated[Float, Field(ge=0)] = 0.0
    """Sum over these pairs of the mean absolute difference between the mirrored answer and the live one, in the
    output's unit."""
    difference_squared_sum: Annotated[Float, Field(ge=0)] = 0.0
    """Sum of the squares of the same, for a standard deviation."""
    difference_max: Annotated[Float, Field(ge=0)] = 0.0
    """Largest of the same."""


class Arm(StatusModel):
    """One revision's counts since the comparison began."""

    revision: Name
    """Name of the revision."""
    since: Time
    """When the comparison began, the same for all of its arms. Counts start at zero again when it changes: with
    another attempt of a rollout, or after ten minutes in which one revision alone has answered."""
    counted_until: Time
    """How far the log has been counted, by arrival; also the same for all arms."""
    predictions: Count = 0
    """Live requests answered and logged. Mirrored ones are in shadow alone."""
    rows: Count = 0
    """Rows of these requests."""
    clients: Count = 0
    """Different clients among these requests, where the requests name them."""
    outliers: Bads = Bads()
    """Requests judged by the deployment's Outlier monitor against the revision's own reference, and the odd ones
    among them. Empty without such a monitor."""
    client_outliers: Bads = Bads()
    """The same with each client counted once, by its first request: for sticky splits."""
    labels: Labelled = Labelled()
    """Requests made since the comparison began whose labels have had their time (labels.maturity of the Performance
    monitor; without one each counts when its label comes), and the wrong ones among them: another class than the
    label, or a regression that is further off than the monitor's max. A prediction is settled once, with the labels
    that have come by then, so both arms count the same window of predictions."""
    client_labels: Bads = Bads()
    """The same with each client counted once, by its first labelled request: for sticky splits."""
    rewards: Rewards = Rewards()
    """Rewards of requests made since the comparison began, once for each and as soon as the label comes: 1 for a right
    prediction and 0 for a wrong one."""
    shadow: ShadowPairs | None = None
    """Mirrored answers, if there were any."""


Arms = Annotated[tuple[Arm, ...], Field(max_length=20), KeyedBy("revision")]
