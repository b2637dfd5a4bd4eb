"""Who keeps the prediction log of a runtime's servers, and what the gateway is told where it does."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from perennial_api.base import Model
from perennial_api.modeldeployment.logger import LoggerMode
from perennial_api.types import Column, Int, Unique

__all__ = ["LoggedBy", "RevisionLog"]


class LoggedBy(StrEnum):
    """Who records what a runtime's servers answer."""

    SERVER = "Server"
    GATEWAY = "Gateway"


class RevisionLog(Model):
    """What the gateway records of a revision's answers, as spec.logger was when the revision was made."""

    mode: LoggerMode = LoggerMode.ALL
    """All, Request or Response, as in spec.logger."""
    percent: Annotated[Int, Field(ge=1, le=100)] = 100
    """Share of the predictions that is recorded, 1 to 100, in percent."""
    exclude: Annotated[tuple[Column, ...], Field(max_length=256), Unique()] = ()
    """Input columns that are never recorded."""
