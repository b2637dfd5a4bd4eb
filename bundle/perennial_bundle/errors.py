"""What can be wrong with a bundle or with the rows given to it.

::

    BundleError(reason)          the bundle can't be used
    ├── BundleNotFound           there is nothing at that path
    ├── DigestMismatch           its bytes aren't the ones that were asked for
    ├── InvalidBundle            it isn't a bundle, or can't become one: the author edits
    ├── UnsafeModel              loading it could run somebody's code
    └── ModelLoadFailed          the model file is sound but doesn't load here
    InvalidInput(field, reason)  rows that the schema refuses: the caller edits
"""

from typing import ClassVar


class BundleError(Exception):
    """A bundle can't be written or used; ``reason`` is the machine-readable half of the message."""

    reason: ClassVar[str] = "InvalidBundle"


class BundleNotFound(BundleError):
    """There is no bundle where one was looked for."""

    reason = "BundleNotFound"


class DigestMismatch(BundleError):
    """The bytes found aren't those that the digest names."""

    reason = "DigestMismatch"


class InvalidBundle(BundleError):
    """The bundle breaks the format, or the model given to ``save`` can't be bundled."""

    reason = "InvalidBundle"


class UnsafeModel(BundleError):
    """Loading the model could run code, or needs a type that nobody has reviewed."""

    reason = "UnsafeModel"


class ModelLoadFailed(BundleError):
    """The model file is whole and safe, but these library versions can't load it."""

    reason = "ModelLoadFailed"


class InvalidInput(ValueError):
    """Rows that don't fit the schema.

    Parameters
    ----------
    field
        The column (or part of a request) at fault.
    reason
        CamelCase, e.g. ``WrongType``, ``MissingColumn``, ``OutOfRange``.
    message
        One sentence that says what to change.
    """

    def __init__(self, field: str, reason: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.reason = reason
        self.message = message
