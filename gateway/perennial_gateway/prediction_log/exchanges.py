"""One request with its answer, as Envoy hands it over; see `capture.py`."""

from __future__ import annotations

from dataclasses import dataclass

from perennial_gateway.capture import NOTHING
from perennial_gateway.model import RecordedPart, RouteKey

EXCHANGE_BYTES = 1_024
"""What an exchange takes in memory beside its bodies."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request that was answered 200, and the answer.

    Attributes
    ----------
    log
        What of it is recorded.
    client
        Pseudonym of whoever asked, if the request tells.
    request_encoding, response_encoding
        How the bodies are compressed; empty if they aren't.
    request_json_bytes, response_json_bytes
        How many bytes of the bodies are JSON, as the header says; empty where all are. A body that is compressed or has
        other bytes is written in base64.
    """

    route: RouteKey
    revision: str
    log: RecordedPart
    prediction_id: str
    time_s: float
    client: str | None
    is_shadow: bool
    request: bytes
    response: bytes
    request_encoding: str = ""
    response_encoding: str = ""
    request_json_bytes: str = ""
    response_json_bytes: str = ""

    @property
    def size_bytes(self) -> int:
        """Memory that it holds while it waits."""
        return EXCHANGE_BYTES + len(self.request) + len(self.response)


@dataclass(frozen=True, slots=True)
class Told:
    """What Envoy tells of an exchange beside the bodies: its route, and what `capture.TOLD` lists.

    Attributes
    ----------
    client
        What tells its client from others, or None.
    """

    route: RouteKey
    revision: str
    prediction_id: str
    client: str | None
    is_shadow: bool
    request_encoding: str
    response_encoding: str
    request_json_bytes: str
    response_json_bytes: str


def read_told(route: str, text: str) -> Told:
    """Read the lines that Envoy writes.

    Raises
    ------
    ValueError
        There are more or fewer.
    """
    revision, prediction_id, client, shadow, *about_bodies = text.split("\n")
    request_encoding, response_encoding, request_json_bytes, response_json_bytes = (
        "" if told == NOTHING else told for told in about_bodies
    )
    namespace, _, name = route.partition("/")
    return Told(
        route=RouteKey(namespace, name),
        revision=revision,
        prediction_id=prediction_id,
        client=None if client == NOTHING else client,
        is_shadow=shadow == "true",
        request_encoding=request_encoding,
        response_encoding=response_encoding,
        request_json_bytes=request_json_bytes,
        response_json_bytes=response_json_bytes,
    )
