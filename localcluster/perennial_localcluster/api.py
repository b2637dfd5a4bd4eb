"""A tiny client of the Kubernetes API: enough to apply a few objects and to ask for health.

The `kubernetes` package would be the largest dependency of a command that needs three calls.
"""

from __future__ import annotations

import base64
import json
import ssl
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import yaml

from perennial_localcluster.errors import LocalClusterError, NotRunningError

FIELD_MANAGER = "perennial-localcluster"


class ApiError(LocalClusterError):
    """The API server answered with an error."""

    def __init__(self, method: str, path: str, status: int, body: str) -> None:
        self.status = status
        super().__init__(f"{method} {path}: the API server answered {status}: {body[:500]}")


class ApiClient:
    """Speaks to the cluster of a kubeconfig with client certificates or a token."""

    def __init__(self, kubeconfig: Path) -> None:
        cluster, user = _read_kubeconfig(kubeconfig)
        self.server: str = cluster["server"].rstrip("/")
        self._token: str = user.get("token", "")
        self._tls = _build_tls(cluster, user)

    def request(self, method: str, path: str, body: Any = None, *, timeout_s: float = 10) -> Any:
        """Send one request and return the parsed JSON, or the text where it is none.

        Raises
        ------
        ApiError
            On a status of 400 or more.
        NotRunningError
            If nothing answers.
        """
        request = urllib.request.Request(f"{self.server}{path}", method=method)  # noqa: S310 - from the kubeconfig
        if self._token:
            request.add_header("Authorization", f"Bearer {self._token}")
        if body is not None:
            request.data = json.dumps(body).encode()
            patch = method == "PATCH"
            request.add_header(
                "Content-Type", "application/apply-patch+yaml" if patch else "application/json"
            )
        try:
            # No proxy: the address is on this machine or in the person's own network.
            handlers = [urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=self._tls)]
            with urllib.request.build_opener(*handlers).open(request, timeout=timeout_s) as answer:
                text = answer.read().decode()
        except urllib.error.HTTPError as error:
            raise ApiError(method, path, error.code, error.read().decode(errors="replace")) from error
        except (OSError, TimeoutError) as error:
            raise NotRunningError(f"The API server at {self.server} does not answer: {error}") from error
        return json.loads(text) if text.startswith("{") else text

    def apply(self, resource_path: str, manifest: dict[str, Any]) -> None:
        """Server-side apply of one object at its path, such as ``/api/v1/namespaces/x/services/y``."""
        query = f"?fieldManager={FIELD_MANAGER}&force=true"
        self.request("PATCH", resource_path + query, manifest)

    def is_ready(self) -> bool:
        """Whether the API server says that it is ready."""
        try:
            return bool(self.request("GET", "/readyz", timeout_s=3) == "ok")
        except LocalClusterError:
            return False


def _read_kubeconfig(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        config = yaml.safe_load(path.read_text())
        context = next(c["context"] for c in config["contexts"] if c["name"] == config["current-context"])
        cluster = next(c["cluster"] for c in config["clusters"] if c["name"] == context["cluster"])
        user = next(u["user"] for u in config["users"] if u["name"] == context["user"])
    except FileNotFoundError as error:
        raise NotRunningError(
            f"There is no kubeconfig at {path}. Give the path of one that exists."
        ) from error
    except (yaml.YAMLError, KeyError, TypeError, StopIteration) as error:
        raise NotRunningError(
            f"{path} is not a kubeconfig with a usable current-context: {error!r}"
        ) from error
    return cluster, user


def _build_tls(cluster: dict[str, Any], user: dict[str, Any]) -> ssl.SSLContext:
    authority = _read_inline(cluster, "certificate-authority")
    tls = ssl.create_default_context(cadata=authority or None)
    # Kubernetes CAs made by older tools lack extensions that the strict mode of newer Pythons demands.
    tls.verify_flags &= ~ssl.VERIFY_X509_STRICT
    certificate, key = _read_inline(user, "client-certificate"), _read_inline(user, "client-key")
    if certificate and key:
        # The ssl module loads a certificate only from a file; it is gone right after.
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
            file.write(certificate + "\n" + key)
            file.flush()
            tls.load_cert_chain(file.name)
    return tls


def _read_inline(section: dict[str, Any], name: str) -> str:
    if f"{name}-data" in section:
        return base64.b64decode(section[f"{name}-data"]).decode()
    return Path(section[name]).read_text() if name in section else ""
