"""Where a request comes from, read from its headers: what the prediction log needs beside inputs and outputs.

The gateway sets these headers and drops what clients send of them. A probe goes to a pod directly: whatever came through
the gateway, which gives every request an id, is logged, so that no client can hide. Only what the gateway itself has
pinned or previewed isn't: such trials would be counted where revisions are compared.
"""

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass

PREDICTION_ID_HEADER = "x-prediction-id"
SHADOW_HEADER = "x-perennial-shadow"
PROBE_HEADER = "x-perennial-probe"
PIN_HEADER = "x-perennial-pin"
# The first that a request has tells its client from others.
CLIENT_HEADERS = ("x-perennial-client-key", "x-user-id")

ID_BYTES = 16
IDS_AT_ONCE = 256
_drawn: list[str] = []

_PREDICTION_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


@dataclass(frozen=True)
class Origin:
    """Where a request comes from.

    Parameters
    ----------
    prediction_id
        Key for feedback; a mirrored request has that of the live one.
    client
        Pseudonym of the client, or None where the request doesn't say whose it is.
    is_shadow
        It is a mirrored copy, whose answer nobody gets.
    is_probe
        It is a trial of the operator's, of ours or of whoever has named the revision, which isn't logged.
    """

    prediction_id: str
    client: str | None = None
    is_shadow: bool = False
    is_probe: bool = False


PROBE = Origin("probe", is_probe=True)


def read_origin(find: Callable[[str], str | None], salt: str) -> Origin:
    """Read the headers.

    Parameters
    ----------
    find
        Gives a header's value by its name in lower case.
    salt
        Namespace and name of the deployment: the same client has another pseudonym elsewhere.
    """
    client = next((value for name in CLIENT_HEADERS if (value := find(name))), None)
    wanted = find(PREDICTION_ID_HEADER)
    return Origin(
        prediction_id=valid_prediction_id(wanted or ""),
        client=None if client is None else pseudonym(client, salt),
        is_shadow=find(SHADOW_HEADER) == "true",
        is_probe=find(PIN_HEADER) is not None or (wanted is None and find(PROBE_HEADER) == "true"),
    )


def valid_prediction_id(wanted: str) -> str:
    """Return the id that the gateway gave, or a fresh one if there is none that is fit to be a key."""
    return wanted if _PREDICTION_ID.fullmatch(wanted) else _draw_id()


def _draw_id() -> str:
    """Draw an id that nobody can guess; from the system by the hundred, since each call lets other threads go first."""
    if not _drawn:
        block = os.urandom(ID_BYTES * IDS_AT_ONCE)
        _drawn.extend(block[i : i + ID_BYTES].hex() for i in range(0, len(block), ID_BYTES))
    return _drawn.pop()


def pseudonym(client: str, salt: str) -> str:
    """Name a client without its name: the observer only has to tell clients apart.

    Whoever can guess ids can test a guess, so this keeps names out of the log and is no anonymity.
    """
    key = hashlib.sha256(salt.encode()).digest()
    return hashlib.blake2b(client.encode("utf-8", "replace"), key=key, digest_size=12).hexdigest()
