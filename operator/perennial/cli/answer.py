"""What a service answered through the API server; apart from the calls, whose library is slow to load."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

__all__ = ["Answer"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a proxied service answered."""

    status: int
    body: bytes

    def json(self) -> Any:
        """Return the body as JSON, or None if it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None
