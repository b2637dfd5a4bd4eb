"""Durations as users write them: ``15s``, ``1h30m``, ``7d``."""

import re
from typing import Any, Self

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from perennial_api.errors import InvalidDurationError

__all__ = ["Duration", "parse_duration_s"]

# Units in falling order, each at most once, whole numbers. The digit counts keep any sum below Go's largest
# duration (292 years), which is where the API server would overflow.
PATTERN = r"^([0-9]{1,4}d)?([0-9]{1,5}h)?([0-9]{1,5}m)?([0-9]{1,5}s)?([0-9]{1,5}ms)?$"
SHORTEST, LONGEST = 2, 32

_UNITS_S = (("d", 86_400.0), ("h", 3_600.0), ("m", 60.0), ("s", 1.0), ("ms", 0.001))
_MATCHER = re.compile(PATTERN)


def parse_duration_s(text: str) -> float:
    """Read a duration such as ``1h30m`` in seconds.

    Raises
    ------
    InvalidDurationError
        If the text is empty, has a fraction, a sign, a unit other than d, h, m, s, ms, or units out of order.

    Examples
    --------
    >>> parse_duration_s("1d12h")
    129600.0
    """
    match = _MATCHER.fullmatch(text)
    if match is None or len(text) < SHORTEST:
        raise InvalidDurationError(
            f"{text!r} is not a duration: write whole numbers with d, h, m, s or ms, largest first, such as 1h30m"
        )
    parts = zip(match.groups(), _UNITS_S, strict=True)
    return sum(int(part.removesuffix(unit)) * unit_s for part, (unit, unit_s) in parts if part is not None)


class Duration(str):
    """A valid duration that remembers how the user spelled it; ``.seconds`` is what code reckons with."""

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        """Check the spelling, raise :class:`InvalidDurationError` otherwise."""
        parse_duration_s(text)
        return super().__new__(cls, text)

    @property
    def seconds(self) -> float:
        """The length in seconds."""
        return parse_duration_s(self)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Validate from a string, serialise as that string."""
        return core_schema.no_info_after_validator_function(cls, core_schema.str_schema(strict=True))

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Describe it to the API server, which then lets CEL compare durations."""
        return {
            "type": "string",
            "format": "duration",
            "pattern": PATTERN,
            "minLength": SHORTEST,
            "maxLength": LONGEST,
        }
