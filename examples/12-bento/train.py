"""Train a small model of late flights and put it beside the service, for `bentoml build`.

python examples/12-bento/train.py
"""

from pathlib import Path

import numpy as np
import pandas as pd
import skops.io
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

FILE = Path(__file__).with_name("late.skops")
ROWS = 2000


def main() -> None:
    """Flights are late when it blows, and one carrier's more often than the others'."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"wind": rng.gamma(4.0, 3.0, ROWS), "carrier": rng.choice(["AA", "DL", "UA"], ROWS)})
    late = frame["wind"] + 4 * (frame["carrier"] == "UA") + rng.normal(0, 3, ROWS) > 16  # noqa: PLR2004
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["carrier"]), (StandardScaler(), ["wind"])
    )
    skops.io.dump(make_pipeline(columns, LogisticRegression()).fit(frame, late.astype(int)), FILE)
    print(f"{FILE.name} is written; now: bentoml build examples/12-bento --containerize")


if __name__ == "__main__":
    main()
