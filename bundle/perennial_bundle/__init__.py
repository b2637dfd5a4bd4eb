"""The model bundle: manifest, schema, reference sample, digest, safe loading.

>>> import perennial_bundle
>>> perennial_bundle.save(model, X, "wine/", y=y, event_time="time")  # doctest: +SKIP
>>> bundle = perennial_bundle.load("wine/")  # doctest: +SKIP
>>> bundle.predict(bundle.schema.validate({"alcohol": [12.5], "time": ["2026-01-01T00:00:00Z"]}))  # doctest: +SKIP
"""

from perennial_bundle.archive import Limits, pack, unpack
from perennial_bundle.bundle import Bundle, load, predict
from perennial_bundle.columns import event_time_seconds
from perennial_bundle.editing import edit_schema
from perennial_bundle.errors import (
    BundleError,
    BundleNotFound,
    DigestMismatch,
    InvalidBundle,
    InvalidInput,
    ModelLoadFailed,
    UnsafeModel,
)
from perennial_bundle.formats.ensemble_saving import save_ensemble
from perennial_bundle.formats.onnx_saving import save_onnx
from perennial_bundle.manifest import Manifest
from perennial_bundle.policies import Policy
from perennial_bundle.reference import Reference
from perennial_bundle.rows import Checked, Flag, Rows, join
from perennial_bundle.saving import save
from perennial_bundle.schema import Column, Schema
from perennial_bundle.scoring import Outputs

__all__ = [
    "Bundle",
    "BundleError",
    "BundleNotFound",
    "Checked",
    "Column",
    "DigestMismatch",
    "Flag",
    "InvalidBundle",
    "InvalidInput",
    "Limits",
    "Manifest",
    "ModelLoadFailed",
    "Outputs",
    "Policy",
    "Reference",
    "Rows",
    "Schema",
    "UnsafeModel",
    "edit_schema",
    "event_time_seconds",
    "join",
    "load",
    "pack",
    "predict",
    "save",
    "save_ensemble",
    "save_onnx",
    "unpack",
]
