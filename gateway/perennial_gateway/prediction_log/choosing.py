"""Which predictions are logged, and under which name of the client: as a model server decides it.

The router shares no code with model servers, whose library it would have to carry; a contract test holds both to the same
answers, since copies, feedback and experiments join what either has logged.
"""

from __future__ import annotations

from hashlib import blake2b, sha256

_SPACE = 2**64
_ALL = 100


def is_sampled(prediction_id: str, percent: int) -> bool:
    """Tell from its id whether a prediction is logged.

    >>> sum(is_sampled(f"order-{i}", 30) for i in range(1000))
    298
    """
    if percent >= _ALL:
        return True
    place = int.from_bytes(blake2b(prediction_id.encode(), digest_size=8).digest(), "big")
    return place * _ALL < percent * _SPACE


def name_client(client: str, salt: str) -> str:
    """Name a client without its name; the salt is the route's, so that elsewhere it has another one."""
    key = sha256(salt.encode()).digest()
    return blake2b(client.encode("utf-8", "replace"), key=key, digest_size=12).hexdigest()
