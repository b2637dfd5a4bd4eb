"""Each revision's reference sample, as the server sent it."""

import hashlib
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from perennial_bundle import Schema
from sqlalchemy import Connection, select

from perennial_observer.errors import Unavailable
from perennial_observer.store import tables as t
from perennial_observer.store.inserts import put
from perennial_observer.store.log import register_deployment
from perennial_observer.store.rows import DeploymentKey

__all__ = [
    "StoredReference",
    "decode_reference",
    "encode_reference",
    "read_latest_reference",
    "read_reference",
    "read_reference_digests",
    "write_reference",
]

MAX_UNFOLDED_BYTES = 256 << 20


@dataclass(frozen=True)
class StoredReference:
    """A reference sample in time order.

    Parameters
    ----------
    columns
        Inputs by column, JSON values, all of one length.
    event_time
        Seconds since the epoch for each row; None where unknown.
    labels
        What was true of each row, None for a row of which it isn't known; None where nothing is.
    digest
        Changes whenever anything else here does.
    classes
        A classifier's, in the order of its probabilities; empty where they aren't known.
    """

    revision: str
    digest: str
    bundle_digest: str
    task: str
    schema: Schema
    columns: Mapping[str, Sequence[Any]]
    outputs: Mapping[str, Sequence[Any]]
    event_time: Sequence[float] | None
    labels: Sequence[Any] | None = None
    classes: Sequence[Any] = ()


def write_reference(
    connection: Connection, key: DeploymentKey, revision: str, content: bytes, *, now: float
) -> None:
    """Store the JSON `content` of a revision; the same again changes nothing, another one replaces it."""
    deployment_id = register_deployment(connection, key)
    r = t.reference.c
    digest = hashlib.sha256(content).hexdigest()
    place = (r.deployment_id == deployment_id, r.revision == revision)
    held = connection.execute(select(r.digest).where(*place)).scalar()
    if held == digest:
        return
    values = {"digest": digest, "arrival": now, "content": zlib.compress(content, 6)}
    put(connection, t.reference, {"deployment_id": deployment_id, "revision": revision}, values)


def read_reference(connection: Connection, uid: str, revision: str) -> StoredReference | None:
    """Read one revision's reference."""
    r = t.reference.c
    query = (
        select(r.revision, r.digest, r.content)
        .select_from(t.reference.join(t.deployment))
        .where(t.deployment.c.uid == uid, r.revision == revision)
    )
    found = connection.execute(query).one_or_none()
    return None if found is None else decode_reference(found.revision, found.digest, found.content)


def read_reference_digests(
    connection: Connection, deployment_ids: Collection[int]
) -> dict[tuple[int, str], str]:
    """Digests of the references of some deployments, by id and revision."""
    r = t.reference.c
    query = select(r.deployment_id, r.revision, r.digest).where(r.deployment_id.in_(deployment_ids))
    return {(row.deployment_id, row.revision): row.digest for row in connection.execute(query)}


def read_latest_reference(connection: Connection, uid: str) -> StoredReference | None:
    """Read the reference that came last, which tells the export its columns."""
    r = t.reference.c
    query = (
        select(r.revision, r.digest, r.content)
        .select_from(t.reference.join(t.deployment))
        .where(t.deployment.c.uid == uid)
        .order_by(r.arrival.desc(), r.id.desc())
        .limit(1)
    )
    found = connection.execute(query).one_or_none()
    return None if found is None else decode_reference(found.revision, found.digest, found.content)


def encode_reference(reference: StoredReference) -> bytes:
    """Write a reference as servers send them, JSON."""
    return orjson.dumps(
        {
            "bundle_digest": reference.bundle_digest,
            "task": reference.task,
            "schema": reference.schema.model_dump(mode="json"),
            "rows": reference.columns,
            "outputs": reference.outputs,
            "event_time": reference.event_time,
            "labels": reference.labels,
            "classes": reference.classes,
        }
    )


def decode_reference(revision: str, digest: str, content: bytes) -> StoredReference:
    """Read the compressed JSON of a reference."""
    unfolder = zlib.decompressobj()
    body = unfolder.decompress(content, MAX_UNFOLDED_BYTES)
    if unfolder.unconsumed_tail:
        raise Unavailable(
            f"the stored reference of {revision} is over {MAX_UNFOLDED_BYTES} bytes", "DatabaseError"
        )
    document = orjson.loads(body)
    return StoredReference(
        revision=revision,
        digest=digest,
        bundle_digest=document["bundle_digest"],
        task=document["task"],
        schema=Schema.model_validate(document["schema"]),
        columns=document["rows"],
        outputs=document["outputs"],
        event_time=document["event_time"],
        # What was stored before they were sent has none.
        labels=document.get("labels"),
        classes=document.get("classes") or (),
    )
