"""Write several bundles as one."""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import ValidationError

from perennial_bundle.archive import pack
from perennial_bundle.bundle import Bundle, load
from perennial_bundle.errors import InvalidBundle
from perennial_bundle.formats.combining import Classes, stack_answers
from perennial_bundle.formats.ensemble import (
    EnsembleScorer,
    Member,
    check_columns,
    check_member,
    member_outputs,
)
from perennial_bundle.formats.settling import describe_outputs, settle
from perennial_bundle.formats.skops_file import check_model_types
from perennial_bundle.manifest import FINAL_FILE, Ensemble, Method
from perennial_bundle.policies import Policy
from perennial_bundle.preparing import check_metadata, prepare
from perennial_bundle.schema import Column, Schema
from perennial_bundle.writing import Draft, write_bundle

_LIBRARIES = ("scikit-learn", "skops", "numpy", "scipy", "pandas")


def save_ensemble(
    members: Mapping[str, Bundle | Path | str],
    X: pd.DataFrame,  # noqa: N803  scikit-learn's name for it
    path: Path | str,
    *,
    method: Method = "Voting",
    weights: Sequence[float] | None = None,
    final: Any | None = None,
    y: Any | None = None,
    event_time: str | None = None,
    name: str | None = None,
    passthrough: Collection[str] = (),
    metadata: Mapping[str, Any] | None = None,
    enforce_ranges: Collection[str] = (),
    reject_unknown: Collection[str] = (),
    policies: Mapping[str, Policy] | None = None,
) -> Bundle:
    """Write several bundles as one that answers with all of them.

    All members have one task, and for a classification the same classes. Each takes columns of `X`; together they
    take all of its features. Besides ``predict`` and ``probability`` the ensemble answers with each member's own
    outputs, ``<member>.predict`` and so on: they are always logged, and answered when they are asked for by name.

    Parameters
    ----------
    members
        2 to 7 bundles, by a name of lower-case letters, digits and hyphens.
    X
        Rows as they will come in requests; for Stacking, rows that no member was fitted on.
    method
        Voting: the mean of probabilities (a member without them casts a vote) or of numbers. Weighted: the same with
        `weights`. Stacking: `final` is fitted on what the members say to `X`, and on `y`.
    final
        Stacking's scikit-learn model; by default a logistic or linear regression.
    y
        The truth for each row of `X`; Stacking needs it.

    Other parameters are those of `perennial_bundle.save`. What a member refuses (a range, an unknown category) the
    ensemble refuses, too, and what is missing it imputes where a member does.

    Raises
    ------
    BundleError
        A member can't be loaded, or they don't fit each other; the message says what to change.
    """
    check_metadata(metadata)
    bundles = {n: m if isinstance(m, Bundle) else load(m) for n, m in members.items()}
    ensemble = _read_ensemble(bundles, method, weights)
    manifest = next(iter(bundles.values())).manifest
    task, classes = manifest.task, manifest.classes
    for member, bundle in bundles.items():
        check_member(member, bundle, task, classes)
    data = prepare(
        X,
        fitted_on=_union(bundles),
        y=y,
        event_time=event_time,
        passthrough=passthrough,
        enforce_ranges={*enforce_ranges, *_refusals(bundles, lambda column: column.out_of_range)},
        reject_unknown={*reject_unknown, *_refusals(bundles, lambda column: column.unknown_category)},
        policies=_imputing(bundles) | dict(policies or {}),
    )
    columns = {column.name: column for column in data.inputs}
    for member, bundle in bundles.items():
        check_columns(member, bundle.schema, columns)
    loaded = {member: Member(bundle.scorer, bundle.schema) for member, bundle in bundles.items()}
    if method == "Stacking":
        final = _fit_final(final, loaded, X, y, classes)
    elif final is not None:
        raise InvalidBundle("final belongs to the method Stacking")

    def make_scorer(schema: Schema) -> EnsembleScorer:
        return EnsembleScorer(loaded, ensemble, final, schema, classes)

    outputs = [
        *describe_outputs(classes, has_probability=final is None or hasattr(final, "predict_proba")),
        *(column for member, bundle in bundles.items() for column in member_outputs(member, bundle.schema)),
    ]
    settled = settle(data, outputs, make_scorer)
    draft = Draft(
        name=name,
        format="ensemble",
        task=task,
        classes=classes,
        schema=settled.schema,
        libraries=_LIBRARIES,
        metadata=metadata or {},
        ensemble=ensemble,
    )

    def write_model(directory: Path) -> None:
        for member, bundle in bundles.items():
            with (directory / ensemble.file_of(member)).open("wb") as file:
                pack(bundle.path, file)
        if final is not None:
            _write_final(final, directory / FINAL_FILE)

    return write_bundle(Path(path), draft, data, settled.outputs, write_model)


def _read_ensemble(names: Collection[str], method: Method, weights: Sequence[float] | None) -> Ensemble:
    if not names:
        raise InvalidBundle("there are no members; an ensemble has 2 to 7")
    try:
        return Ensemble(
            method=method, members=tuple(names), weights=None if weights is None else tuple(weights)
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise InvalidBundle(f"{'.'.join(map(str, first['loc'])) or 'members'}: {first['msg']}") from error


def _union(bundles: Mapping[str, Bundle]) -> list[str]:
    """Return all members' features, each once, in the order in which they are first taken."""
    return list(dict.fromkeys(name for bundle in bundles.values() for name in bundle.schema.feature_names))


def _refusals(bundles: Mapping[str, Bundle], policy: Callable[[Column], str]) -> set[str]:
    return {
        column.name
        for bundle in bundles.values()
        for column in bundle.schema.features
        if policy(column) == "Reject"
    }


def _imputing(bundles: Mapping[str, Bundle]) -> dict[str, Policy]:
    """What a member's model is never given as missing, the ensemble imputes as the first such member does."""
    policies: dict[str, Policy] = {}
    for bundle in bundles.values():
        for column in bundle.schema.features:
            if column.missing == "Impute":
                policies.setdefault(column.name, {"missing": "Impute", "impute_value": column.impute_value})
    return policies


def _fit_final(
    final: Any | None,
    members: Mapping[str, Member],
    frame: pd.DataFrame,
    y: Any | None,
    classes: Classes | None,
) -> Any:
    from sklearn.linear_model import LinearRegression, LogisticRegression

    if y is None:
        raise InvalidBundle("Stacking needs y, the truth for each row of X")
    if final is None:
        final = LinearRegression() if classes is None else LogisticRegression()
    answers = {name: member.predict(member.schema.impute(frame)) for name, member in members.items()}
    final = final.fit(stack_answers(answers, classes), np.asarray(y))
    if classes is not None and tuple(np.asarray(final.classes_).tolist()) != classes:
        raise InvalidBundle(
            f"y has the classes {list(final.classes_)[:5]}; the members have {list(classes)[:5]}"
        )
    return final


def _write_final(final: Any, path: Path) -> None:
    import skops.io

    skops.io.dump(final, path)
    check_model_types(path)
