"""Read Kubernetes quantities, so that equal ones are known as equal."""

import re
from decimal import Decimal

__all__ = ["parse_quantity"]

_QUANTITY = re.compile(r"^([0-9]*\.?[0-9]+)(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|e[0-9]+)?$")
_DECIMAL_POWERS = {"m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY_POWERS = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}


def parse_quantity(text: str) -> Decimal | None:
    """Return a quantity such as ``500m`` or ``1Gi`` as a number, or None if the text is none.

    Examples
    --------
    >>> parse_quantity("1Ki") == 1024
    True
    """
    match = _QUANTITY.match(text)
    if match is None:
        return None
    number, suffix = Decimal(match[1]), match[2] or ""
    if suffix in _BINARY_POWERS:
        return number * Decimal(1024) ** _BINARY_POWERS[suffix]
    if suffix.startswith("e"):
        return number.scaleb(int(suffix[1:]))
    return number.scaleb(_DECIMAL_POWERS[suffix])
