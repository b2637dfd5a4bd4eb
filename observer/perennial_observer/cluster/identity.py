"""From a projected token to a role and a ModelDeployment that exists."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
from kubernetes.aio import client
from perennial_api.labels import GROUP, LABEL_ROLE, VERSION, ServiceAccountRole

from perennial_observer.auth import Caller
from perennial_observer.cluster.client import unavailable
from perennial_observer.errors import Forbidden, Unauthenticated
from perennial_observer.store.rows import DeploymentKey

__all__ = ["ClusterIdentity"]

NOT_FOUND = 404
# A label is what the ServiceAccount's maker wrote: it gives no role that reaches beyond one deployment.
OF_DEPLOYMENTS = (ServiceAccountRole.SERVER, ServiceAccountRole.TRAINER)


@dataclass(frozen=True)
class ClusterIdentity:
    """Implements :class:`~perennial_observer.auth.IdentityReader` on the API server.

    An ownerReference is only what the ServiceAccount's maker wrote. It counts if the ModelDeployment of that name in
    the ServiceAccount's own namespace has that uid; so nobody reaches beyond their namespace.

    Parameters
    ----------
    of_installation
        Namespace and name of the installation's own ServiceAccounts, with the roles Pusher and Gateway.
    """

    api: client.ApiClient
    audience: str
    of_installation: Mapping[tuple[str, str], ServiceAccountRole]
    timeout_s: float

    async def read(self, token: str) -> Caller:
        """Return who the token's bearer is.

        Raises
        ------
        Unauthenticated, Forbidden, Unavailable
            See there.
        """
        namespace, name, uid = await self._review(token)
        if role := self.of_installation.get((namespace, name)):
            return Caller(role, None)
        account = await self._get(
            client.CoreV1Api(self.api).read_namespaced_service_account(
                name, namespace, _request_timeout=self.timeout_s
            ),
            f"the ServiceAccount {namespace}/{name}",
        )
        meta = account.metadata
        try:
            role = ServiceAccountRole((meta.labels or {}).get(LABEL_ROLE, ""))
        except ValueError:
            role = None
        if role not in OF_DEPLOYMENTS or (uid and meta.uid != uid):
            raise Forbidden(
                f"the ServiceAccount {namespace}/{name} has no label {LABEL_ROLE}: Server or Trainer",
                "NoRole",
            )
        owner = next(
            (
                o
                for o in meta.owner_references or []
                if o.kind == "ModelDeployment" and o.api_version.startswith(f"{GROUP}/")
            ),
            None,
        )
        if owner is None:
            raise Forbidden(
                f"the ServiceAccount {namespace}/{name} belongs to no ModelDeployment", "NoDeployment"
            )
        await self._require_deployment(namespace, owner.name, owner.uid)
        return Caller(role, DeploymentKey(uid=owner.uid, namespace=namespace, name=owner.name))

    async def _require_deployment(self, namespace: str, name: str, uid: str) -> None:
        deployment = await self._get(
            client.CustomObjectsApi(self.api).get_namespaced_custom_object(
                GROUP, VERSION, namespace, "modeldeployments", name, _request_timeout=self.timeout_s
            ),
            f"the ModelDeployment {namespace}/{name}",
        )
        if deployment["metadata"]["uid"] != uid:
            raise Forbidden(
                f"the ServiceAccount belongs to another ModelDeployment than {namespace}/{name} is now",
                "NoDeployment",
            )

    async def _review(self, token: str) -> tuple[str, str, str]:
        body = client.V1TokenReview(spec=client.V1TokenReviewSpec(token=token, audiences=[self.audience]))
        try:
            review = await client.AuthenticationV1Api(self.api).create_token_review(
                body, _request_timeout=self.timeout_s
            )
        except (client.ApiException, aiohttp.ClientError, TimeoutError) as error:
            raise unavailable(error) from error
        status = review.status
        if not status or not status.authenticated or self.audience not in (status.audiences or []):
            raise Unauthenticated(f"the token is not valid for the audience {self.audience}", "InvalidToken")
        kind, _, account = status.user.username.partition("system:serviceaccount:")
        namespace, separator, name = account.partition(":")
        if kind or not separator:
            raise Forbidden("only ServiceAccounts have a role here", "NotServiceAccount")
        return namespace, name, status.user.uid or ""

    @staticmethod
    async def _get(call: Any, what: str) -> Any:
        try:
            return await call
        except client.ApiException as error:
            if error.status == NOT_FOUND:
                raise Forbidden(f"{what} does not exist", "NoDeployment") from error
            raise unavailable(error) from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise unavailable(error) from error
