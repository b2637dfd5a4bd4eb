"""Train a model of late flights, convert it to ONNX and write it as a bundle, which any library may have trained.

pip install skl2onnx
python examples/10-onnx/train.py flights-onnx
kubectl perennial push flights-onnx
"""

import argparse
from pathlib import Path

import perennial_bundle
import skl2onnx
from perennial_demo.flights import EVENT_TIME, FEATURES, LABEL, load_flights
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

CATEGORIES = ["origin", "carrier", "dest"]
NUMBERS = [name for name in FEATURES if name not in CATEGORIES]
JANUARY = 1
# One row in eleven, spread over the month, is reference enough.
REFERENCE_STEP = 11


def build_pipeline() -> Pipeline:
    """Logistic regression; an airline or airport never seen counts as none, missing weather as the month's mean."""
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), CATEGORIES),
        (make_pipeline(SimpleImputer(), StandardScaler()), NUMBERS),
    )
    return make_pipeline(columns, LogisticRegression(max_iter=1000))


def convert(pipeline: Pipeline) -> bytes:
    """Convert to ONNX with one input for each column; ZipMap would answer with dictionaries, which nobody serves."""
    types = [(name, StringTensorType([None, 1])) for name in CATEGORIES]
    types += [(name, FloatTensorType([None, 1])) for name in NUMBERS]
    graph = skl2onnx.to_onnx(pipeline, initial_types=types, options={id(pipeline): {"zipmap": False}})
    return bytes(graph.SerializeToString())


def main() -> None:
    """Fit, convert and save."""
    parser = argparse.ArgumentParser(description="Train the flights model and write it as an ONNX bundle.")
    parser.add_argument("directory", type=Path, help="where the bundle is written")
    arguments = parser.parse_args()

    flights = load_flights()
    january = flights[flights["month"] == JANUARY]
    pipeline = build_pipeline().fit(january[FEATURES], january[LABEL])

    sample = january[::REFERENCE_STEP]
    bundle = perennial_bundle.save_onnx(
        convert(pipeline),
        sample[[*FEATURES, EVENT_TIME]],
        arguments.directory,
        task="Classification",
        classes=[0, 1],
        y=sample[LABEL],
        event_time=EVENT_TIME,
        name="flights",
    )
    print(bundle.digest)


if __name__ == "__main__":
    main()
