"""What can end a retraining Job without a verdict.

TrainingError                a Job that fails says this in its termination message
├── InvalidRun               PERENNIAL_RUN or the settings are wrong: the operator's fault, retrying is useless
├── InvalidData              the exported or the base rows cannot be trained on: the user edits data or labels
├── ObserverUnavailable      the observer did not answer in time: a later run may succeed
├── ObserverRefused          the observer answered no: token, role or request is wrong
├── BundleUnusable           the champion cannot be read or loaded
└── TrainerFailed            the training function raised or returned something that is not a model
"""

from typing import ClassVar


class TrainingError(Exception):
    """Base of everything that makes a retraining Job exit non-zero.

    Parameters
    ----------
    message : str
        A sentence that says what to change.
    """

    reason: ClassVar[str] = "TrainingError"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidRun(TrainingError):
    """The Job's environment does not describe a run."""

    reason = "InvalidRun"


class InvalidData(TrainingError):
    """Rows, columns or labels cannot be trained on."""

    reason = "InvalidData"


class ObserverUnavailable(TrainingError):
    """The observer did not answer, after all retries."""

    reason = "ObserverUnavailable"


class ObserverRefused(TrainingError):
    """The observer refused the request, and would refuse it again."""

    reason = "ObserverRefused"


class BundleUnusable(TrainingError):
    """The champion's bundle is missing, damaged, unsafe or does not load."""

    reason = "BundleUnusable"


class TrainerFailed(TrainingError):
    """The training function raised, or returned no usable model."""

    reason = "TrainerFailed"
