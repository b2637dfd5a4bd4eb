"""Change what a finished bundle does with values that its model doesn't know."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from perennial_bundle.bundle import Bundle, load
from perennial_bundle.errors import InvalidBundle, InvalidInput
from perennial_bundle.formats.settling import AsModel
from perennial_bundle.inference import PROBE_ROWS, check_passing, infer_impute_value
from perennial_bundle.manifest import MANIFEST_FILE, REFERENCE_FILE, parse_manifest
from perennial_bundle.policies import Policies, Policy, apply_policy, check_names
from perennial_bundle.reference import Reference, write_reference
from perennial_bundle.schema import Column, Schema


def edit_schema(path: Path | str, changes: Policies) -> Bundle:
    """Change columns' policies in a bundle's directory; the bundle gets another digest.

    The reference sample has to fit the schema still, and what is to pass is tried on the model. Where reference rows
    are imputed otherwise than before, the model is asked again what it says to them.

    Parameters
    ----------
    path
        The bundle's directory.
    changes
        By column, as the `policies` of `perennial_bundle.save`. Where a column is to impute and has no value for it
        yet, the value is taken from the reference sample.

    Returns
    -------
    Bundle
        The edited one.

    Raises
    ------
    BundleError
        There is no sound bundle, or the changes make no sense; then nothing has been written.

    Examples
    --------
    >>> edit_schema("wine/", {"acid": {"missing": "Impute", "impute_value": 3.2}}).digest  # doctest: +SKIP
    'sha256:…'
    """
    path = Path(path)
    bundle = load(path)
    check_names(changes, bundle.schema.by_name)
    reference = bundle.reference()
    schema = Schema(
        inputs=tuple(
            _change(column, changes[column.name], reference.sent) if column.name in changes else column
            for column in bundle.schema.inputs
        ),
        outputs=bundle.schema.outputs,
    )
    try:
        frame = schema.validate(reference.sent)
    except InvalidInput as error:
        raise InvalidBundle(f"the reference sample breaks the edited schema: {error}") from error
    first = {name: values[:PROBE_ROWS] for name, values in reference.sent.items()}
    check_passing(AsModel(bundle.scorer), schema, first, changes)
    files, written = dict(bundle.manifest.files), None
    if not frame.equals(reference.inputs):
        written = _write_reference(path, schema, reference, bundle, frame)
        files[REFERENCE_FILE] = hashlib.sha256(written.read_bytes()).hexdigest()
    manifest = bundle.manifest.model_copy(update={"schema_": schema, "files": files}).to_json()
    parse_manifest(manifest)
    scratch = path / f".{MANIFEST_FILE}"
    scratch.write_bytes(manifest)
    # Between these two the digests don't agree, and nobody would load a bundle that is half edited.
    if written is not None:
        written.replace(path / REFERENCE_FILE)
    scratch.replace(path / MANIFEST_FILE)
    return load(path)


def _change(column: Column, policy: Policy, sent: Mapping[str, list[Any]]) -> Column:
    imputes = "Impute" in (policy.get("missing"), policy.get("unknown_category"))
    if imputes and column.impute_value is None and "impute_value" not in policy:
        values = pd.Series(sent[column.name], dtype=object)
        policy = policy | {"impute_value": infer_impute_value(column.datatype, values)}
    return apply_policy(column, policy)


def _write_reference(
    path: Path, schema: Schema, reference: Reference, bundle: Bundle, frame: pd.DataFrame
) -> Path:
    """Write the reference sample with the model's answers to what it is given now, under another name."""
    columns = {c.name: reference.sent.get(c.name, [None] * len(frame)) for c in schema.inputs}
    labels = None if reference.labels is None else reference.labels.tolist()
    scratch = path / f".{REFERENCE_FILE}"
    write_reference(scratch, schema, columns, bundle.predict(frame), labels)
    return scratch
