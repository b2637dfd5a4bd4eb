"""`spec.adapter` of a runtime: how the model in a user's own image is asked, declared instead of programmed."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from perennial_api.base import Model, Rule
from perennial_api.durations import Duration
from perennial_api.types import AtLeast, Float, Int, KeyedBy, Name, Unique

__all__ = [
    "Adapter",
    "AdapterInput",
    "AdapterOutput",
    "AdapterRequest",
    "AdapterResponse",
    "ColumnRole",
    "Datatype",
    "RequestShape",
    "ResponseShape",
    "Unknown",
]

LONGEST_TIMEOUT_S = 300


class Datatype(StrEnum):
    """A datatype of the Open Inference Protocol."""

    BOOL = "BOOL"
    INT64 = "INT64"
    FP32 = "FP32"
    FP64 = "FP64"
    BYTES = "BYTES"


_NUMBERS = (Datatype.INT64, Datatype.FP32, Datatype.FP64)


class ColumnRole(StrEnum):
    """What an input is for."""

    FEATURE = "Feature"
    EVENT_TIME = "EventTime"
    PASSTHROUGH = "Passthrough"


class Unknown(StrEnum):
    """What becomes of a value that the model doesn't know."""

    REJECT = "Reject"
    PASS = "Pass"  # noqa: S105 - a policy


class RequestShape(StrEnum):
    """Form of the rows that the model is sent, as JSON."""

    COLUMNS = "Columns"
    ROWS = "Rows"
    MATRIX = "Matrix"


class ResponseShape(StrEnum):
    """Form of its answer."""

    COLUMNS = "Columns"
    ROWS = "Rows"
    LIST = "List"


ColumnName = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")]
FieldName = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.-]+$")]
HttpPath = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=r"^/[A-Za-z0-9._~/-]*$")]

_NAME_RULE = Rule(
    cel="!self.name.startsWith('__')",
    message="a column whose name starts with two underscores is Perennial's own: rename it",
    holds=lambda self: not self.name.startswith("__"),
)


class AdapterInput(Model):
    """One input of the model."""

    rules = (
        _NAME_RULE,
        Rule(
            cel="(!has(self.minimum) && !has(self.maximum)) || self.datatype in ['INT64', 'FP32', 'FP64']",
            message="minimum and maximum belong to a number: remove them or correct datatype",
            holds=lambda self: (self.minimum is None and self.maximum is None) or self.datatype in _NUMBERS,
        ),
        Rule(
            cel="!has(self.minimum) || !has(self.maximum) || self.minimum <= self.maximum",
            message="minimum is above maximum: correct one of them",
            holds=lambda self: self.minimum is None or self.maximum is None or self.minimum <= self.maximum,
        ),
        Rule(
            cel="!has(self.categories) || self.datatype == 'BYTES'",
            message="categories belong to datatype BYTES: remove them or correct datatype",
            holds=lambda self: self.categories is None or self.datatype is Datatype.BYTES,
        ),
        Rule(
            cel="self.outOfRange == 'Pass' || has(self.minimum) || has(self.maximum)",
            message="outOfRange Reject needs minimum or maximum: give one, or let it Pass",
            holds=lambda self: (
                self.out_of_range is Unknown.PASS or not (self.minimum is None and self.maximum is None)
            ),
        ),
        Rule(
            cel="self.unknownCategory == 'Pass' || has(self.categories)",
            message="unknownCategory Reject needs categories: give some, or let it Pass",
            holds=lambda self: self.unknown_category is Unknown.PASS or self.categories is not None,
        ),
    )

    name: ColumnName
    """Its name, for clients and for the model."""
    datatype: Datatype
    """Its datatype in the Open Inference Protocol: BOOL, INT64, FP32, FP64, or BYTES for strings."""
    role: ColumnRole = ColumnRole.FEATURE
    """Only a Feature is sent to the model; EventTime and Passthrough are for the prediction log."""
    minimum: Float | None = None
    """Smallest number that the model knows; smaller ones are flagged or rejected."""
    maximum: Float | None = None
    """Largest number that the model knows."""
    categories: (
        Annotated[
            tuple[Annotated[str, StringConstraints(max_length=128)], ...],
            Field(min_length=1, max_length=64),
            Unique(),
        ]
        | None
    ) = None
    """Strings that the model knows; others are flagged or rejected."""
    missing: Unknown = Unknown.REJECT
    """What becomes of a null."""
    out_of_range: Unknown = Unknown.PASS
    """What becomes of a number outside of minimum and maximum."""
    unknown_category: Unknown = Unknown.PASS
    """What becomes of a string that is none of the categories."""


class AdapterOutput(Model):
    """One output of the model; each row has one value of it."""

    rules = (_NAME_RULE,)

    name: ColumnName
    """Its name, for clients and in the answer of the model; monitors and gates look for predict and probability."""
    datatype: Datatype
    """Its datatype in the Open Inference Protocol."""


class AdapterRequest(Model):
    """The body that the model is sent."""

    shape: RequestShape = RequestShape.COLUMNS
    """Columns is {"x": [1, 2]}, Rows is [{"x": 1}, {"x": 2}], Matrix is [[1], [2]] with the features in order."""
    field: FieldName | None = None
    """Name under which that is put into an object, such as rows for {"rows": …}; left out, it is the body itself."""


class AdapterResponse(Model):
    """The body that the model answers."""

    shape: ResponseShape = ResponseShape.COLUMNS
    """Columns is {"predict": [0, 1]}, Rows is [{"predict": 0}, {"predict": 1}], List is [0, 1] of the only output."""
    field: FieldName | None = None
    """Name under which that is found in an object; left out, it is the body itself."""


def _feature_count(adapter: "Adapter", role: ColumnRole) -> int:
    return sum(column.role is role for column in adapter.inputs)


class Adapter(Model):
    """How the image is asked for predictions: one HTTP call with JSON for each batch of rows."""

    rules = (
        Rule(
            cel="self.timeout <= duration('5m')",
            message="timeout is longer than 5m, for which no client waits: lower it",
            holds=lambda self: self.timeout.seconds <= LONGEST_TIMEOUT_S,
        ),
        Rule(
            cel="self.inputs.exists(c, c.role == 'Feature')",
            message="inputs has no Feature, so nothing would reach the model: give one",
            holds=lambda self: _feature_count(self, ColumnRole.FEATURE) > 0,
        ),
        Rule(
            cel="self.inputs.filter(c, c.role == 'EventTime').size() <= 1",
            message="inputs has more than one EventTime: keep one",
            holds=lambda self: _feature_count(self, ColumnRole.EVENT_TIME) <= 1,
        ),
        Rule(
            cel="self.response.shape != 'List' || self.outputs.size() == 1",
            message="response.shape List has values of one output: choose Columns or Rows, or keep one output",
            holds=lambda self: self.response.shape is not ResponseShape.LIST or len(self.outputs) == 1,
        ),
    )

    runtime: Name = "bentoml-skops"
    """Name of the ModelRuntime of this namespace, or else of the ClusterModelRuntime, whose image stands before the
    model: the server that serves bundles."""
    port: Annotated[Int, Field(ge=1024, le=65535)]
    """Port on which the image answers HTTP; on the pod's loopback is enough."""
    path: HttpPath = "/predict"
    """Path that rows are posted to."""
    request: AdapterRequest = AdapterRequest()
    """The body that the model is sent."""
    response: AdapterResponse = AdapterResponse()
    """The body that it answers."""
    ready_path: HttpPath | None = None
    """Path that answers 2xx once the model can predict, such as /readyz; left out, an open port is enough."""
    timeout: Annotated[Duration, AtLeast("100ms")] = Duration("10s")
    """How long the model may take for one batch, 100ms to 5m."""
    inputs: Annotated[tuple[AdapterInput, ...], Field(min_length=1, max_length=256), KeyedBy("name")]
    """What a request has to hold."""
    outputs: Annotated[tuple[AdapterOutput, ...], Field(min_length=1, max_length=16), KeyedBy("name")]
    """What it is answered."""
