"""What servers log, as it comes: request by request, or the columns of many requests at once. Pure."""

from collections.abc import Sequence
from typing import Annotated, Any, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from perennial_observer.ingest.columns import LoggedColumns, Rules, SplitRows, split_columns, split_shadow
from perennial_observer.store.rows import RejectedRow

__all__ = ["LogBody", "LogEntry", "LogGroup", "Rules", "SplitRows", "split_entries"]

MAX_ENTRIES = 10_000

PredictionId = Annotated[str, Field(min_length=1, max_length=128)]
Revision = Annotated[str, Field(min_length=1, max_length=63)]
Client = Annotated[str, Field(min_length=1, max_length=64)]
ColumnName = Annotated[str, Field(max_length=256)]  # as a bundle's schema allows
Word = Annotated[str, Field(max_length=64)]


class LogEntry(BaseModel):
    """One request's rows, by column."""

    model_config = ConfigDict(frozen=True)

    prediction_id: PredictionId
    time: FiniteFloat
    inputs: dict[str, list[Any]]
    outputs: dict[str, list[Any]]
    client: Client | None = None
    shadow: bool = False


class LogGroup(BaseModel):
    """Many requests' rows, by column: requests that have the same columns.

    `ids`, `times`, `sizes` (rows) and `clients` have one item for each request, in the order of the rows; inputs or
    outputs may be left out. A flag is [row of this group, column, kind, action]. `shadow` is of all of them.
    """

    model_config = ConfigDict(frozen=True)

    ids: Annotated[list[PredictionId], Field(max_length=MAX_ENTRIES)]
    times: list[FiniteFloat]
    sizes: list[Annotated[int, Field(ge=1)]]
    clients: list[Client | None] | None = None
    shadow: bool = False
    inputs: dict[str, list[Any]] = Field(default_factory=dict)
    outputs: dict[str, list[Any]] = Field(default_factory=dict)
    flags: list[tuple[int, ColumnName, Word, Word]] = Field(default_factory=list)

    @property
    def n_rows(self) -> int:
        """How many rows all requests have."""
        return sum(self.sizes)

    @model_validator(mode="after")
    def _check_lengths(self) -> Self:
        per_request = {len(self.ids), len(self.times), len(self.sizes)}
        if self.clients is not None:
            per_request.add(len(self.clients))
        if len(per_request) != 1:
            raise ValueError("ids, times, sizes and clients must have one item for each request")
        lengths = {len(values) for values in (*self.inputs.values(), *self.outputs.values())}
        if lengths != {self.n_rows}:
            raise ValueError(
                f"inputs and outputs need at least one column, and {self.n_rows} values in each, the sum of sizes"
            )
        if any(not 0 <= row < self.n_rows for row, *_ in self.flags):
            raise ValueError(f"a flag's row must be within the group's {self.n_rows} rows")
        return self


class LogBody(BaseModel):
    """Body of ``POST /v1/log``.

    `percent` is how many of 100 predictions the server logs, which `is_sampled` chooses by their ids.
    """

    model_config = ConfigDict(frozen=True)

    revision: Revision
    percent: Annotated[int, Field(ge=1, le=100)] = 100
    entries: Annotated[list[LogEntry], Field(max_length=MAX_ENTRIES)] = Field(default_factory=list)
    groups: Annotated[list[LogGroup], Field(max_length=MAX_ENTRIES)] = Field(default_factory=list)

    @property
    def n_rows(self) -> int:
        """How many rows were predicted; mirrored answers are to the same ones."""
        of_entries = sum(
            max(map(len, entry.outputs.values()), default=0) for entry in self.entries if not entry.shadow
        )
        return of_entries + sum(group.n_rows for group in self.groups if not group.shadow)


def split_entries(body: LogBody, rules: Rules) -> SplitRows:
    """Separate rows that fit from those that don't (which carry a reason), and both from mirrored ones."""
    result = SplitRows()
    for entry in body.entries:
        _split_entry(entry, body.revision, rules, result)
    for group in body.groups:
        table = _spread(group, body.revision)
        if group.shadow:
            split_shadow(table, rules, result)
        else:
            split_columns(table, rules, result)
    return result


def _split_entry(entry: LogEntry, revision: str, rules: Rules, result: SplitRows) -> None:
    """Read a single request; one whose columns differ in length is kept apart, or compares with nothing."""
    of_outputs = {len(values) for values in entry.outputs.values()}
    lengths = of_outputs if entry.shadow else of_outputs | {len(values) for values in entry.inputs.values()}
    if len(lengths) != 1 or not entry.outputs:
        if not entry.shadow:
            reason = "LengthMismatch" if len(lengths) > 1 else "NoRows"
            result.rejected.append(RejectedRow(entry.prediction_id, 0, revision, reason, "{}"))
        return
    n = lengths.pop()
    table = LoggedColumns(
        revision=revision,
        ids=(entry.prediction_id,) * n,
        rows=range(n),
        times=(entry.time,) * n,
        clients=(entry.client,) * n,
        inputs=entry.inputs,
        outputs=entry.outputs,
    )
    if entry.shadow:
        split_shadow(table, rules, result)
    else:
        split_columns(table, rules, result)


def _spread(group: LogGroup, revision: str) -> LoggedColumns:
    """Say of each row what its request says."""
    clients: Sequence[str | None] = group.clients or (None,) * len(group.ids)
    n = group.n_rows
    if n == len(group.ids):
        ids: Sequence[str] = group.ids
        times: Sequence[float] = group.times
        rows: Sequence[int] = (0,) * n
    else:
        ids = [value for value, size in zip(group.ids, group.sizes, strict=True) for _ in range(size)]
        times = [value for value, size in zip(group.times, group.sizes, strict=True) for _ in range(size)]
        clients = [value for value, size in zip(clients, group.sizes, strict=True) for _ in range(size)]
        rows = [row for size in group.sizes for row in range(size)]
    return LoggedColumns(
        revision=revision,
        ids=ids,
        rows=rows,
        times=times,
        clients=clients,
        inputs=group.inputs,
        outputs=group.outputs,
        flags=_gather_flags(group),
    )


def _gather_flags(group: LogGroup) -> dict[int, str]:
    found: dict[int, list[dict[str, str]]] = {}
    for row, column, kind, action in group.flags:
        found.setdefault(row, []).append({"column": column, "kind": kind, "action": action})
    return {row: orjson.dumps(flags).decode() for row, flags in found.items()}
