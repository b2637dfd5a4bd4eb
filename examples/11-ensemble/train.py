"""Train two models of late flights and write them as one bundle that stacks them and logs what each of them says.

python examples/11-ensemble/train.py flights-both
kubectl perennial push flights-both
"""

import argparse
import tempfile
from pathlib import Path

import perennial_bundle
from perennial_demo.flights import EVENT_TIME, FEATURES, LABEL, load_flights
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

CATEGORIES = ["origin", "carrier"]
WEATHER = ["temp", "humid", "wind_speed", "precip", "visib", "pressure"]
JANUARY, FEBRUARY = 1, 2
REFERENCE_STEP = 11


def build_members() -> dict[str, tuple[Pipeline, list[str]]]:
    """One model knows who flies, the other what the weather is: each takes columns of its own."""
    schedule = [*CATEGORIES, "distance", "hour", "weekday"]
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), CATEGORIES), remainder=StandardScaler()
    )
    return {
        "schedule": (make_pipeline(columns, LogisticRegression(max_iter=1000)), schedule),
        "weather": (
            make_pipeline(HistGradientBoostingClassifier(max_iter=50, random_state=0)),
            ["hour", *WEATHER],
        ),
    }


def main() -> None:
    """Fit each on January, and the model above them on February, which neither has seen."""
    parser = argparse.ArgumentParser(description="Train two models and write them as one bundle.")
    parser.add_argument("directory", type=Path, help="where the bundle is written")
    arguments = parser.parse_args()

    flights = load_flights()
    january, february = (flights[flights["month"] == month] for month in (JANUARY, FEBRUARY))
    with tempfile.TemporaryDirectory() as scratch:
        members = {}
        for name, (model, columns) in build_members().items():
            model.fit(january[columns], january[LABEL])
            sample = january[::REFERENCE_STEP]
            members[name] = perennial_bundle.save(
                model, sample[columns], Path(scratch) / name, y=sample[LABEL]
            )
        features = [
            name for name in FEATURES if any(name in m.schema.feature_names for m in members.values())
        ]
        sample = february[::REFERENCE_STEP]
        bundle = perennial_bundle.save_ensemble(
            members,
            sample[[*features, EVENT_TIME]],
            arguments.directory,
            method="Stacking",
            y=sample[LABEL],
            event_time=EVENT_TIME,
            name="flights",
        )
    print(bundle.digest)


if __name__ == "__main__":
    main()
