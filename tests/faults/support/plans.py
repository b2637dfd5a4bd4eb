"""The faults that the proxy can be told to play."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from tests.faults.support.calls import Call


class Side(StrEnum):
    """On which side of a write the operator dies."""

    BEFORE = "before"  # the write never reaches the API server
    AFTER = "after"  # it was answered, but the operator doesn't hear the answer


@dataclass(frozen=True)
class CrashPoint:
    """Before or after the n-th numbered write; number 0 is the moment at which the user acts."""

    number: int
    side: Side

    def __str__(self) -> str:
        return f"{self.number}:{self.side}"


@dataclass(frozen=True)
class Answer:
    """The API server answers every request with an error, and ends the watches."""

    status: int
    retry_after_s: int | None = None

    def __str__(self) -> str:
        return f"{self.status}" + (f"-retry-after-{self.retry_after_s}" if self.retry_after_s else "")


@dataclass(frozen=True)
class Hang:
    """Nothing gets through in either direction; what was sent meanwhile arrives when the fault ends."""

    def __str__(self) -> str:
        return "hang"


Fault = Answer | Hang
Predicate = Callable[[Call], bool]
