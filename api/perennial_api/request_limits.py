"""How much one request may cost, said once for the user's spec and for the route made of it."""

from perennial_api.durations import Duration
from perennial_api.quantities import parse_quantity

__all__ = ["body_rule", "fits_body", "fits_timeout", "timeout_rule"]

_LONGEST_S = 300.0
_SMALLEST_BYTES, _LARGEST_BYTES = 2**10, 2**26


def timeout_rule(field: str) -> str:
    """Return the CEL of `fits_timeout`."""
    return f"self.{field} <= duration('5m')"


def fits_timeout(timeout: Duration) -> bool:
    """Whether a pod that ends waits long enough for such a request."""
    return timeout.seconds <= _LONGEST_S


def body_rule(field: str) -> str:
    """Return the CEL of `fits_body`."""
    return (
        f"!quantity(string(self.{field})).isLessThan(quantity('1Ki'))"
        f" && !quantity(string(self.{field})).isGreaterThan(quantity('64Mi'))"
    )


def fits_body(size: str) -> bool:
    """Whether the gateway can hold such a body in memory."""
    return _SMALLEST_BYTES <= parse_quantity(size) <= _LARGEST_BYTES
