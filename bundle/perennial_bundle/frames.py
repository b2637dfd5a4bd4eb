"""Frames out of blocks that are ready, which costs a tenth of handing pandas every column by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

# Public since pandas 3; earlier ones are served by its ordinary constructor.
_join_blocks: Callable[..., pd.DataFrame] | None = getattr(
    getattr(pd.api, "internals", None), "create_dataframe_from_blocks", None
)


@dataclass(frozen=True, slots=True)
class Block:
    """Columns of one dtype.

    Parameters
    ----------
    data
        Array (n_columns, n_rows), or a categorical of one column.
    positions
        intp array (n_columns,): the columns' places in the frame.
    """

    data: npt.NDArray[Any] | pd.Categorical
    positions: npt.NDArray[np.intp]


def build_frame(blocks: Sequence[Block], names: pd.Index[Any], n_rows: int) -> pd.DataFrame:
    """Put blocks together, whose positions are 0 to the number of names without a gap."""
    index = pd.RangeIndex(n_rows)
    if _join_blocks is not None:
        return _join_blocks(
            [(block.data, block.positions) for block in blocks], index=index, columns=names.view()
        )
    columns: dict[int, Any] = {}
    for block in blocks:
        rows = [block.data] if isinstance(block.data, pd.Categorical) else list(block.data)
        columns.update(zip(block.positions.tolist(), rows, strict=True))
    frame = pd.DataFrame({position: columns[position] for position in sorted(columns)}, index=index)
    frame.columns = names
    return frame
