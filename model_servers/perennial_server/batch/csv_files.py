"""CSV files: where their lines begin, and a run of lines as a table of strings.

A line may hold quoted line ends, so a file is read through once to be cut; then any run of lines is read by itself.
"""

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.csv

from perennial_server.batch.errors import UnreadableInput

_BOM = b"\xef\xbb\xbf"
MAX_LINE_BYTES = 64 << 20


@dataclass(frozen=True)
class Run:
    """Lines of a file: `rows` of them, in the bytes from `start` up to `end`."""

    rows: int
    start: int
    end: int


@dataclass(frozen=True)
class BadLine:
    """A line with too few or too many fields; `place` counts from the run's first line."""

    place: int
    text: str
    message: str


def read_header(lines: Iterator[bytes]) -> bytes:
    """Return the first record of a file as it stands, its line end included."""
    return next(_records(lines), b"")


def cut_lines(lines: Iterable[bytes], max_rows: int) -> Iterator[Run]:
    r"""Cut a file, the header left out, into runs of `max_rows` rows. Empty lines are no rows.

    Parameters
    ----------
    lines
        All lines of the file, each with its line end.

    Examples
    --------
    >>> list(cut_lines([b"x\n", b"1\n", b"\n", b"2\n", b"3\n"], 2))
    [Run(rows=2, start=2, end=7), Run(rows=1, start=7, end=9)]
    """
    records = _records(iter(lines))
    at = start = len(next(records, b""))
    rows = 0
    for record in records:
        at += len(record)
        rows += bool(record.strip())
        if rows == max_rows:
            yield Run(rows, start, at)
            rows, start = 0, at
    if rows:
        yield Run(rows, start, at)


def _records(lines: Iterator[bytes]) -> Iterator[bytes]:
    """Join lines until the quotes are closed: a doubled quote within a field leaves their number even."""
    parts: list[bytes] = []
    size_bytes, is_open = 0, False
    for line in lines:
        parts.append(line)
        size_bytes += len(line)
        is_open ^= line.count(b'"') % 2 == 1
        if not is_open:
            yield line if len(parts) == 1 else b"".join(parts)
            parts, size_bytes = [], 0
        elif size_bytes > MAX_LINE_BYTES:
            raise UnreadableInput(f"a quote isn't closed within {MAX_LINE_BYTES} bytes")
    if parts:
        raise UnreadableInput("a quote isn't closed before the end")


def parse_lines(header: bytes, data: bytes, delimiter: str) -> tuple[pa.Table, list[BadLine]]:
    """Read a run of lines as strings; lines with a wrong number of fields are returned apart.

    Raises
    ------
    UnreadableInput
        The file isn't UTF-8, or has two columns of one name.
    """
    bad: list[tuple[int, BadLine]] = []

    def refuse(row: pyarrow.csv.InvalidRow) -> str:
        message = f"has {row.actual_columns} fields where the header has {row.expected_columns}"
        bad.append((row.number, BadLine(0, row.text, message)))
        return "skip"

    names = read_names(header, delimiter)
    if len(set(names)) != len(names):
        raise UnreadableInput("the header has two columns of one name")
    content = header.removeprefix(_BOM) + data
    try:
        table = pyarrow.csv.read_csv(
            io.BytesIO(content),
            read_options=pyarrow.csv.ReadOptions(use_threads=False, block_size=len(content) + 1),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=delimiter, newlines_in_values=True, invalid_row_handler=refuse
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
            ),
        )
    except pa.ArrowInvalid as error:
        raise UnreadableInput(f"isn't CSV in UTF-8: {error}") from error
    return table, [BadLine(number - 2, line.text, line.message) for number, line in bad]


def read_names(header: bytes, delimiter: str) -> list[str]:
    """Return the names in a header.

    Raises
    ------
    UnreadableInput
        There is none, or it isn't UTF-8.
    """
    try:
        text = header.removeprefix(_BOM).decode()
    except UnicodeDecodeError as error:
        raise UnreadableInput("the header isn't UTF-8") from error
    names = next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), [])
    if not names:
        raise UnreadableInput("there is no header")
    return names
