"""`spec.logger`: what is recorded of which predictions, and where it goes."""

import re
from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from perennial_api.base import Model, Rule
from perennial_api.types import Column, Int, Unique

__all__ = ["Logger", "LoggerMode", "Sink"]

_SINK_URL = r"^https?://[A-Za-z0-9._:-]+([/?][!-~]*)?$"


class LoggerMode(StrEnum):
    """What is recorded of a prediction."""

    ALL = "All"
    REQUEST = "Request"
    RESPONSE = "Response"
    NONE = "None"

    @property
    def has_inputs(self) -> bool:
        """Whether inputs are recorded."""
        return self in {LoggerMode.ALL, LoggerMode.REQUEST}

    @property
    def has_outputs(self) -> bool:
        """Whether outputs are recorded."""
        return self in {LoggerMode.ALL, LoggerMode.RESPONSE}


class Sink(Model):
    """Whoever takes predictions as CloudEvents."""

    rules = (
        Rule(
            cel=f"self.url.matches('{_SINK_URL}')",
            message="sink.url must be http:// or https:// with a host name and no user or password, such as http://broker.events/predictions",
            holds=lambda self: re.fullmatch(_SINK_URL, self.url) is not None,
        ),
    )

    url: Annotated[str, StringConstraints(min_length=8, max_length=2048)]
    """Address that batches of CloudEvents are posted to, http or https. No credentials are sent and no redirects are
    followed."""


class Logger(Model):
    """The prediction log, which monitors and retraining read."""

    rules = (
        Rule(
            cel="!has(self.sink) || self.mode != 'None'",
            message="logger.sink gets what logger.mode lets through, and None lets nothing: set logger.mode to All, Request or Response, or remove the sink",
            holds=lambda self: self.sink is None or self.mode is not LoggerMode.NONE,
        ),
    )

    mode: LoggerMode = LoggerMode.ALL
    """All records inputs and outputs, Request inputs only, Response outputs only (and the event time), None nothing.
    Monitors and retraining that need what isn't recorded are refused."""
    percent: Annotated[Int, Field(ge=1, le=100)] = 100
    """Share of the predictions that is recorded, 1 to 100, in percent. Which ones is told by the prediction id, so that
    feedback on the others can be told so."""
    exclude: Annotated[tuple[Column, ...], Field(max_length=256), Unique()] = ()
    """Input columns that are never recorded, at most 256; monitors, retraining and the sink don't see them."""
    sink: Sink | None = None
    """Where recorded predictions go as CloudEvents, beside the observer; left out: nowhere."""
