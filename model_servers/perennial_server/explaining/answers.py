"""An explanation as an answer of the protocol: tensors like any other, what they mean in its parameters."""

from dataclasses import replace

import numpy as np
from perennial_bundle import Column, Outputs, Schema

from perennial_server.explaining.desk import Explained
from perennial_server.protocol.answers import Answer, AnswerWriter
from perennial_server.protocol.query import Query, Wish

CONTRIBUTIONS = "contributions"
BASE_VALUE = "base_value"
LABEL = "class"


class ExplanationWriter:
    """Writes the explanations of one model.

    Parameters
    ----------
    schema, model_name, model_version
        The model's.
    """

    def __init__(self, schema: Schema, *, model_name: str, model_version: str) -> None:
        predict = next((column.datatype for column in schema.outputs if column.name == "predict"), "FP64")
        outputs = (
            Column(name=CONTRIBUTIONS, datatype="FP64", role="Output"),
            Column(name=BASE_VALUE, datatype="FP64", role="Output"),
            Column(name=LABEL, datatype=predict, role="Output"),
        )
        self._writer = AnswerWriter(
            Schema(inputs=schema.inputs, outputs=outputs), model_name=model_name, model_version=model_version
        )
        self._features = ",".join(schema.feature_names)

    def write(self, explained: Explained, query: Query) -> Answer:
        """Write an explanation; raw tensors if the request asks for all outputs raw."""
        explanation = explained.explanation
        outputs: Outputs = {CONTRIBUTIONS: explanation.contributions, BASE_VALUE: explanation.base_value}
        if explanation.labels is not None:
            outputs[LABEL] = np.asarray(
                explanation.labels.tolist(), dtype=_dtype(explanation.labels.tolist())
            )
        parameters = {
            **(query.parameters or {}),
            "method": explanation.method,
            "explained": explanation.explained,
            "features": self._features,
        }
        binary = bool((query.parameters or {}).get("binary_data_output", False))
        wishes = tuple(Wish(name, binary) for name in outputs)
        return self._writer.write(
            outputs, replace(query, parameters=parameters, outputs=wishes), explained.flags
        )


def _dtype(labels: list[object]) -> type:
    return object if isinstance(labels[0], str) else np.bool_ if isinstance(labels[0], bool) else np.int64
