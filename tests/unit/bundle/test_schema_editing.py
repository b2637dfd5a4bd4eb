"""A finished bundle's schema, printed and changed."""

import json

import perennial_bundle
import pytest
from perennial_bundle import DigestMismatch, InvalidBundle, Rows, edit_schema
from perennial_bundle.__main__ import main

from .test_inference_policies import build_strict_model, save


@pytest.fixture
def strict_bundle(rows, tmp_path):
    return save(build_strict_model(*rows), rows, tmp_path / "strict")


def test_an_edited_bundle_has_another_digest_and_the_new_policy(copy, saved):
    got = edit_schema(copy, {"wind": {"out_of_range": "Reject", "maximum": 90.0}})
    assert got.digest != saved.digest
    assert perennial_bundle.load(copy, expected_digest=got.digest).schema.by_name["wind"].maximum == 90.0
    with pytest.raises(DigestMismatch):
        perennial_bundle.load(copy, expected_digest=saved.digest)
    unchanged = [c for c in saved.schema.inputs if c.name != "wind"]
    assert [c for c in got.schema.inputs if c.name != "wind"] == unchanged
    assert got.manifest.files == saved.manifest.files


def test_the_same_edit_gives_the_same_digest(copy, tmp_path):
    changes = {"carrier": {"unknown_category": "Impute"}}
    first = edit_schema(copy, changes).digest
    assert edit_schema(copy, changes).digest == first


def test_reference_rows_that_are_imputed_otherwise_are_asked_again(rows, model, tmp_path):
    frame, labels = rows
    features = frame[["wind", "hour", "carrier"]].assign(wind=frame.wind.where(frame.index % 2 == 0))
    bundle = perennial_bundle.save(model, features, tmp_path / "b", y=labels)
    before = bundle.reference()
    after = edit_schema(tmp_path / "b", {"wind": {"missing": "Impute", "impute_value": 99.0}}).reference()
    assert before.inputs.wind.isna().sum() == 200
    assert (after.inputs.wind == 99.0).sum() == 200
    assert after.sent == before.sent
    assert after.labels.tolist() == before.labels.tolist()
    again = perennial_bundle.load(tmp_path / "b")
    assert again.predict(after.inputs)["probability"].tolist() == after.outputs["probability"].tolist()
    assert after.outputs["probability"].tolist() != before.outputs["probability"].tolist()


def test_a_value_to_impute_that_nobody_wrote_down_is_read_off_the_reference(copy, saved):
    manifest = json.loads((copy / "bundle.json").read_text())
    older = next(c for c in manifest["schema"]["inputs"] if c["name"] == "hour")
    older |= {"allow_missing": older.pop("missing") != "Reject"}
    del older["impute_value"], older["missing_seen"]
    (copy / "bundle.json").write_text(json.dumps(manifest))
    got = edit_schema(copy, {"hour": {"missing": "Impute"}}).schema.by_name["hour"]
    assert (got.missing, got.impute_value) == ("Impute", saved.schema.by_name["hour"].impute_value)


@pytest.mark.parametrize(
    ("changes", "want"),
    [
        ({"nope": {"missing": "Pass"}}, "no column 'nope'"),
        ({"wind": {"datatype": "INT64"}}, "no policy 'datatype'"),
        ({"wind": {"missing": "Pass"}}, "can't take a missing value"),
        ({"carrier": {"unknown_category": "Pass"}}, "can't take an unknown category"),
        ({"carrier": {"categories": ["AA"]}}, "isn't one of its categories|reference sample"),
        (
            {"wind": {"maximum": 5.0, "out_of_range": "Reject"}},
            "reference sample breaks the edited schema: wind",
        ),
    ],
)
def test_an_edit_that_makes_no_sense_leaves_the_bundle_as_it_is(strict_bundle, changes, want):
    with pytest.raises(InvalidBundle, match=want):
        edit_schema(strict_bundle.path, changes)
    assert perennial_bundle.load(strict_bundle.path).digest == strict_bundle.digest
    names = {path.name for path in strict_bundle.path.iterdir()}
    assert names == {"bundle.json", *strict_bundle.manifest.files}


def test_the_command_prints_the_schema_and_changes_it(saved, copy, capsys):
    assert main(["schema", str(copy)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == [
        *("input", "datatype", "role", "missing", "out_of_range", "unknown_category", "impute_value", "known")
    ]
    assert lines[3].split() == [
        *("carrier", "BYTES", "Feature", "Pass", "-", "Pass"),
        saved.schema.by_name["carrier"].impute_value,
        *("AA,", "DL,", "UA"),
    ]
    changes = [
        "wind.missing=Impute",
        "wind.maximum=99.5",
        "wind.out_of_range=Reject",
        "carrier.impute_value=UA",
    ]
    assert main(["schema", str(copy), "--json", *(f"--set={change}" for change in changes)]) == 0
    got = {column["name"]: column for column in json.loads(capsys.readouterr().out)["inputs"]}
    assert (got["wind"]["missing"], got["wind"]["maximum"]) == ("Impute", 99.5)
    assert got["carrier"]["impute_value"] == "UA"
    edited = perennial_bundle.load(copy)
    checked = edited.schema.check(
        Rows(1, {"wind": [None], "hour": [1], "carrier": ["AA"], "when": ["2013-01-01"]})
    )
    assert [flag.action for flag in checked.flags] == ["Imputed"]


@pytest.mark.parametrize(
    "change", ["wind", "wind.missing", "wind.colour=red", "wind.missing=Never", ".missing=Pass"]
)
def test_a_change_that_cannot_be_read_is_named(copy, capsys, change):
    assert main(["schema", str(copy), "--set", change]) == 1
    assert capsys.readouterr().err.startswith("InvalidBundle: ")
