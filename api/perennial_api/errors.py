"""Errors of this package.

::

    ApiError
    └── InvalidDurationError    the user edits the resource
"""

__all__ = ["ApiError", "InvalidDurationError"]


class ApiError(Exception):
    """Anything that goes wrong while reading a resource."""


class InvalidDurationError(ApiError, ValueError):
    """A string is not a duration such as ``1h30m``; the user edits it. A ValueError, so that pydantic reports it."""
