"""`spec.logger`: which predictions are recorded."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from perennial_api.base import Model
from perennial_api.types import Column, Unique

__all__ = ["Logger", "LoggerMode"]


class LoggerMode(StrEnum):
    """Which predictions are recorded."""

    ALL = "All"
    NONE = "None"


class Logger(Model):
    """The prediction log, which monitors and retraining read."""

    mode: LoggerMode = LoggerMode.ALL
    """All records every prediction, None records nothing and leaves monitors and retraining without data."""
    exclude: Annotated[tuple[Column, ...], Field(max_length=256), Unique()] = ()
    """Input columns that are never recorded, at most 256; monitors and retraining don't see them."""
