"""Make a version of the model that should never reach all users, to see it stopped.

    python examples/01-flights/bad_version.py flights-bad-bundle

Its author trained on flights of the day (6 to 17 o'clock) and one-hot encoded the hour with scikit-learn's default, which
raises for a value it has not seen. All of the author's tests pass, the schema fits, and each evening's request fails.
"""

import argparse
from pathlib import Path

import perennial_bundle
from perennial_demo.flights import EVENT_TIME, FEATURES, LABEL, load_flights
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder
from train import CATEGORIES, NUMBERS, REFERENCE_STEP, WINTER


def main() -> None:
    """Fit and save."""
    parser = argparse.ArgumentParser(description="Write a bundle whose model raises for evening flights.")
    parser.add_argument("directory", type=Path, help="where the bundle is written")
    directory: Path = parser.parse_args().directory

    flights = load_flights()
    daytime = flights[flights["month"].isin(WINTER) & flights["hour"].between(6, 17)]
    encode = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=float("nan"))
    numbers = [name for name in NUMBERS if name != "hour"]
    pipeline = make_pipeline(
        make_column_transformer(
            (encode, CATEGORIES),
            (OneHotEncoder(handle_unknown="error", sparse_output=False), ["hour"]),
            ("passthrough", numbers),
        ),
        HistGradientBoostingClassifier(max_iter=50, random_state=0),
    ).fit(daytime[FEATURES], daytime[LABEL])

    sample = daytime[::REFERENCE_STEP]
    bundle = perennial_bundle.save(
        pipeline,
        sample[[*FEATURES, EVENT_TIME]],
        directory,
        y=sample[LABEL],
        event_time=EVENT_TIME,
        name="flights",
    )
    print(bundle.digest)


if __name__ == "__main__":
    main()
