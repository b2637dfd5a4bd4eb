"""The API server, through the user's kubeconfig: resources, short-lived tokens, and the service proxy."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

import urllib3
from kubernetes import client, config
from perennial_api.labels import GROUP, LABEL_DEPLOYMENT, VERSION

from perennial.cli.answer import Answer
from perennial.cli.errors import ClusterError, NotAllowedError

if TYPE_CHECKING:
    from collections.abc import Iterator

TIMEOUT_S = 15.0
UPLOAD_TIMEOUT_S = 600.0
PROXY_TIMEOUT_S = 5.0
PAGE_SIZE = 500
TOKEN_LIFETIME_S = 600
"""The shortest that the API server issues."""

_NOT_FOUND = 404
_FORBIDDEN = (401, 403)


class Cluster:
    """Calls to the API server in the user's name.

    Parameters
    ----------
    kubeconfig, context
        As for kubectl; None for its defaults.

    Raises
    ------
    ClusterError
        If there is no usable kubeconfig; and from every call that fails.
    """

    def __init__(self, kubeconfig: str | None = None, context: str | None = None) -> None:
        settings = client.Configuration()
        try:
            config.load_kube_config(kubeconfig, context, client_configuration=settings)
            _, active = config.list_kube_config_contexts(kubeconfig)
        except (config.ConfigException, OSError) as error:
            raise ClusterError(
                f"No usable kubeconfig: {str(error).rstrip('.')}. Set KUBECONFIG or --kubeconfig."
            ) from error
        self.host: str = settings.host
        self.namespace: str = (active or {}).get("context", {}).get("namespace") or "default"
        # Uploads take their time, and a repeated one starts at the file's beginning: retries are ours.
        settings.retries = False
        self._api = client.ApiClient(settings)

    def get(self, plural: str, namespace: str, name: str) -> dict[str, Any] | None:
        """Return one of our resources, or None if there is none of that name."""
        objects = client.CustomObjectsApi(self._api)
        with self._translated(f"read {plural} {namespace}/{name}"):
            try:
                return dict(
                    objects.get_namespaced_custom_object(
                        GROUP, VERSION, namespace, plural, name, _request_timeout=TIMEOUT_S
                    )
                )
            except client.ApiException as error:
                if error.status == _NOT_FOUND:
                    return None
                raise

    def find(self, plural: str, namespace: str | None, deployment: str | None) -> list[dict[str, Any]]:
        """Return all resources of a kind, in one namespace or all, of one deployment or all."""
        objects = client.CustomObjectsApi(self._api)
        selector = {"label_selector": f"{LABEL_DEPLOYMENT}={deployment}"} if deployment else {}
        found: list[dict[str, Any]] = []
        token = None
        with self._translated(f"list {plural} in {namespace or 'all namespaces'}"):
            while True:
                page = {"limit": PAGE_SIZE, "_request_timeout": TIMEOUT_S} | (
                    {"_continue": token} if token else {}
                )
                answer = (
                    objects.list_namespaced_custom_object(
                        GROUP, VERSION, namespace, plural, **selector, **page
                    )
                    if namespace
                    else objects.list_cluster_custom_object(GROUP, VERSION, plural, **selector, **page)
                )
                found += answer["items"]
                token = answer["metadata"].get("continue")
                if not token:
                    return found

    def annotate(
        self, plural: str, namespace: str, name: str, uid: str, annotations: Mapping[str, str]
    ) -> None:
        """Set annotations of one of our resources, if it is still the object of that uid."""
        body = {"metadata": {"uid": uid, "annotations": dict(annotations)}}
        with self._translated(
            f"patch {plural} {namespace}/{name}", f"patch on {plural}.{GROUP} in {namespace}"
        ):
            client.CustomObjectsApi(self._api).patch_namespaced_custom_object(
                GROUP, VERSION, namespace, plural, name, body, _request_timeout=TIMEOUT_S
            )

    def list_pods(self, namespace: str, selector: str) -> list[dict[str, Any]] | None:
        """Return pods by their labels, or None where the user may not see them."""
        core = client.CoreV1Api(self._api)
        try:
            with self._translated(f"list pods in {namespace}"):
                answer = core.list_namespaced_pod(
                    namespace, label_selector=selector, _request_timeout=TIMEOUT_S, _preload_content=False
                )
                return list(json.loads(answer.data)["items"])
        except NotAllowedError:
            return None

    def get_through_proxy(self, namespace: str, pod: str, port: int, path: str) -> Answer:
        """GET a page of a pod through the API server; an answer of any status is returned."""
        url = f"{self.host}/api/v1/namespaces/{namespace}/pods/{pod}:{port}/proxy{path}"
        headers: dict[str, str] = {}
        self._api.update_params_for_auth(headers, [], ["BearerToken"], url, "GET", None)
        with self._translated(f"reach pod {namespace}/{pod}"):
            response = self._api.rest_client.pool_manager.request(
                "GET", url, headers=headers, timeout=PROXY_TIMEOUT_S, retries=False
            )
        return Answer(response.status, response.data)

    def create_token(self, namespace: str, service_account: str, audience: str) -> str:
        """Return a short-lived token of a ServiceAccount, if the user may create one."""
        core = client.CoreV1Api(self._api)
        request = client.AuthenticationV1TokenRequest(
            spec=client.V1TokenRequestSpec(audiences=[audience], expiration_seconds=TOKEN_LIFETIME_S)
        )
        with self._translated(f"create a token for ServiceAccount {namespace}/{service_account}"):
            answer = core.create_namespaced_service_account_token(
                service_account, namespace, request, _request_timeout=TIMEOUT_S
            )
        return str(answer.status.token)

    def put_through_proxy(
        self,
        namespace: str,
        service: str,
        path: str,
        body: IO[bytes],
        *,
        size_bytes: int,
        headers: Mapping[str, str],
    ) -> Answer:
        """PUT a file to a service through the API server, and return what the service answered.

        The service sees none of the user's credentials; the API server takes them off.
        """
        self._check_may_proxy(namespace, f"{service}:80")
        url = f"{self.host}/api/v1/namespaces/{namespace}/services/{service}:80/proxy{path}"
        all_headers = {
            "Content-Length": str(size_bytes),
            "Content-Type": "application/octet-stream",
            **headers,
        }
        self._api.update_params_for_auth(all_headers, [], ["BearerToken"], url, "PUT", None)
        with self._translated(f"reach service {namespace}/{service}"):
            response = self._api.rest_client.pool_manager.request(
                "PUT",
                url,
                body=body,
                headers=all_headers,
                timeout=urllib3.Timeout(connect=TIMEOUT_S, read=UPLOAD_TIMEOUT_S),
                retries=False,
            )
        return Answer(response.status, response.data)

    def _check_may_proxy(self, namespace: str, name: str) -> None:
        """Ask first: a refusal in the middle of an upload only shows as a broken connection."""
        wish = client.V1ResourceAttributes(
            verb="update", resource="services", subresource="proxy", namespace=namespace, name=name
        )
        review = client.V1SelfSubjectAccessReview(
            spec=client.V1SelfSubjectAccessReviewSpec(resource_attributes=wish)
        )
        action = f"update services/proxy {namespace}/{name}"
        with self._translated(f"ask for the right to {action}"):
            answer = client.AuthorizationV1Api(self._api).create_self_subject_access_review(
                review, _request_timeout=TIMEOUT_S
            )
        if not answer.status.allowed:
            raise ClusterError(
                f"You are not allowed to {action}. Ask whoever runs the cluster for that right."
            )

    @contextmanager
    def _translated(self, action: str, right: str = "") -> Iterator[None]:
        try:
            yield
        except client.ApiException as error:
            raise _explain(action, right, error) from error
        except (urllib3.exceptions.ProtocolError, urllib3.exceptions.SSLError) as error:
            raise ClusterError(
                f"Could not {action}: the connection to {self.host} broke off ({error})."
            ) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise ClusterError(
                f"Could not {action}: the API server at {self.host} does not answer ({error})."
            ) from error


def _explain(action: str, right: str, error: client.ApiException) -> ClusterError:
    try:
        message = json.loads(error.body)["message"]
    except (ValueError, KeyError, TypeError):
        message = error.reason
    if error.status in _FORBIDDEN:
        wanted = f"the right {right}" if right else "that right"
        return NotAllowedError(
            f"You are not allowed to {action}: {message}. Ask whoever runs the cluster for {wanted}."
        )
    return ClusterError(f"Could not {action}: {message} (HTTP {error.status}).")
