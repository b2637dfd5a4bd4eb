"""What windows are compared with."""

from enum import StrEnum
from typing import Annotated

from pydantic import StringConstraints

from perennial_api.base import Model, Rule
from perennial_api.types import Sha256, Time

__all__ = ["LogReference", "Reference", "ReferenceSource", "Seasonality", "UriReference"]


class ReferenceSource(StrEnum):
    """Where the reference comes from."""

    BUNDLE = "Bundle"
    LOG = "Log"
    URI = "Uri"


class Seasonality(StrEnum):
    """After what time inputs look alike again."""

    NONE = "None"
    DAILY = "Daily"
    WEEKLY = "Weekly"


class LogReference(Model):
    """A stretch of the prediction log."""

    rules = (
        Rule(
            cel="self.since < self.until",
            message="log.since must be before log.until",
            holds=lambda self: self.since < self.until,
        ),
    )

    since: Time
    """Event time of the first row."""
    until: Time
    """Event time after the last row."""


class UriReference(Model):
    """A Parquet file."""

    uri: Annotated[str, StringConstraints(min_length=8, max_length=512, pattern=r"^(s3|file)://.+$")]
    """`s3://<bucket>/<key>`, read with the observer's own credentials, or `file:///<path>` on the observer's volume."""
    sha256: Sha256
    """Its digest (hex)."""


class Reference(Model):
    """What windows are compared with; it is renewed only when a revision is promoted."""

    rules = (
        Rule(
            cel="(self.source == 'Log') == has(self.log) && (self.source == 'Uri') == has(self.uri)",
            message="the member must fit the source: Log needs log, Uri needs uri, Bundle takes neither",
            holds=lambda self: (
                (self.source is ReferenceSource.LOG) == (self.log is not None)
                and (self.source is ReferenceSource.URI) == (self.uri is not None)
            ),
        ),
    )

    source: ReferenceSource = ReferenceSource.BUNDLE
    """Bundle (the sample that the revision's bundle carries), Log (a stretch of the log) or Uri (a file)."""
    log: LogReference | None = None
    """The stretch, for Log."""
    uri: UriReference | None = None
    """The file, for Uri."""
    seasonality: Seasonality = Seasonality.NONE
    """Daily or Weekly: a window is compared with rows of the same hours, or of the same days and hours."""
