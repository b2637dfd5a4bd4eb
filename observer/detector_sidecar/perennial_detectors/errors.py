"""Errors of this package.

::

    DetectorsError(reason, message)
    ├── InvalidRequest      the caller sends something else
    ├── ModelNotFitted      the caller sends the reference again
    └── EngineUnavailable   the image's owner installs another alibi-detect
"""

__all__ = ["DetectorsError", "EngineUnavailable", "InvalidRequest", "ModelNotFitted"]


class DetectorsError(Exception):
    """Anything that is answered as ``{"error": {"reason", "message"}}``."""

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason or type(self).__name__
        self.message = message


class InvalidRequest(DetectorsError):
    """The request's arrays or parameters cannot be used."""


class ModelNotFitted(DetectorsError):
    """No fitted model is kept under this key (any more)."""


class EngineUnavailable(DetectorsError):
    """alibi-detect is missing, or is a release whose licence forbids production use."""
