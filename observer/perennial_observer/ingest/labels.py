"""Whether a label can be true of what a model answers. Pure."""

from collections.abc import Iterable

from perennial_bundle import Schema

__all__ = ["is_mistyped"]

ANSWER = "predict"


def is_mistyped(label: bool | float | str, schemas: Iterable[Schema]) -> bool:
    """Whether a label is a text where the model answers numbers, or the other way round.

    Parameters
    ----------
    schemas
        Of the deployment's revisions: a label is sound if it fits one of them. Without any, nothing is known.
    """
    answers_text = {
        output.datatype == "BYTES" for schema in schemas for output in schema.outputs if output.name == ANSWER
    }
    return bool(answers_text) and isinstance(label, str) not in answers_text
