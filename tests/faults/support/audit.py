"""The API server's own record of who wrote what, and when: the operator's word isn't asked."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.faults.support.calls import WriteClass, read_call
from tests.faults.support.proxy import USER_AGENT


@dataclass(frozen=True)
class AuditedWrite:
    """A write that the API server has answered; `at` is when, by its clock."""

    at: datetime
    writer: str
    about: str
    write_class: WriteClass
    status: int

    @property
    def is_accepted(self) -> bool:
        return self.status < 300


def read_audit(log: Path, writers: Iterable[str], lease: str) -> list[AuditedWrite]:
    """Return the writes that went through the proxies of these names, in order.

    Leases other than `lease` are left out.
    """
    agents = {f"{USER_AGENT}/{name}": name for name in writers}
    writes = []
    with log.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if USER_AGENT not in line:
                continue
            entry = _parse(line)
            writer = agents.get(entry.get("userAgent", ""))
            if writer is None or entry.get("stage") != "ResponseComplete":
                continue
            path = entry["requestURI"].partition("?")[0]
            call = read_call(_METHODS.get(entry["verb"], "GET"), path)
            about = entry.get("objectRef") or {}
            if call.write_class is WriteClass.LEASE and about.get("name") != lease:
                continue
            at = datetime.fromisoformat(entry["stageTimestamp"])
            status = int((entry.get("responseStatus") or {}).get("code", 0))
            writes.append(AuditedWrite(at, writer, str(call), call.write_class, status))
    return sorted(writes, key=lambda write: write.at)


_METHODS = {"create": "POST", "update": "PUT", "patch": "PATCH", "delete": "DELETE"}


def _parse(line: str) -> dict[str, Any]:
    try:
        entry: dict[str, Any] = json.loads(line)
    except ValueError:  # the last line may be half written
        return {}
    return entry
