"""What can go wrong in a model server.

::

    StartupError(reason)         the process ends; reason and message go to the termination log
    └── ObserverUnavailable      the bundle couldn't be fetched
    RequestError(status)         a request is refused with a v2 error body
    ├── ModelError               the model raised: our fault, status 500
    │   └── ModelUnreachable     its own server doesn't answer: status 503 or 504
    ├── TooBusy(retry_after_s)   no place, or no time left: status 429
    └── TooLate                  its deadline passed while it waited: status 504

A bundle's own errors (`perennial_bundle.BundleError`) end the process in the same way as a StartupError.
"""

from typing import ClassVar

from perennial_bundle import InvalidInput


class StartupError(Exception):
    """The server can't start; ``reason`` is what the operator puts into a condition."""

    reason: ClassVar[str] = "InternalError"


class ObserverUnavailable(StartupError):
    """The observer didn't hand out the bundle in time."""

    reason = "ObserverUnavailable"


class RequestError(Exception):
    """A request is refused.

    Parameters
    ----------
    status
        HTTP status.
    message
        What to change, naming the field at fault.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class ModelError(RequestError):
    """The model raised on rows that its schema allows."""

    def __init__(self, message: str) -> None:
        super().__init__(500, message)


class ModelUnreachable(ModelError):
    """A model in an image of its own doesn't answer, or not in time; no request of the batch is at fault.

    Parameters
    ----------
    status
        503, or 504 for its time.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class TooBusy(RequestError):
    """There is no place for the request, or its deadline can't be met any more; nothing was done for it.

    Parameters
    ----------
    retry_after_s
        Whole seconds after which it is worth trying again, for ``Retry-After``.
    """

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(429, message)
        self.retry_after_s = retry_after_s


class TooLate(RequestError):
    """The request's deadline passed while it waited."""

    def __init__(self) -> None:
        super().__init__(504, "the deadline passed while the request waited for the model")


def refuse_rows(error: InvalidInput) -> RequestError:
    """Say to a client what its rows break."""
    return RequestError(400, f"{error.field}: {error.message} ({error.reason})")
