"""The real API server, as the administrator's kubeconfig names it."""

import base64
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import yaml


@dataclass(frozen=True)
class Upstream:
    """Where the API server is and whom it is to be recognised by. No credential: callers bring their own."""

    server: str
    tls: ssl.SSLContext

    @classmethod
    def read(cls, kubeconfig: Path) -> Self:
        config = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
        context = _find(config["contexts"], config["current-context"])["context"]
        cluster = _find(config["clusters"], context["cluster"])["cluster"]
        tls = ssl.create_default_context(cadata=_authority(cluster))
        # Authorities made by older tools lack extensions that the strict mode of newer Pythons demands.
        tls.verify_flags &= ~ssl.VERIFY_X509_STRICT
        return cls(cluster["server"].rstrip("/"), tls)


def _find(entries: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(entry for entry in entries if entry["name"] == name)


def _authority(cluster: dict[str, Any]) -> str:
    if "certificate-authority-data" in cluster:
        return base64.b64decode(cluster["certificate-authority-data"]).decode()
    return Path(cluster["certificate-authority"]).read_text(encoding="utf-8")
