"""What a model format has to do."""

from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from perennial_bundle.manifest import Manifest
from perennial_bundle.scoring import Outputs


class Scorer(Protocol):
    """A loaded model, whatever its format. Threads may share it."""

    @property
    def model(self) -> Any:
        """The scikit-learn estimator, or None where the format has none."""
        ...

    def predict(self, frame: pd.DataFrame) -> Outputs:
        """Predict rows that `Schema.check` built: every output of the schema, by name."""
        ...


class Format(Protocol):
    """Opens the files of one format, in a directory whose digests have been checked."""

    def check(self, directory: Path, manifest: Manifest) -> None:
        """Refuse what isn't of this format, before any library opens it.

        Raises
        ------
        BundleError
            Saying why.
        """
        ...

    def load(self, directory: Path, manifest: Manifest) -> Scorer:
        """Load the model.

        Raises
        ------
        BundleError
            It is unsafe, damaged, or doesn't load here.
        """
        ...
