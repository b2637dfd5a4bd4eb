"""What a deployment's windows are compared with: the bundle's own sample, a stretch of the log, or a file.

The schema is always the one that the revision's server sent with its bundle's sample. What was read once stays as it
is while the revision is in force, so that a reference never slides along with a drift.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from perennial_api import ModelDeployment
from perennial_api.modeldeployment.monitoring import LogReference, Reference, ReferenceSource, UriReference
from perennial_api.where import Condition
from perennial_bundle import Schema
from perennial_bundle.columns import event_time_seconds

from perennial_observer.registry import key_of
from perennial_observer.store.reads import read_counts
from perennial_observer.store.reference_files import FileUnusable, ReferenceFiles
from perennial_observer.store.reference_rows import MOST_ROWS, read_stretch
from perennial_observer.store.references import StoredReference, read_reference
from perennial_observer.store.rows import DeploymentKey
from perennial_observer.store.store import Store

__all__ = ["MissingReference", "Scope", "find_reference"]


class MissingReference(Exception):
    """There is nothing (yet) that windows could be compared with; they wait.

    Parameters
    ----------
    reason
        CamelCase, for the verdict.
    """

    def __init__(self, message: str, reason: str = "NoReference") -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Scope:
    """Whose windows are judged against which reference.

    Parameters
    ----------
    exclude
        Columns that the logger leaves out.
    condition
        Of the slice that is looked at; None for all rows.
    reference
        Where it comes from.
    event_time
        Column that holds the time of the event, if the deployment names one.
    """

    key: DeploymentKey
    revision: str
    exclude: tuple[str, ...] = ()
    condition: Condition | None = None
    reference: Reference = field(default_factory=Reference)
    event_time: str | None = None

    @classmethod
    def of(cls, deployment: ModelDeployment, revision: str, condition: Condition | None = None) -> "Scope":
        """Build the scope of a revision of a deployment, as its spec has it now."""
        monitoring = deployment.spec.monitoring
        return cls(
            key_of(deployment),
            revision,
            deployment.spec.logger.exclude,
            condition,
            monitoring.reference,
            monitoring.event_time,
        )


def find_reference(store: Store, scope: Scope, files: ReferenceFiles) -> StoredReference:
    """Read the reference from where the scope says.

    Raises
    ------
    MissingReference
        With the reason and what to do.
    """
    with store.read() as connection:
        sent = read_reference(connection, scope.key.uid, scope.revision)
    if sent is None:
        raise MissingReference(f"revision {scope.revision} has sent no reference sample")
    spec = scope.reference
    if spec.source is ReferenceSource.LOG:
        assert spec.log is not None, "the API demands it"
        return _read_log(store, scope, sent, spec.log)
    if spec.source is ReferenceSource.URI:
        assert spec.uri is not None, "the API demands it"
        return _read_file(files, scope, sent, spec.uri)
    return sent


def _read_log(store: Store, scope: Scope, sent: StoredReference, log: LogReference) -> StoredReference:
    since, until = log.since.timestamp(), log.until.timestamp()
    with store.read() as connection:
        latest = read_counts(connection, scope.key.uid).latest_event
        # What is read now stays, so it must be all there.
        if latest is None or latest < until:
            raise MissingReference(
                f"reference.log.until, {log.until.isoformat()}, is after all that is logged: it is waited for",
                "ReferenceUnavailable",
            )
        rows = read_stretch(connection, scope.key.uid, since=since, until=until)
    if not rows:
        raise MissingReference(
            f"nothing is logged between {log.since.isoformat()} and {log.until.isoformat()}: choose another stretch"
            " (retention may have deleted it)",
            "ReferenceUnavailable",
        )
    names = [column.name for column in sent.schema.inputs if any(column.name in row.inputs for row in rows)]
    outputs = [c.name for c in sent.schema.outputs if any(c.name in row.outputs for row in rows)]
    try:
        columns = _check_values({name: [row.inputs.get(name) for row in rows] for name in names}, sent.schema)
    except FileUnusable as error:
        raise MissingReference(f"{error.message}: choose another stretch of the log", error.reason) from error
    return replace(
        sent,
        digest=_digest(sent, f"log/{since!r}/{until!r}"),
        columns=columns,
        outputs={name: [row.outputs.get(name) for row in rows] for name in outputs},
        event_time=[row.event_time for row in rows],
        labels=None,
    )


def _read_file(
    files: ReferenceFiles, scope: Scope, sent: StoredReference, spec: UriReference
) -> StoredReference:
    schema = sent.schema
    time_column = scope.event_time or (schema.event_time.name if schema.event_time else None)
    outputs = {column.name for column in schema.outputs}
    wanted = set(schema.by_name) | outputs | ({time_column} if time_column else set())
    try:
        rows = files.read_rows(spec.uri, spec.sha256, wanted, MOST_ROWS)
        times = _read_times(rows.get(time_column) if time_column else None)
        rows = _check_values(rows, schema)
    except FileUnusable as error:
        raise MissingReference(error.message, error.reason) from error
    order = (
        range(len(next(iter(rows.values())))) if times is None else np.argsort(times, kind="stable").tolist()
    )
    sorted_rows = {name: [values[i] for i in order] for name, values in rows.items()}
    return replace(
        sent,
        digest=_digest(sent, f"uri/{spec.sha256}"),
        columns={name: values for name, values in sorted_rows.items() if name in schema.by_name},
        outputs={name: values for name, values in sorted_rows.items() if name in outputs},
        event_time=None if times is None else [times[i] for i in order],
        labels=None,
    )


def _read_times(values: Sequence[Any] | None) -> list[float] | None:
    if values is None:
        return None
    try:
        times = event_time_seconds([v.isoformat() if hasattr(v, "isoformat") else v for v in values])
    except (TypeError, ValueError, OverflowError) as error:
        raise FileUnusable(
            f"the reference's event times can't be read: {error}", "ReferenceUnreadable"
        ) from error
    if not np.isfinite(times).all():
        raise FileUnusable("event times are missing in the reference", "ReferenceUnreadable")
    return [float(x) for x in times]


def _check_values(rows: Mapping[str, Sequence[Any]], schema: Schema) -> dict[str, list[Any]]:
    """Make the file's values what JSON would give; a column of another type is refused here, not when it is compared."""
    numbers = {column.name for column in schema.features if column.datatype != "BYTES"}
    checked: dict[str, list[Any]] = {}
    for name, values in rows.items():
        if name not in numbers:
            checked[name] = [v.decode(errors="replace") if isinstance(v, bytes) else v for v in values]
            continue
        try:
            checked[name] = [None if v is None else float(v) for v in values]
        except (TypeError, ValueError, OverflowError) as error:
            raise FileUnusable(
                f"column {name!r} of the reference holds no numbers: {error}", "ReferenceUnreadable"
            ) from error
    return checked


def _digest(sent: StoredReference, source: str) -> str:
    return hashlib.sha256(f"{sent.digest}/{source}".encode()).hexdigest()
