"""What a request to the API server is about, and whether it counts as a write."""

import json
import re
from dataclasses import dataclass
from enum import StrEnum

WRITING_METHODS = frozenset({"POST", "PUT", "PATCH", "DELETE"})
# A POST to these asks a question or makes a token; nothing that lasts is written.
QUESTION_GROUPS = frozenset({"authentication.k8s.io", "authorization.k8s.io"})

_PATH = re.compile(
    r"^/(?:api|apis/(?P<group>[^/]+))/v[^/]+(?:/namespaces/(?P<namespace>[^/]+))?"
    r"/(?P<plural>[^/]+)(?:/(?P<name>[^/]+)(?:/(?P<subresource>.+))?)?$"
)


class WriteClass(StrEnum):
    """Which writes are numbered: those that happen in the same order in each run."""

    READ = "read"
    NUMBERED = "numbered"
    LEASE = "lease"  # as many as the run has seconds
    EVENT = "event"  # told after the status was written and lost by design in a crash: part of no end state


@dataclass(frozen=True)
class Call:
    """One request, as far as its path and body tell."""

    method: str
    path: str
    group: str = ""
    namespace: str = ""
    plural: str = ""
    name: str = ""
    subresource: str = ""
    is_watch: bool = False

    @property
    def write_class(self) -> WriteClass:
        if self.method not in WRITING_METHODS or self.group in QUESTION_GROUPS or self.subresource == "token":
            return WriteClass.READ
        if self.plural == "leases":
            return WriteClass.LEASE
        return WriteClass.EVENT if self.plural == "events" else WriteClass.NUMBERED

    def __str__(self) -> str:
        about = "/".join(part for part in (self.plural, self.name, self.subresource) if part)
        return f"{self.method} {about or self.path}"


@dataclass(frozen=True)
class Record:
    """One request that the proxy has seen.

    Attributes
    ----------
    at_s
        When its answer was known, on the monotonic clock.
    number
        The how manyth numbered write it was since counting began; 0 for all others.
    status
        The API server's answer; None if the request never reached it.
    """

    at_s: float
    call: Call
    number: int
    status: int | None

    @property
    def is_accepted_write(self) -> bool:
        is_write = self.call.write_class is not WriteClass.READ
        return is_write and self.status is not None and self.status < 300


def read_call(method: str, path: str, *, is_watch: bool = False, body: bytes = b"") -> Call:
    """Understand a request; a create has its name in the body."""
    found = _PATH.match(path)
    if found is None:
        return Call(method, path, is_watch=is_watch)
    parts = {key: value or "" for key, value in found.groupdict().items()}
    if method == "POST" and not parts["name"]:
        parts["name"] = _name_in(body)
    return Call(method, path, is_watch=is_watch, **parts)


def _name_in(body: bytes) -> str:
    try:
        return str(json.loads(body)["metadata"]["name"])
    except (ValueError, KeyError, TypeError):
        return ""
