"""Errors of this package.

::

    ApiError
    ├── InvalidDurationError    the user edits the resource
    └── InvalidQuantityError    the user edits the resource
"""

__all__ = ["ApiError", "InvalidDurationError", "InvalidQuantityError"]


class ApiError(Exception):
    """Anything that goes wrong while reading a resource."""


class InvalidDurationError(ApiError, ValueError):
    """A string is not a duration such as ``1h30m``; the user edits it. A ValueError, so that pydantic reports it."""


class InvalidQuantityError(ApiError, ValueError):
    """A string is not a quantity such as ``512Mi``; the user edits it. A ValueError, so that pydantic reports it."""
