import fractions
import hashlib
import io
import json
import pickle
import zipfile

import joblib
import perennial_bundle
import pytest
import skops.io
from perennial_bundle import BundleNotFound, DigestMismatch, InvalidBundle, ModelLoadFailed, UnsafeModel
from perennial_bundle.__main__ import main


def replace_file(bundle, name, data):
    """Replace a file and its digest in the manifest, as somebody who means harm would."""
    (bundle / name).write_bytes(data)
    change_manifest(bundle, lambda m: m["files"].__setitem__(name, hashlib.sha256(data).hexdigest()))


def change_manifest(bundle, change):
    manifest = json.loads((bundle / "bundle.json").read_text())
    change(manifest)
    (bundle / "bundle.json").write_text(json.dumps(manifest))


def test_nothing_there_is_not_found(tmp_path):
    with pytest.raises(BundleNotFound):
        perennial_bundle.load(tmp_path)
    with pytest.raises(BundleNotFound):
        perennial_bundle.load(tmp_path / "absent")


def test_another_digest_than_asked_for_is_a_mismatch(saved):
    with pytest.raises(DigestMismatch):
        perennial_bundle.load(saved.path, expected_digest="sha256:" + "0" * 64)


@pytest.mark.parametrize("name", ["model.skops", "reference.parquet"])
def test_a_tampered_file_is_a_mismatch(copy, name):
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(data)
    with pytest.raises(DigestMismatch, match=name):
        perennial_bundle.load(copy)


def test_a_missing_file_is_invalid(copy):
    (copy / "model.skops").unlink()
    with pytest.raises(InvalidBundle, match=r"model\.skops"):
        perennial_bundle.load(copy)


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.pop("schema"),
        lambda m: m.update(format_version=2),
        lambda m: m.update(format="onnx"),
        lambda m: m.update(task="Clustering"),
        lambda m: m.update(surprise=1),
        lambda m: m["files"].update({"../../etc/passwd": "0" * 64}),
        lambda m: m["files"].pop("model.skops"),
        lambda m: m.update(classes=None),
    ],
)
def test_a_manifest_that_breaks_the_format_is_invalid(copy, change):
    change_manifest(copy, change)
    with pytest.raises(InvalidBundle, match=r"bundle\.json"):
        perennial_bundle.load(copy)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000, '{"a": ' * 5000])
def test_a_manifest_that_is_not_json_is_invalid(copy, text):
    (copy / "bundle.json").write_text(text)
    with pytest.raises(InvalidBundle):
        perennial_bundle.load(copy)


def dump_joblib(compress):
    buffer = io.BytesIO()
    joblib.dump({"a": 1}, buffer, compress=compress)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "data",
    [pickle.dumps(1, protocol=p) for p in (2, 3, 4, 5)]
    + [dump_joblib(c) for c in (0, ("zlib", 3), ("gzip", 3), ("bz2", 3), ("xz", 3))],
)
def test_a_pickle_in_place_of_skops_is_unsafe_and_never_opened(copy, data):
    replace_file(copy, "model.skops", data)
    with pytest.raises(UnsafeModel, match="pickle"):
        perennial_bundle.load(copy)


@pytest.mark.parametrize("kind", ["pickle", "joblib", "cloudpickle"])
def test_a_pickle_named_as_such_is_unsafe(copy, kind):
    change_manifest(copy, lambda m: m.update(format=kind))
    with pytest.raises(UnsafeModel, match=kind):
        perennial_bundle.load(copy)


def test_a_skops_file_with_an_unreviewed_type_is_unsafe_and_names_it(copy):
    replace_file(copy, "model.skops", skops.io.dumps(fractions.Fraction(1, 2)))
    bundle = perennial_bundle.load(copy)
    with pytest.raises(UnsafeModel, match=r"fractions\.Fraction"):
        _ = bundle.model


def test_a_skops_file_that_calls_a_function_of_the_system_is_unsafe(copy, saved):
    """Rename a trusted type inside a sound file into one that runs commands."""
    source = zipfile.ZipFile(saved.path / "model.skops")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            if name == "schema.json":
                data = data.replace(b'"LogisticRegression"', b'"system"').replace(
                    b'"sklearn.linear_model._logistic"', b'"os"'
                )
            target.writestr(name, data)
    replace_file(copy, "model.skops", buffer.getvalue())
    bundle = perennial_bundle.load(copy)
    with pytest.raises(UnsafeModel, match="system"):
        _ = bundle.model


@pytest.mark.parametrize("content", [{}, {"schema.json": b"{}"}, {"schema.json": b"no json"}])
def test_a_zip_that_is_not_skops_is_invalid(copy, content):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as target:
        target.writestr("other", b"")
        for name, data in content.items():
            target.writestr(name, data)
    replace_file(copy, "model.skops", buffer.getvalue())
    bundle = perennial_bundle.load(copy)
    with pytest.raises((InvalidBundle, ModelLoadFailed)):
        _ = bundle.model


def test_a_reference_that_breaks_the_schema_is_invalid(copy):
    change_manifest(copy, lambda m: m["schema"]["inputs"][0].update(datatype="BYTES", impute_value=None))
    bundle = perennial_bundle.load(copy)
    with pytest.raises(InvalidBundle, match="reference"):
        bundle.reference()


def test_a_reference_that_is_not_parquet_is_invalid(copy):
    replace_file(copy, "reference.parquet", b"PAR1 not really")
    with pytest.raises(InvalidBundle, match="reference"):
        perennial_bundle.load(copy).reference()


def test_inspect_prints_a_summary_and_fails_on_a_broken_bundle(saved, copy, capsys):
    assert main(["inspect", "--model", str(saved.path)]) == 0
    got = capsys.readouterr().out
    assert saved.digest in got
    assert "carrier" in got
    (copy / "model.skops").write_bytes(b"")
    assert main(["inspect", str(copy)]) == 1
    assert capsys.readouterr().err.startswith("DigestMismatch: ")
