"""What the engine asks of a model: a bundle has it, and so has a model in an image of its own."""

from collections.abc import Sequence
from typing import Protocol

import pandas as pd
from perennial_bundle import Outputs, Schema


class Described(Protocol):
    """What a model says about itself."""

    @property
    def format(self) -> str:
        """Its format."""
        ...

    @property
    def classes(self) -> Sequence[bool | int | str] | None:
        """A classifier's classes, in the order of its probabilities; None where it names none."""
        ...


class Model(Protocol):
    """Predicts rows that its schema has checked. Threads may share it."""

    @property
    def schema(self) -> Schema:
        """Its inputs and outputs."""
        ...

    @property
    def manifest(self) -> Described:
        """What it says about itself."""
        ...

    def predict(self, frame: pd.DataFrame) -> Outputs:
        """Predict rows that `Schema.check` built: every output of the schema, by name.

        Raises
        ------
        ModelUnreachable
            Nothing answered: that is no fault of the rows. Whatever else it raises may be.
        """
        ...
