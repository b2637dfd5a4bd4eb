"""Kubernetes quantities: `250m`, `512Mi`, `1e3`."""

import re
from decimal import Decimal

from perennial_api.errors import InvalidQuantityError

__all__ = ["QUANTITY_PATTERN", "parse_quantity"]

QUANTITY_PATTERN = r"^([0-9]+|[0-9]+\.[0-9]+|\.[0-9]+)([KMGTPE]i|[mkMGTPE]|e1?[0-9])?$"

_MATCHER = re.compile(QUANTITY_PATTERN)
_DECIMAL = {"m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}


def parse_quantity(text: str) -> Decimal:
    """Read a quantity in its base unit: cores, bytes, or pieces.

    Raises
    ------
    InvalidQuantityError
        If the text isn't a quantity.

    Examples
    --------
    >>> parse_quantity("250m")
    Decimal('0.250')
    >>> parse_quantity("1Ki")
    Decimal('1024')
    """
    match = _MATCHER.fullmatch(text)
    if match is None:
        raise InvalidQuantityError(
            f"{text!r} is not a quantity: write a number with a unit such as 250m or 512Mi"
        )
    number, unit = Decimal(match[1]), match[2] or ""
    if unit in _BINARY:
        return number * Decimal(1024) ** _BINARY[unit]
    exponent = int(unit[1:]) if unit.startswith("e") else _DECIMAL.get(unit, 0)
    return number.scaleb(exponent)
