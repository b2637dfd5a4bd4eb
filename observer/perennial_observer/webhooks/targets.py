"""Where webhooks go, as the installation says. Pure."""

import hashlib
from typing import Annotated

from perennial_api.modeldeployment.monitoring import Severity
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

__all__ = ["MAX_TARGETS", "WebhookTarget"]

MAX_TARGETS = 16
_WEIGHT = {Severity.LOG: 0, Severity.TICKET: 1, Severity.PAGE: 2}


class WebhookTarget(BaseModel):
    """One receiver."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, validate_by_name=True, validate_by_alias=True
    )

    url: Annotated[str, StringConstraints(max_length=2048, pattern=r"^https?://[^\s/]+\S*$")]
    min_severity: Severity = Field(Severity.TICKET, description="The least that is sent: Page, Ticket or Log")

    def wants(self, severity: Severity) -> bool:
        """Whether alarms of a severity are sent here."""
        return _WEIGHT[severity] >= _WEIGHT[self.min_severity]

    @property
    def digest(self) -> str:
        """Stands for the address in the database, for an address may hold a secret."""
        return hashlib.sha256(self.url.encode()).hexdigest()
