"""Train the model of `01-flights.yaml` on January and February and write it as a bundle.

python examples/01-flights/train.py flights-bundle
kubectl perennial push flights-bundle
"""

import argparse
from pathlib import Path

import perennial_bundle
from perennial_demo.flights import EVENT_TIME, FEATURES, LABEL, load_flights
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OrdinalEncoder

CATEGORIES = ["origin", "carrier", "dest"]
NUMBERS = [name for name in FEATURES if name not in CATEGORIES]
WINTER = [1, 2]
# One row in eleven keeps the reference under its 5,000 rows and spread over both months, so that the week's windows
# of the drift monitor are compared with weeks and not with single days.
REFERENCE_STEP = 11


def build_pipeline() -> Pipeline:
    """Gradient boosting on scikit-learn's own parts; an airline or airport never seen counts as missing."""
    encode = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=float("nan"))
    boosting = HistGradientBoostingClassifier(
        learning_rate=0.06,
        max_iter=150,
        categorical_features=list(range(len(CATEGORIES))),
        random_state=0,
    )
    columns = make_column_transformer((encode, CATEGORIES), ("passthrough", NUMBERS))
    return Pipeline([("columns", columns), ("classifier", boosting)])


def main() -> None:
    """Fit and save."""
    parser = argparse.ArgumentParser(description="Train the flights model and write it as a bundle.")
    parser.add_argument("directory", type=Path, help="where the bundle is written")
    parser.add_argument(
        "--base", type=Path, help="also write the training rows as Parquet, for spec.retraining.data.base"
    )
    arguments = parser.parse_args()

    flights = load_flights()
    winter = flights[flights["month"].isin(WINTER)]
    pipeline = build_pipeline().fit(winter[FEATURES], winter[LABEL])

    sample = winter[::REFERENCE_STEP]
    bundle = perennial_bundle.save(
        pipeline,
        sample[[*FEATURES, EVENT_TIME]],
        arguments.directory,
        y=sample[LABEL],
        event_time=EVENT_TIME,
        name="flights",
    )
    print(bundle.digest)

    if arguments.base is not None:
        rows = winter[[*FEATURES, EVENT_TIME]].assign(event_time=winter["time_s"], label=winter[LABEL])
        rows.to_parquet(arguments.base, index=False)


if __name__ == "__main__":
    main()
