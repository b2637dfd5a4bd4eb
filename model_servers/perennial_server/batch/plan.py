"""How a job's input is cut into parts. Pure, and the same at every start: a part's name says which rows it holds.

A segment is what is read in one go: a run of a CSV file's lines, or a row group of a Parquet file. A part is what is
scored and committed in one go: a segment's rows, at most `chunk_rows` of them at once.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from perennial_server.batch.errors import CannotResume
from perennial_server.batch.settings import Format

PLAN_VERSION = 1


@dataclass(frozen=True)
class InputFile:
    """A file as it was when the job was planned; `version` is the store's word for its content (ETag, time, …)."""

    path: str
    format: Format
    size_bytes: int
    version: str


@dataclass(frozen=True)
class Segment:
    """Rows of one file.

    Parameters
    ----------
    file
        Which of the plan's files.
    index
        Which of the file's segments.
    first_row, rows
        Its first row's place in the file, and how many it has.
    start, end
        CSV: its bytes. Parquet: the row group's number, twice.
    """

    file: int
    index: int
    first_row: int
    rows: int
    start: int
    end: int


@dataclass(frozen=True)
class Part:
    """Rows of a segment, from `offset` on."""

    name: str
    offset: int
    rows: int


@dataclass(frozen=True)
class Plan:
    """Everything on which the output depends."""

    bundle_digest: str
    chunk_rows: int
    output_format: Format
    csv_delimiter: str
    keep: tuple[str, ...] | None
    files: tuple[InputFile, ...]
    segments: tuple[Segment, ...]

    @property
    def rows(self) -> int:
        """All rows of the input."""
        return sum(segment.rows for segment in self.segments)

    @property
    def parts(self) -> int:
        """How many parts there are."""
        return sum(-(-segment.rows // self.chunk_rows) for segment in self.segments)

    def cut(self, segment: Segment) -> Iterator[Part]:
        """Yield a segment's parts."""
        for number, offset in enumerate(range(0, segment.rows, self.chunk_rows)):
            name = f"part-{segment.file:05d}-{segment.index:06d}-{number:04d}"
            yield Part(name, offset, min(self.chunk_rows, segment.rows - offset))

    def to_document(self) -> dict[str, Any]:
        """Return it as JSON has it; segments as bare numbers, since there may be many."""
        document = {field.name: getattr(self, field.name) for field in fields(self)}
        document["files"] = [asdict(file) for file in self.files]
        document["segments"] = [[getattr(s, field.name) for field in fields(Segment)] for s in self.segments]
        return {"version": PLAN_VERSION, **document}


def read_plan(document: Mapping[str, Any]) -> Plan:
    """Read what `Plan.to_document` wrote.

    Raises
    ------
    CannotResume
        Another version wrote it, or it is damaged.
    """
    try:
        if document["version"] != PLAN_VERSION:
            raise CannotResume(
                f"the output was begun by another version of this program: {document['version']}"
            )
        keep = document["keep"]
        return Plan(
            bundle_digest=document["bundle_digest"],
            chunk_rows=document["chunk_rows"],
            output_format=document["output_format"],
            csv_delimiter=document["csv_delimiter"],
            keep=None if keep is None else tuple(keep),
            files=tuple(InputFile(**file) for file in document["files"]),
            segments=tuple(Segment(*numbers) for numbers in document["segments"]),
        )
    except (KeyError, TypeError) as error:
        raise CannotResume(f"the output's plan can't be read ({error!r}); choose another --output") from error


def check_unchanged(begun: Plan, wanted: Plan) -> None:
    """Refuse to go on with an output that other means began; segments don't count, they follow from the rest.

    Raises
    ------
    CannotResume
        Naming what changed.
    """
    for name, what in (
        ("bundle_digest", "by another bundle"),
        ("chunk_rows", "with another chunk_rows"),
        ("output_format", "in another format"),
        ("csv_delimiter", "with another CSV delimiter"),
        ("keep", "with other columns to keep"),
    ):
        before, now = getattr(begun, name), getattr(wanted, name)
        if before != now:
            raise CannotResume(f"the output was begun {what}: {before} where it is {now} now; {_ADVICE}")
    before_files = {file.path: file for file in begun.files}
    for file in wanted.files:
        before = before_files.pop(file.path, None)
        if before is None:
            raise CannotResume(f"the input has changed: {file.path} is new; {_ADVICE}")
        if before != file:
            raise CannotResume(f"the input has changed since the output was begun: {file.path}; {_ADVICE}")
    if before_files:
        raise CannotResume(f"the input has changed: {min(before_files)} is gone; {_ADVICE}")


_ADVICE = "choose another --output, or remove what is there"
