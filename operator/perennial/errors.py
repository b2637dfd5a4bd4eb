"""Errors of the operator, split by what the caller does about them.

::

    PerennialError
    ├── InvalidSpecError      the user edits the resource
    ├── ConflictError         read again and recompute
    │   └── AlreadyExistsError    the same, and check whose the object is
    ├── NotFoundError         the object is gone
    ├── LeaseLostError        stop working until the lease is held again
    ├── NamespaceEndingError  leave it alone: everything in it is going away
    ├── RefusedError          the API server refuses the object as such; retrying won't help
    └── UnavailableError      the API server or a router can't be reached; back off and retry
"""

__all__ = [
    "AlreadyExistsError",
    "ConflictError",
    "InvalidSpecError",
    "LeaseLostError",
    "NamespaceEndingError",
    "NotFoundError",
    "PerennialError",
    "RefusedError",
    "UnavailableError",
]


class PerennialError(Exception):
    """Anything that the operator raises on purpose."""


class InvalidSpecError(PerennialError):
    """A wish can't be honoured.

    Parameters
    ----------
    reason
        One CamelCase word for the condition.
    message
        What the user should change.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class ConflictError(PerennialError):
    """The object changed since it was read (HTTP 409)."""


class AlreadyExistsError(ConflictError):
    """A create found the name in use."""


class NotFoundError(PerennialError):
    """The object, or its kind, isn't there (HTTP 404)."""


class NamespaceEndingError(PerennialError):
    """The namespace is being deleted; nothing can be made in it any more."""


class RefusedError(PerennialError):
    """The API server refuses the request as such (HTTP 400, 403, 422)."""


class UnavailableError(PerennialError):
    """The other side can't be reached, is overloaded or failed (timeouts, HTTP 429, 5xx)."""


class LeaseLostError(PerennialError):
    """Another replica may lead now: nothing may be written any more."""
