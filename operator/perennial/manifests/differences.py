"""Tell whether a stored object still is what was asked for, so that an idle pass writes nothing."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from perennial_api.errors import InvalidQuantityError
from perennial_api.labels import ANNOTATION_SPEC_HASH
from perennial_api.quantities import parse_quantity

from perennial.manifests.context import Manifest

__all__ = ["differs", "with_hash"]

HASH_DIGITS = 16


def with_hash(desired: Manifest) -> Manifest:
    """Return the object with a hash of itself as an annotation: by it, a field no longer asked for is noticed."""
    text = json.dumps(desired, sort_keys=True, separators=(",", ":"))
    value = hashlib.sha256(text.encode()).hexdigest()[:HASH_DIGITS]
    metadata = desired["metadata"]
    annotations = {**metadata.get("annotations", {}), ANNOTATION_SPEC_HASH: value}
    return {**desired, "metadata": {**metadata, "annotations": annotations}}


def differs(desired: Manifest, stored: Mapping[str, Any]) -> bool:
    """Whether the stored object lacks or contradicts anything asked for; what the API server added doesn't count."""
    return not _holds(desired, stored)


def _holds(desired: Any, stored: Any) -> bool:
    if isinstance(desired, Mapping):
        return isinstance(stored, Mapping) and all(
            _holds(value, stored.get(key)) for key, value in desired.items()
        )
    if isinstance(desired, list):
        same_length = isinstance(stored, list) and len(desired) == len(stored)
        return same_length and all(_holds(d, s) for d, s in zip(desired, stored, strict=True))
    if desired == stored or (desired in ("", {}, []) and stored is None):
        return True
    return isinstance(desired, str) and isinstance(stored, str) and _same_quantity(desired, stored)


def _same_quantity(left: str, right: str) -> bool:
    """The API server rewrites quantities: 0.5 comes back as 500m."""
    try:
        return parse_quantity(left) == parse_quantity(right)
    except InvalidQuantityError:
        return False
