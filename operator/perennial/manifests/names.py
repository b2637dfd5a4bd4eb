"""Names of children, all within the 63 characters of a DNS label."""

import hashlib
import json
from typing import Any

__all__ = ["revision_name", "server_account", "trainer_account"]

HASH_DIGITS = 8


def revision_name(deployment: str, *parts: Any) -> str:
    """Return `<deployment>-<8 hex>`: a hash of all that makes the revision, so that making it twice makes one."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return f"{deployment}-{hashlib.sha256(text.encode()).hexdigest()[:HASH_DIGITS]}"


def server_account(deployment: str) -> str:
    """Return the name of the ServiceAccount that the model servers run under."""
    return f"{deployment}-server"


def trainer_account(deployment: str) -> str:
    """Return the name of the ServiceAccount that the trainers run under."""
    return f"{deployment}-trainer"
