"""What an inference request asks, whatever road it came on."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from perennial_bundle import Schema
from perennial_bundle.rows import Rows

from perennial_server.errors import RequestError

MAX_WISHES = 64
# Asked of an output or an input by clients of other servers; to ignore them would be to answer something else.
UNSUPPORTED = ("classification", "shared_memory_region")
# Reading this much, or writing this many rows, would hold up all other requests if the event loop did it.
THREAD_FROM_BYTES = 2**16
THREAD_FROM_ROWS = 4096

Parameters = Mapping[str, bool | int | float | str]


@dataclass(frozen=True, slots=True)
class Wish:
    """An output that the client wants, and whether it wants it raw."""

    name: str
    binary: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """What a request asks.

    Parameters
    ----------
    id, parameters
        The client's own; an answer repeats them.
    rows
        Not yet checked against the schema's rules.
    outputs
        In the order of the answer.
    """

    id: str | None
    parameters: Parameters | None
    rows: Rows
    outputs: tuple[Wish, ...]


class Wishes:
    """Knows which outputs a model has.

    Parameters
    ----------
    schema
        The model's. Outputs of an ensemble's members are given only to who names them.
    """

    def __init__(self, schema: Schema) -> None:
        self._known = tuple(column.name for column in schema.outputs)
        answered = [column.name for column in schema.outputs if column.role == "Output"]
        self._all = {binary: tuple(Wish(name, binary) for name in answered) for binary in (False, True)}

    def all(self, *, binary: bool = False) -> tuple[Wish, ...]:
        """Return what is answered to who names no output."""
        return self._all[binary]

    def check(self, wishes: Iterable[Wish]) -> tuple[Wish, ...]:
        """Return the wishes, if they can be granted.

        Raises
        ------
        RequestError
            Status 400.
        """
        wanted = tuple(wishes)
        for wish in wanted:
            if wish.name not in self._known:
                raise RequestError(
                    400,
                    f"outputs: {wish.name[:256]!r} isn't an output; the outputs are {', '.join(self._known)}",
                )
        if len({wish.name for wish in wanted}) != len(wanted):
            raise RequestError(400, "outputs: an output is named twice")
        return wanted
