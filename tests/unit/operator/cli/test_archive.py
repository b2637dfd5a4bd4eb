"""What may be pushed, and what is refused before a byte is sent."""

from __future__ import annotations

import hashlib
import json
import pickle
import tarfile
from pathlib import Path

import pytest
from perennial.cli.archive import open_archive
from perennial.cli.errors import BadBundleError


def write_bundle(directory: Path, **manifest) -> Path:
    directory.mkdir()
    files = {"model.skops": b"a model", "reference.parquet": b"PAR1 rows"}
    for name, content in files.items():
        (directory / name).write_bytes(content)
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    (directory / "bundle.json").write_text(json.dumps({"format": "skops", "files": hashes, **manifest}))
    return directory


def test_digest_is_that_of_the_tar_and_depends_on_content_alone(tmp_path) -> None:
    with open_archive(write_bundle(tmp_path / "a")) as first:
        got = first.path.read_bytes()
        assert first.digest == f"sha256:{hashlib.sha256(got).hexdigest()}"
        assert first.uri == f"perennial://{first.digest}"
        assert first.size_bytes == len(got)
    other = write_bundle(tmp_path / "b")
    for path in other.iterdir():
        path.chmod(0o600)
    (other / "notes.txt").write_text("not in the manifest")
    with open_archive(other) as second:
        assert second.digest == first.digest
    assert not first.path.exists()


def test_tar_of_a_bundle_is_pushed_as_it_is(tmp_path) -> None:
    with open_archive(write_bundle(tmp_path / "a")) as archive:
        copy = tmp_path / "bundle.tar"
        copy.write_bytes(archive.path.read_bytes())
    with open_archive(copy) as got:
        assert (got.digest, got.path) == (archive.digest, copy)


def test_data_set_in_parquet_is_pushed_as_it_is(tmp_path) -> None:
    path = tmp_path / "base.parquet"
    path.write_bytes(b"PAR1....PAR1")
    with open_archive(path) as got:
        assert got.digest == f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def refused(source: Path) -> str:
    with pytest.raises(BadBundleError) as error, open_archive(source):
        pass
    return str(error.value)


def test_missing_source_is_named(tmp_path) -> None:
    assert str(tmp_path / "nothing") in refused(tmp_path / "nothing")


def test_directory_without_manifest_says_how_to_write_one(tmp_path) -> None:
    assert "perennial_bundle.save" in refused(tmp_path)


def test_changed_file_is_named(tmp_path) -> None:
    bundle = write_bundle(tmp_path / "a")
    (bundle / "model.skops").write_bytes(b"another model")
    assert refused(bundle).startswith("model.skops is not the file")


def test_missing_file_is_named(tmp_path) -> None:
    bundle = write_bundle(tmp_path / "a")
    (bundle / "model.skops").unlink()
    assert "model.skops" in refused(bundle)


@pytest.mark.parametrize(
    "manifest",
    [{"files": {"../secret": "0" * 64}}, {"files": {"a/b": "0" * 64}}, {"files": {"a": 1}}, {"files": ["a"]}],
)
def test_manifest_that_reaches_outside_is_refused(tmp_path, manifest) -> None:
    assert "bundle.json" in refused(write_bundle(tmp_path / "a", **manifest))


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"{}", b'{"files": {}}'])
def test_manifest_that_is_none_is_refused(tmp_path, content) -> None:
    bundle = write_bundle(tmp_path / "a")
    (bundle / "bundle.json").write_bytes(content)
    assert "is not a manifest" in refused(bundle)


@pytest.mark.parametrize("known", ["skops", "onnx", "ensemble"])
def test_each_format_of_bundles_is_taken(tmp_path, known) -> None:
    with open_archive(write_bundle(tmp_path / "a", format=known)) as archive:
        assert archive.size_bytes > 0


@pytest.mark.parametrize("image", ["bento", "container"])
def test_format_of_images_is_refused(tmp_path, image) -> None:
    assert "a bundle is of skops, onnx, ensemble" in refused(write_bundle(tmp_path / "a", format=image))


def test_other_format_is_refused(tmp_path) -> None:
    assert "'pickle'" in refused(write_bundle(tmp_path / "a", format="pickle"))


def test_pickle_is_refused_by_its_first_bytes(tmp_path) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps({"a": 1}))
    assert "pickle" in refused(path)


def test_any_other_file_is_refused(tmp_path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("hello")
    assert "neither a bundle's directory" in refused(path)


def test_truncated_tar_is_refused(tmp_path) -> None:
    with open_archive(write_bundle(tmp_path / "a")) as archive:
        whole = archive.path.read_bytes()
    path = tmp_path / "cut.tar"
    path.write_bytes(whole[:700])
    refused(path)


def test_tar_with_a_changed_file_or_a_folder_is_refused(tmp_path) -> None:
    bundle = write_bundle(tmp_path / "a")
    (bundle / "model.skops").write_bytes(b"another model")
    changed = tmp_path / "changed.tar"
    with tarfile.open(changed, "w") as tar:
        for path in bundle.iterdir():
            tar.add(path, path.name)
    assert refused(changed).startswith("model.skops is not the file")
    nested = tmp_path / "nested.tar"
    with tarfile.open(nested, "w") as tar:
        tar.add(bundle, "a")
    assert "without folders" in refused(nested)
