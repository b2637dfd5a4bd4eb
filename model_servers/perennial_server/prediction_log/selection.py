"""What of a prediction leaves the server, as ``spec.logger`` says. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from perennial_bundle import Outputs, Rows, Schema
from perennial_bundle.rows import Values
from perennial_bundle.sampling import is_sampled

from perennial_server.origin import Origin

Mode = Literal["All", "Request", "Response", "None"]


@dataclass(frozen=True)
class Selection:
    """Which predictions are logged, and which of their columns.

    Parameters
    ----------
    features
        In the order of a matrix.
    event_time
        The column that tells when; it leaves with outputs alone, too: without it the observer couldn't place them.
    """

    percent: int
    mode: Mode
    exclude: frozenset[str]
    features: tuple[str, ...]
    event_time: str | None

    def sample(self, origins: Sequence[Origin]) -> Sequence[int]:
        """Return the indices of the requests that are logged."""
        if self.percent >= 100:  # noqa: PLR2004
            return range(len(origins))
        return [i for i, origin in enumerate(origins) if is_sampled(origin.prediction_id, self.percent)]

    def choose_inputs(self, rows: Rows) -> dict[str, Values]:
        """Return the input columns that leave."""
        names = set(self._wanted(rows.columns))
        columns = {name: values for name, values in rows.columns.items() if name in names}
        if rows.matrix is not None and (names := set(self._wanted(self.features))):
            features = np.ascontiguousarray(rows.matrix.T)
            columns |= {
                name: values for name, values in zip(self.features, features, strict=True) if name in names
            }
        return columns

    def choose_outputs(self, outputs: Outputs) -> Outputs:
        """Return the outputs that leave."""
        return outputs if self.mode in {"All", "Response"} else {}

    def logs_flags_of(self, column: str) -> bool:
        """Whether what the schema noticed about a column leaves: a flag tells something of the value."""
        return self.mode in {"All", "Request"} and column not in self.exclude

    def _wanted(self, names: Iterable[str]) -> Iterable[str]:
        if self.mode in {"All", "Request"}:
            return (name for name in names if name not in self.exclude)
        return (name for name in names if name == self.event_time and name not in self.exclude)


def build_selection(schema: Schema, *, percent: int, mode: Mode, exclude: frozenset[str]) -> Selection:
    """Build the selection for a model's columns."""
    return Selection(
        percent=percent,
        mode=mode,
        exclude=exclude,
        features=schema.feature_names,
        event_time=None if schema.event_time is None else schema.event_time.name,
    )
