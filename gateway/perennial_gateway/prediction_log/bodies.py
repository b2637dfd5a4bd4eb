"""Messages to the observer: many exchanges as columns. Pure; the sender's thread calls it."""

from __future__ import annotations

import gzip
import json
from collections import Counter, deque
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from perennial_gateway.model import RouteKey
from perennial_gateway.prediction_log.exchanges import EXCHANGE_BYTES, Exchange
from perennial_gateway.prediction_log.reading import Read, TooLarge, read_exchange
from perennial_gateway.prediction_log.tensors import Unreadable

PART_BYTES = 8 * 2**20
"""Memory of exchanges that are unpacked at a time, by estimate; the last one may go beyond.

So a message stays below the 32 MiB that the observer takes, and an ordinary batch is one part.
"""

_Pair = tuple[Exchange, Read]


@dataclass(frozen=True, slots=True)
class Message:
    """What is posted for one revision: JSON, compressed by gzip, of so many exchanges."""

    route: RouteKey
    body: bytes
    exchanges: int

    @property
    def path(self) -> str:
        """Where the observer takes it."""
        return f"/v1/namespaces/{self.route.namespace}/deployments/{self.route.name}/log"


@dataclass(frozen=True, slots=True)
class Rendered:
    """The messages, and how many exchanges are in none: nothing of them is to be recorded, or they can't be, by reason."""

    messages: tuple[Message, ...]
    left_out: int
    dropped: Mapping[str, int]


def render_messages(exchanges: deque[Exchange]) -> Rendered:
    """Take exchanges until they are a part, and write a message for each revision, grouped by their columns.

    While they wait they are compressed, if so they came: unpacked at once, a batch would take a thousand times its size.
    """
    revisions: dict[tuple[RouteKey, str, int], dict[Hashable, list[_Pair]]] = {}
    dropped: Counter[str] = Counter()
    left_out = size_bytes = 0
    while exchanges and size_bytes < PART_BYTES:
        exchange = exchanges.popleft()
        try:
            read = read_exchange(exchange)
        except (Unreadable, TooLarge) as error:
            dropped[type(error).__name__] += 1
            continue
        if not (read.inputs or read.outputs):
            left_out += 1
            continue
        key = exchange.route, exchange.revision, exchange.log.percent
        kind = exchange.is_shadow, tuple(read.inputs), tuple(read.outputs)
        revisions.setdefault(key, {}).setdefault(kind, []).append((exchange, read))
        size_bytes += EXCHANGE_BYTES + read.size_bytes
    messages = tuple(_write(*key, list(kinds.values())) for key, kinds in revisions.items())
    return Rendered(messages, left_out, dropped)


def _write(route: RouteKey, revision: str, percent: int, kinds: Sequence[list[_Pair]]) -> Message:
    document = {"revision": revision, "percent": percent, "groups": [_group(pairs) for pairs in kinds]}
    # What isn't ASCII would be up to three times as long if it were escaped.
    text = json.dumps(document, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    return Message(route, gzip.compress(text.encode(), 1, mtime=0), sum(map(len, kinds)))


def _group(pairs: Sequence[_Pair]) -> dict[str, Any]:
    _, first = pairs[0]
    group: dict[str, Any] = {
        "ids": [exchange.prediction_id for exchange, _ in pairs],
        "times": [exchange.time_s for exchange, _ in pairs],
        "sizes": [read.n_rows for _, read in pairs],
        "inputs": {name: [v for _, read in pairs for v in read.inputs[name]] for name in first.inputs},
        "outputs": {name: [v for _, read in pairs for v in read.outputs[name]] for name in first.outputs},
    }
    clients = [exchange.client for exchange, _ in pairs]
    if any(clients):
        group["clients"] = clients
    if pairs[0][0].is_shadow:
        group["shadow"] = True
    return group
