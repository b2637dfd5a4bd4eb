"""What the command line can't do, in one sentence that says what to change."""

from __future__ import annotations

from perennial.errors import PerennialError


class CliError(PerennialError):
    """Shown as it is; exit status 1."""


class UsageError(CliError):
    """The words on the command line don't go together; exit status 2."""


class BadBundleError(CliError):
    """What should be pushed is not a bundle, or not the one that its manifest describes."""


class ClusterError(CliError):
    """The API server can't be reached, or refuses."""


class NotAllowedError(ClusterError):
    """The user lacks a right."""


class StoreError(CliError):
    """The bundle store refuses."""


class RefusedVerbError(CliError):
    """The operator refuses a verb, or nobody has answered it."""
