"""Several bundles as one model: each answers on its own, and a method makes one answer of theirs.

Members are whole bundles, packed as tars among the files, so that everything that holds for a bundle holds for them:
digests, limits, types. A member can't be an ensemble.
"""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from perennial_bundle.archive import Limits, read_manifest_bytes, unpack
from perennial_bundle.errors import BundleError, InvalidBundle
from perennial_bundle.formats.combining import Classes, combine, positive, stack_answers
from perennial_bundle.formats.protocol import Scorer
from perennial_bundle.formats.skops_file import check_is_skops, load_model
from perennial_bundle.manifest import FINAL_FILE, Ensemble, Manifest, Task, parse_manifest
from perennial_bundle.schema import Column, Schema
from perennial_bundle.scoring import Outputs, as_output, select_features

if TYPE_CHECKING:
    from perennial_bundle.bundle import Bundle


class EnsembleFormat:
    """``member-<name>.tar`` for each member, and ``final.skops`` where a model stands above them."""

    def check(self, directory: Path, manifest: Manifest) -> None:
        """Open every member without loading its model.

        Raises
        ------
        BundleError
            A member isn't a sound bundle, or doesn't fit the whole; the message says which.
        """
        list(_open_members(directory, manifest, load_models=False))
        if FINAL_FILE in manifest.model_files:
            check_is_skops(directory / FINAL_FILE)

    def load(self, directory: Path, manifest: Manifest) -> "EnsembleScorer":
        """Load every member, and the model above them; see `check` for the errors."""
        assert manifest.ensemble is not None
        members = {
            name: Member(member.scorer, member.schema)
            for name, member in _open_members(directory, manifest, load_models=True)
        }
        final = None
        if FINAL_FILE in manifest.model_files:
            final = load_model(directory / FINAL_FILE, manifest.libraries)
        return EnsembleScorer(members, manifest.ensemble, final, manifest.schema_, manifest.classes)


@dataclass(frozen=True)
class Member:
    """A loaded member and its own schema, which may have fewer columns than the whole."""

    scorer: Scorer
    schema: Schema

    def predict(self, frame: pd.DataFrame) -> Outputs:
        """Predict rows of the whole's schema."""
        return self.scorer.predict(select_features(self.schema, frame))


@dataclass(frozen=True)
class EnsembleScorer:
    """Members behind one schema.

    Parameters
    ----------
    final
        Stacking's scikit-learn model over the members' answers, else None.
    """

    members: Mapping[str, Member]
    ensemble: Ensemble
    final: Any
    schema: Schema
    classes: Classes | None

    @property
    def model(self) -> None:
        """There is no single estimator in it."""
        return

    def predict(self, frame: pd.DataFrame) -> Outputs:
        """Predict: the whole's outputs, and each member's as ``<member>.<output>``."""
        answers = {name: member.predict(frame) for name, member in self.members.items()}
        if self.final is None:
            weights = self.ensemble.weights or (1.0,) * len(answers)
            outputs = combine(list(answers.values()), weights, self.schema, self.classes)
        else:
            outputs = self._ask_final(stack_answers(answers, self.classes))
        for name, answer in answers.items():
            outputs.update((f"{name}.{output}", values) for output, values in answer.items())
        return {column.name: outputs[column.name] for column in self.schema.outputs}

    def _ask_final(self, features: pd.DataFrame) -> Outputs:
        datatype = next(column.datatype for column in self.schema.outputs if column.name == "predict")
        outputs = {"predict": as_output(self.final.predict(features), datatype)}
        if any(column.name == "probability" for column in self.schema.outputs):
            probabilities = np.asarray(self.final.predict_proba(features), dtype=np.float64)
            outputs["probability"] = positive(probabilities)
        return outputs


def check_member(name: str, member: "Bundle", task: Task, classes: Classes | None) -> None:
    """Refuse a member that can't be one.

    Raises
    ------
    InvalidBundle
        Saying why.
    """
    if member.manifest.task != task:
        raise InvalidBundle(f"member {name!r} is for {member.manifest.task}, the ensemble for {task}")
    if member.manifest.classes != classes:
        raise InvalidBundle(
            f"member {name!r} has the classes {member.manifest.classes}, others have {classes}; "
            "all need the same, in one order"
        )


def check_columns(name: str, member: Schema, whole: Mapping[str, Column]) -> None:
    """Refuse a member that takes a column which the whole doesn't have, or knows as another.

    Raises
    ------
    InvalidBundle
        Naming the column.
    """
    for column in member.features:
        other = whole.get(column.name)
        if other is None or other.role != "Feature":
            raise InvalidBundle(
                f"member {name!r} takes the feature {column.name!r}, which the ensemble doesn't have"
            )
        if (column.datatype, column.categorical) != (other.datatype, other.categorical) or (
            column.categorical and column.categories != other.categories
        ):
            raise InvalidBundle(
                f"member {name!r} takes {column.name!r} as other values than the ensemble does; "
                "give all members columns of one dtype and the same categories"
            )


def member_outputs(name: str, member: Schema) -> list[Column]:
    """Describe a member's answers as outputs of the whole."""
    return [
        column.model_copy(update={"name": f"{name}.{column.name}", "role": "Member"})
        for column in member.outputs
    ]


def _open_members(
    directory: Path, manifest: Manifest, *, load_models: bool
) -> Iterator[tuple[str, "Bundle"]]:
    """Yield each member, checked against the whole. Its files are gone after the step, its model may be loaded."""
    assert manifest.ensemble is not None
    want: set[str] = {"predict", "probability"}
    for name in manifest.ensemble.members:
        with _unpack_member(directory, manifest.ensemble, name) as member:
            check_member(name, member, manifest.task, manifest.classes)
            check_columns(name, member.schema, manifest.schema_.by_name)
            want.update(column.name for column in member_outputs(name, member.schema))
            if load_models:
                _ = member.scorer
        yield name, member
    if unknown := {column.name for column in manifest.schema_.outputs} - want:
        raise InvalidBundle(f"no member answers with {sorted(unknown)[:5]}")


@contextmanager
def _unpack_member(directory: Path, ensemble: Ensemble, name: str) -> Iterator["Bundle"]:
    from perennial_bundle.bundle import load

    path = directory / ensemble.file_of(name)
    size = path.stat().st_size
    with tempfile.TemporaryDirectory(prefix="perennial-member-") as scratch:
        try:
            with path.open("rb") as file:
                # A tar compresses nothing: what it holds can't be larger than it is.
                unpack(file, scratch, Limits(file_bytes=size, total_bytes=size))
            # Before it is opened, so that ensembles in ensembles don't open each other without end.
            if parse_manifest(read_manifest_bytes(Path(scratch))).format == "ensemble":
                raise InvalidBundle("it is an ensemble; give its members instead")
            yield load(scratch)
        except BundleError as error:
            raise type(error)(f"member {name!r}: {error}") from error
