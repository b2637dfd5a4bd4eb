"""The identities by which the observer knows who sends a log entry or reads labels."""

from perennial_api.labels import LABEL_ROLE, ServiceAccountRole

from perennial.manifests.context import Manifest, Owner, build_metadata
from perennial.manifests.names import server_account, trainer_account

__all__ = ["build_service_accounts"]


def build_service_accounts(owner: Owner) -> list[Manifest]:
    """Build the ServiceAccounts of servers and trainers; neither has a right in the API server."""
    names = {
        ServiceAccountRole.SERVER: server_account(owner.deployment),
        ServiceAccountRole.TRAINER: trainer_account(owner.deployment),
    }
    return [
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": build_metadata(owner, name, {LABEL_ROLE: role.value}),
            "automountServiceAccountToken": False,
        }
        for role, name in names.items()
    ]
