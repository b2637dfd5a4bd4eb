"""Errors of this package, split by what the caller does about them; ``api/`` turns them into HTTP answers.

::

    ObserverError(reason, message)
    ├── InvalidRequest         400  the caller sends something else
    ├── Unauthenticated        401  the caller brings a token of ours
    ├── Forbidden              403  the caller may not do this
    ├── NotFound               404  nothing of that name is here
    ├── TooLarge               413  the caller sends less at once
    ├── UnknownEncoding        415  the caller compresses otherwise, or not at all
    ├── DigestMismatch         422  the bytes are not what the digest names
    ├── Overloaded             429  the caller comes back later
    └── Unavailable            503  something we depend on does not answer
        ├── DetectorUnavailable     the sidecar does not answer; monitors say so and the rest goes on
        └── LeaseLost               another observer has taken over this work; this one leaves it alone
    DetectorFailure                 the sidecar answered with an error; the monitor says so
"""

__all__ = [
    "DetectorFailure",
    "DetectorUnavailable",
    "DigestMismatch",
    "Forbidden",
    "InvalidRequest",
    "LeaseLost",
    "NotFound",
    "ObserverError",
    "Overloaded",
    "TooLarge",
    "Unauthenticated",
    "Unavailable",
    "UnknownEncoding",
]


class ObserverError(Exception):
    """Anything that is answered as ``{"error": {"reason", "message"}}``.

    Parameters
    ----------
    message
        A sentence that says what to change.
    reason
        CamelCase; by default the class's name.
    """

    status = 500

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason or type(self).__name__
        self.message = message


class InvalidRequest(ObserverError):
    """The body, a parameter or a header cannot be used."""

    status = 400


class Unauthenticated(ObserverError):
    """No token, or one that Kubernetes does not know for our audience."""

    status = 401


class Forbidden(ObserverError):
    """The token's ServiceAccount has another role, or belongs to no ModelDeployment that exists."""

    status = 403


class NotFound(ObserverError):
    """There is no such bundle or deployment."""

    status = 404


class TooLarge(ObserverError):
    """The body is over its cap."""

    status = 413


class UnknownEncoding(ObserverError):
    """The body is compressed in a way that isn't known here."""

    status = 415


class DigestMismatch(ObserverError):
    """The bytes sent do not have the digest in the address."""

    status = 422


class Overloaded(ObserverError):
    """A queue or the volume is full."""

    status = 429
    retry_after_s = 2


class Unavailable(ObserverError):
    """The API server or the database does not answer."""

    status = 503


class DetectorUnavailable(Unavailable):
    """The detector sidecar cannot be reached, or is too slow."""


class LeaseLost(Unavailable):
    """Another observer evaluates this deployment, or does this task, by now; nothing was written."""


class DetectorFailure(ObserverError):
    """The detector sidecar refused a request."""
