"""Where webhooks go, as the installation says. Pure."""

import hashlib
import re
from typing import Annotated

from perennial_api.modeldeployment.monitoring import Severity
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr
from pydantic.alias_generators import to_camel

__all__ = ["MAX_TARGETS", "WebhookTarget"]

MAX_TARGETS = 16
MAX_ADDRESS = 2048
_ADDRESS = re.compile(r"https?://[^\s/]+\S*")
_WEIGHT = {Severity.LOG: 0, Severity.TICKET: 1, Severity.PAGE: 2}


def _check_address(address: SecretStr) -> SecretStr:
    text = address.get_secret_value()
    if len(text) > MAX_ADDRESS or not _ADDRESS.fullmatch(text):
        raise ValueError(
            f"an address begins with http:// or https:// and has at most {MAX_ADDRESS} characters"
        )
    return address


class WebhookTarget(BaseModel):
    """One receiver."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        hide_input_in_errors=True,
    )

    url: Annotated[SecretStr, AfterValidator(_check_address)]
    min_severity: Severity = Field(Severity.TICKET, description="The least that is sent: Page, Ticket or Log")

    def wants(self, severity: Severity) -> bool:
        """Whether alarms of a severity are sent here."""
        return _WEIGHT[severity] >= _WEIGHT[self.min_severity]

    @property
    def digest(self) -> str:
        """Stands for the address in the database, for an address may hold a secret."""
        return hashlib.sha256(self.url.get_secret_value().encode()).hexdigest()
