"""Why a batch job ends without having scored everything. Each message says what to change."""

from perennial_server.errors import StartupError


class BatchError(StartupError):
    """The job can't go on."""

    reason = "BatchFailed"


class UnreadableInput(BatchError):
    """There is no input, or it can't be read."""

    reason = "UnreadableInput"


class CannotResume(BatchError):
    """The output was begun from another input, by another bundle or with other settings."""

    reason = "CannotResume"


class StorageFailed(BatchError):
    """A store didn't answer after several attempts."""

    reason = "StorageFailed"
