"""`spec.model`: which bundle to serve."""

from typing import Annotated

from pydantic import StringConstraints

from perennial_api.base import Model, Rule
from perennial_api.types import Sha256

__all__ = ["PERENNIAL_SCHEME", "PVC_SCHEME", "ModelSource"]

PERENNIAL_SCHEME = "perennial://"
PVC_SCHEME = "pvc://"

_CLAIM = r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?"
_PATH = r"(/[A-Za-z0-9_][A-Za-z0-9._-]*)*"

ModelUri = Annotated[
    str,
    StringConstraints(
        min_length=7, max_length=1024, pattern=rf"^(perennial://sha256:[0-9a-f]{{64}}|pvc://{_CLAIM}{_PATH})$"
    ),
]


class ModelSource(Model):
    """The model bundle to serve."""

    rules = (
        Rule(
            cel="!self.uri.startsWith('pvc://') || has(self.sha256)",
            message="a pvc:// model needs sha256, the bundle's digest: without it a restarted pod could serve other bytes",
            holds=lambda self: not self.uri.startswith(PVC_SCHEME) or self.sha256 is not None,
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
    )

    uri: ModelUri
    """Where the bundle is: perennial://sha256:<64 hex digits> in the installation's own store, as printed by
    `kubectl perennial push DIR`, or pvc://<claim>/<path> on a ReadOnlyMany or ReadWriteMany claim of this namespace."""
    sha256: Sha256 | None = None
    """Digest of the bundle, 64 hex digits. Required for pvc://, needless for perennial://. A server refuses a bundle
    of another digest."""

    @property
    def digest(self) -> str:
        """The bundle's digest as ``sha256:<hex>``."""
        return f"sha256:{self.sha256}" if self.sha256 else self.uri.removeprefix(PERENNIAL_SCHEME)
