"""A BentoML service like any other: nothing in it knows of Perennial."""

from pathlib import Path

import bentoml
import pandas as pd
import skops.io

MODEL = Path(__file__).with_name("late.skops")


@bentoml.service(workers=1)
class Late:
    """Whether a flight is late."""

    def __init__(self) -> None:
        self.model = skops.io.load(MODEL)

    @bentoml.api
    def predict(self, rows: dict[str, list]) -> dict[str, list]:
        """Predict rows given as columns; answers with columns."""
        frame = pd.DataFrame(rows)
        return {
            "predict": self.model.predict(frame).tolist(),
            "probability": self.model.predict_proba(frame)[:, 1].tolist(),
        }
