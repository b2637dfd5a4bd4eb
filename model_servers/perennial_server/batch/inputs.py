"""The input's files as segments, and a segment as parts of rows; one function for each format."""

import io
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

import pyarrow as pa
import pyarrow.parquet

from perennial_server.batch.csv_files import BadLine, cut_lines, parse_lines, read_header, read_names
from perennial_server.batch.errors import StorageFailed, UnreadableInput
from perennial_server.batch.places import Place, find_files
from perennial_server.batch.plan import InputFile, Part, Plan, Segment
from perennial_server.batch.settings import Format

_SUFFIXES: dict[str, Format] = {".parquet": "Parquet", ".pq": "Parquet", ".csv": "Csv"}


@dataclass(frozen=True)
class Block:
    """One part's rows, as they are in the input.

    Parameters
    ----------
    part
        Which.
    first_row
        Its first row's place in the file.
    table
        Strings where the file is CSV; `bad` is then what isn't in it.
    """

    part: Part
    first_row: int
    table: pa.Table
    bad: tuple[BadLine, ...] = ()


def list_files(place: Place, wanted: Format | None) -> tuple[InputFile, ...]:
    """List the input's files, each with its format.

    Raises
    ------
    UnreadableInput
        There are none, or one is neither Parquet nor CSV.
    """
    files = []
    for path, size_bytes, version in find_files(place):
        format_ = wanted or _SUFFIXES.get(PurePosixPath(path).suffix.lower())
        if format_ is None:
            raise UnreadableInput(
                f"{path} is neither .parquet nor .csv; narrow --input, or set --input-format"
            )
        files.append(InputFile(path, format_, size_bytes, version))
    return tuple(files)


def cut_file(place: Place, number: int, file: InputFile, chunk_rows: int, delimiter: str) -> list[Segment]:
    """Cut a file into segments; a CSV file is read through for it.

    Raises
    ------
    UnreadableInput
        It isn't what its name says.
    """
    try:
        with place.fs.open(file.path, "rb") as stream:
            if file.format == "Parquet":
                metadata = pyarrow.parquet.ParquetFile(stream).metadata
                groups = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
                runs = [(rows, i, i) for i, rows in enumerate(groups)]
            else:
                buffered = io.BufferedReader(stream, 1 << 20) if isinstance(stream, io.RawIOBase) else stream
                read_names(read_header(iter(buffered)), delimiter)
                buffered.seek(0)
                runs = [(run.rows, run.start, run.end) for run in cut_lines(buffered, chunk_rows)]
    except (pa.ArrowException, OSError, UnreadableInput) as error:
        raise UnreadableInput(f"{file.path} can't be read as {file.format}: {error}") from error
    segments, first_row = [], 0
    for index, (rows, start, end) in enumerate(runs):
        segments.append(Segment(number, index, first_row, rows, start, end))
        first_row += rows
    return segments


def read_columns(place: Place, file: InputFile, delimiter: str) -> list[str]:
    """Return the names of a file's columns; see `cut_file` for the errors."""
    try:
        with place.fs.open(file.path, "rb") as stream:
            if file.format == "Parquet":
                return list(pyarrow.parquet.ParquetFile(stream).schema_arrow.names)
            return read_names(read_header(iter(stream)), delimiter)
    except (pa.ArrowException, OSError, UnreadableInput) as error:
        raise UnreadableInput(f"{file.path} can't be read as {file.format}: {error}") from error


def read_blocks(place: Place, plan: Plan, segment: Segment, done: Collection[str]) -> Iterator[Block]:
    """Read a segment's parts that aren't done.

    Raises
    ------
    UnreadableInput
        The file is damaged.
    StorageFailed
        It can't be reached.
    """
    file = plan.files[segment.file]
    parts = [part for part in plan.cut(segment) if part.name not in done]
    if not parts:
        return
    try:
        if file.format == "Parquet":
            yield from _read_parquet(place, file, segment, parts)
        else:
            yield _read_csv(place, plan, segment, parts[0])
    except pa.ArrowException as error:
        raise UnreadableInput(f"{file.path} can't be read as {file.format}: {error}") from error
    except UnreadableInput as error:
        raise UnreadableInput(f"{file.path}: {error}") from error


def _read_csv(place: Place, plan: Plan, segment: Segment, part: Part) -> Block:
    """Read a run of lines, which is one part."""
    path = plan.files[segment.file].path

    def read() -> tuple[bytes, bytes]:
        with place.fs.open(path, "rb") as stream:
            header = read_header(iter(stream))
            stream.seek(segment.start)
            return header, stream.read(segment.end - segment.start)

    header, data = place.retry.call(f"read {path}", read)
    table, bad = parse_lines(header, data, plan.csv_delimiter)
    if table.num_rows + len(bad) != part.rows:
        raise UnreadableInput(
            f"bytes {segment.start} to {segment.end} hold {table.num_rows + len(bad)} rows where {part.rows} lines "
            "were counted: the file has changed, or a quote stands within a field that isn't quoted"
        )
    return Block(part, segment.first_row, table, tuple(bad))


def _read_parquet(place: Place, file: InputFile, segment: Segment, parts: list[Part]) -> Iterator[Block]:
    """Read a row group once, batch by batch, and cut it at the parts' borders."""
    try:
        with place.fs.open(file.path, "rb") as stream:
            batches = pyarrow.parquet.ParquetFile(stream).iter_batches(
                batch_size=max(part.rows for part in parts), row_groups=[segment.start], use_threads=False
            )
            for part, table in cut_batches(batches, parts):
                yield Block(part, segment.first_row + part.offset, table)
    except OSError as error:
        raise StorageFailed(f"{file.path} can't be read: {error}") from error


def cut_batches(batches: Iterator[pa.RecordBatch], parts: list[Part]) -> Iterator[tuple[Part, pa.Table]]:
    """Cut batches, whatever their sizes, at the borders of parts; holds no more than a part and a batch.

    Raises
    ------
    UnreadableInput
        There are fewer rows than the parts want.
    """
    held: list[pa.RecordBatch] = []
    held_from = held_rows = 0
    for part in parts:
        while held_from + held_rows < part.offset + part.rows:
            batch = next(batches, None)
            if batch is None:
                raise UnreadableInput("has fewer rows than it says")
            held.append(batch)
            held_rows += batch.num_rows
            if held_from + held_rows <= part.offset:
                held, held_from, held_rows = [], held_from + held_rows, 0
        table = pa.Table.from_batches(held)
        yield part, table.slice(part.offset - held_from, part.rows)
        rest = table.slice(part.offset + part.rows - held_from)
        held, held_from, held_rows = rest.to_batches(), part.offset + part.rows, rest.num_rows
