"""Why a bundle can't be had; `perennial_bundle`'s own errors say what is wrong with one that can.

::

    StartupError
    ├── AccessDenied             the store knows us not, or lets us not read it: its credentials are to be changed
    ├── StoreUnavailable         the store gave no answer, or none that is of use
    ├── TooLarge                 the bundle exceeds a limit
    └── LoadTimeout              it took too long
"""

from perennial_server.errors import StartupError


class AccessDenied(StartupError):
    """The credentials are missing, wrong, or without the right to read."""

    reason = "AccessDenied"


class StoreUnavailable(StartupError):
    """No attempt succeeded, or the store refuses for a reason that time doesn't mend."""

    reason = "StoreUnavailable"


class TooLarge(StartupError):
    """More bytes than the server takes."""

    reason = "TooLarge"


class LoadTimeout(StartupError):
    """Fetching or loading exceeded its time."""

    reason = "Timeout"
