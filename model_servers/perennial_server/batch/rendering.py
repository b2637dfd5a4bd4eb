"""Tables as the bytes of a file. Pure."""

import io

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from perennial_server.batch.errors import BatchError
from perennial_server.batch.settings import Format

SUFFIXES: dict[Format, str] = {"Parquet": ".parquet", "Csv": ".csv"}


def render_table(table: pa.Table, output_format: Format, delimiter: str) -> bytes:
    """Write a table.

    Raises
    ------
    BatchError
        A column is of a kind that CSV hasn't got.
    """
    buffer = io.BytesIO()
    if output_format == "Parquet":
        pyarrow.parquet.write_table(table, buffer, compression="zstd")
        return buffer.getvalue()
    try:
        pyarrow.csv.write_csv(table, buffer, pyarrow.csv.WriteOptions(delimiter=delimiter))
    except pa.ArrowException as error:
        raise BatchError(
            f"CSV can't hold a column: {error}; write Parquet, or name others in --keep"
        ) from error
    return buffer.getvalue()
