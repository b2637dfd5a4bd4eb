"""From the run's wishes to rows that train and rows that test, or a reason why there are too few."""

import hashlib
from dataclasses import dataclass

import numpy as np
from perennial_bundle import Bundle

from perennial_training.client import ObserverClient
from perennial_training.data import Rows, join_rows, read_rows
from perennial_training.errors import InvalidRun
from perennial_training.result import Figures, Reason, isoformat
from perennial_training.spec import RunSpec
from perennial_training.split import Split, time_gapped_split
from perennial_training.weights import AgeWeights

# Below this a metric says more about the sample than about the model.
MIN_TEST_ROWS = 100
MIN_TRAIN_ROWS = 100


@dataclass(frozen=True)
class Gathered:
    """The rows of a run.

    Attributes
    ----------
    train, test : Rows
        Both sides of the gap.
    split : Split
        Where they were cut.
    data_digest : str
        ``sha256:<hex>`` over the exported and the base bytes: the same digest and run give the same candidate.
    """

    train: Rows
    test: Rows
    split: Split
    data_digest: str

    def figures(self, weights: AgeWeights | None) -> Figures:
        """What a report says of the rows; times are those of the first and last row, or None without rows."""
        train_from, train_to = _ends(self.train)
        test_from, test_to = _ends(self.test)
        return Figures(
            train_rows=len(self.train),
            test_rows=len(self.test),
            effective_samples=weights.effective_samples if weights is not None else None,
            train_from=train_from,
            train_to=train_to,
            test_from=test_from,
            test_to=test_to,
            data_digest=self.data_digest,
        )


def _ends(rows: Rows) -> tuple[str | None, str | None]:
    if not len(rows):
        return None, None
    return isoformat(float(rows.event_time[0])), isoformat(float(rows.event_time[-1]))


@dataclass(frozen=True)
class Refusal:
    """Why there is no candidate worth a canary."""

    reason: Reason
    message: str


def gather(spec: RunSpec, client: ObserverClient, champion: Bundle) -> Gathered | None:
    """Read the labelled rows of the window and cut them; None where the log is still empty.

    Raises
    ------
    TrainingError
        The observer, the data or the run is at fault.
    """
    watermark_s = client.watermark()
    if watermark_s is None:
        return None
    data = spec.data
    try:
        split = time_gapped_split(
            watermark_s,
            window_s=data.window_s,
            gap_s=data.gap_s,
            test_s=data.test_s,
            label_maturity_s=data.label_maturity_s,
        )
    except ValueError as error:
        raise InvalidRun(f"PERENNIAL_RUN.data: {error}") from error
    export = client.export(split.train_from_s, split.test_until_s)
    digest = hashlib.sha256(export)
    rows = read_rows(export, champion, "export")
    if data.base_uri is not None:
        blob = client.blob(data.base_uri.removeprefix("perennial://"))
        digest.update(blob)
        rows = join_rows(rows, read_rows(blob, champion, "base dataset"), split)
    return Gathered(
        train=rows.where(split.train_mask(rows.event_time)),
        test=rows.where(split.test_mask(rows.event_time)),
        split=split,
        data_digest=f"sha256:{digest.hexdigest()}",
    )


def assess_rows(gathered: Gathered, weights: AgeWeights | None, spec: RunSpec, task: str) -> Refusal | None:
    """Say why these rows can't carry a comparison, or None if they can.

    Parameters
    ----------
    gathered : Gathered
        The rows.
    weights : AgeWeights or None
        Those of the training rows; None where the floor of effective samples can't be reached.
    spec : RunSpec
        What was asked for.
    task : str
        The champion's task.
    """
    n_train, n_test = len(gathered.train), len(gathered.test)
    if n_test < MIN_TEST_ROWS or n_train < MIN_TRAIN_ROWS:
        return Refusal(
            "TooFewLabels",
            f"{n_train} labelled rows to train on and {n_test} to test with; "
            f"{MIN_TRAIN_ROWS} and {MIN_TEST_ROWS} are needed: send feedback, or widen data.window or data.test",
        )
    floor = spec.data.weights.min_effective_samples
    if weights is None:
        return Refusal(
            "TooFewEffectiveSamples",
            f"{n_train} training rows can't be worth {floor:g} under any weights: "
            "widen data.window or lower data.weights.minEffectiveSamples",
        )
    if task == "Classification":
        for rows, name in ((gathered.train, "training"), (gathered.test, "test")):
            if np.unique(rows.labels).size < 2:  # noqa: PLR2004
                return Refusal("SingleClass", f"all {len(rows)} {name} rows have the same label")
    return None
