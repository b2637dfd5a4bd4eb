"""`spec.model`: which bundle to serve."""

import hashlib
import re
from typing import Annotated

from pydantic import StringConstraints

from perennial_api.base import Model, Rule
from perennial_api.pods import LocalObjectReference
from perennial_api.types import Sha256

__all__ = ["PERENNIAL_SCHEME", "PVC_SCHEME", "RUNTIME_SCHEME", "STORE_SCHEMES", "ModelSource"]

PERENNIAL_SCHEME = "perennial://"
PVC_SCHEME = "pvc://"
RUNTIME_SCHEME = "runtime://"
"""The model is in the runtime's own image; the rest of the uri is a label, such as a version."""
STORE_SCHEMES = ("s3://", "gs://", "az://", "https://")
"""Stores that the server itself asks, with the Secret that `secretRef` names."""

_CLAIM = r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?"
_BUCKET = r"[a-z0-9]([-a-z0-9._]*[a-z0-9])?"
_HOST = rf"{_CLAIM}(:[0-9]{{1,5}})?"
_PATH = r"(/[A-Za-z0-9_][A-Za-z0-9._-]*)"
_KEY = r"(/[A-Za-z0-9_][A-Za-z0-9._=+-]*)+/?"
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
# Neither user, query nor fragment: everybody who may see the object sees it, so nothing secret may fit into it.
_URI = (
    rf"^(perennial://sha256:[0-9a-f]{{64}}|pvc://{_CLAIM}{_PATH}*|(s3|gs|az)://{_BUCKET}{_KEY}|https://{_HOST}{_KEY}"
    rf"|runtime://{_LABEL})$"
)

ModelUri = Annotated[
    str, StringConstraints(min_length=7, max_length=1024, pattern=r"^[a-z][a-z0-9]*://[A-Za-z0-9._:=+/-]+$")
]


def _is_in_store(model: "ModelSource") -> bool:
    return model.uri.startswith(STORE_SCHEMES)


class ModelSource(Model):
    """The model bundle to serve."""

    rules = (
        Rule(
            cel=f"self.uri.matches('{_URI}')",
            message=(
                "uri must be perennial://sha256:<64 hex digits>, pvc://<claim>/<path>, s3://<bucket>/<path>, "
                "gs://<bucket>/<path>, az://<container>/<path> or https://<host>/<path>, without user, query or '..', or "
                "runtime://<label> for the model in a runtime's image"
            ),
            holds=lambda self: re.match(_URI, self.uri) is not None,
        ),
        Rule(
            cel="self.uri.startsWith('perennial://') || self.uri.startsWith('runtime://') || has(self.sha256)",
            message=(
                "a model outside the installation's own store needs sha256, the bundle's digest: without it a "
                "restarted pod could serve other bytes"
            ),
            holds=lambda self: (
                self.uri.startswith((PERENNIAL_SCHEME, RUNTIME_SCHEME)) or self.sha256 is not None
            ),
        ),
        Rule(
            cel="!self.uri.startsWith('runtime://') || !has(self.sha256)",
            message="a model in a runtime's image has no bundle: remove sha256, and pin the runtime's image instead",
            holds=lambda self: not self.is_in_runtime or self.sha256 is None,
        ),
        Rule(
            cel="!self.uri.startsWith('perennial://') || !has(self.sha256) || self.uri.endsWith(self.sha256)",
            message="sha256 differs from the digest in the perennial:// uri: remove sha256 or correct one of them",
            holds=lambda self: (
                not self.uri.startswith(PERENNIAL_SCHEME)
                or self.sha256 is None
                or self.uri.endswith(self.sha256)
            ),
        ),
        Rule(
            cel="!has(self.secretRef) || ['s3://', 'gs://', 'az://', 'https://'].exists(s, self.uri.startsWith(s))",
            message="secretRef belongs to s3://, gs://, az:// and https:// models: remove it",
            holds=lambda self: self.secret_ref is None or _is_in_store(self),
        ),
        Rule(
            cel="!self.uri.startsWith('az://') || has(self.secretRef)",
            message=(
                "an az:// model needs secretRef, since the storage account is named in that Secret; public blobs have "
                "an https:// address"
            ),
            holds=lambda self: not self.uri.startswith("az://") or self.secret_ref is not None,
        ),
    )

    uri: ModelUri
    """Where the bundle is: perennial://sha256:<64 hex digits> in the installation's own store, as printed by
    `kubectl perennial push DIR`; pvc://<claim>/<path> on a ReadOnlyMany or ReadWriteMany claim of this namespace; or
    s3://<bucket>/<path>, gs://<bucket>/<path>, az://<container>/<path>, https://<host>/<path>. A path that ends in .tar
    is the bundle's tar; any other is the folder of its files. Or runtime://<label>, where server.runtime is of format bento
    or container: the model is in its image, and the label, such as a version, is free. Another label makes a new revision,
    with the runtime as it is then."""
    sha256: Sha256 | None = None
    """Digest of the bundle, 64 hex digits, as printed by `python -m perennial_bundle pack`. Needless for perennial://,
    refused for runtime://, required for all others. A server refuses a bundle of another digest."""
    secret_ref: LocalObjectReference | None = None
    """Secret of this namespace with the credentials of the bundle's store; the kubelet mounts it into the server."""

    @property
    def is_in_runtime(self) -> bool:
        """Whether the model is in the runtime's image, and not in a bundle."""
        return self.uri.startswith(RUNTIME_SCHEME)

    @property
    def digest(self) -> str:
        """The bundle's digest as ``sha256:<hex>``; that of the uri where there is no bundle."""
        if self.is_in_runtime:
            return f"sha256:{hashlib.sha256(self.uri.encode()).hexdigest()}"
        return f"sha256:{self.sha256}" if self.sha256 else self.uri.removeprefix(PERENNIAL_SCHEME)

    @property
    def secret(self) -> str | None:
        """Name of the Secret with the store's credentials."""
        return None if self.secret_ref is None else self.secret_ref.name
