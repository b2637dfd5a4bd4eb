import io
import os
import pickle
import tarfile

import perennial_bundle
import pytest
from perennial_bundle import DigestMismatch, InvalidBundle, Limits, UnsafeModel


def pack_bytes(path):
    buffer = io.BytesIO()
    return perennial_bundle.pack(path, buffer), buffer.getvalue()


def build_tar(*members):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for info, data in members:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def build_member(name, kind=tarfile.REGTYPE, link=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info, b"" if kind != tarfile.REGTYPE else b"{}"


def test_packing_twice_or_after_a_copy_gives_the_same_bytes(saved, copy):
    os.utime(copy / "bundle.json", (1, 1))
    (copy / "model.skops").chmod(0o600)
    (copy / ".DS_Store").write_text("left by a file manager")
    assert pack_bytes(saved.path) == pack_bytes(saved.path) == pack_bytes(copy)
    assert pack_bytes(copy)[0] == saved.digest


def test_unpacking_gives_back_the_same_bundle(saved, tmp_path):
    digest, data = pack_bytes(saved.path)
    assert perennial_bundle.unpack(io.BytesIO(data), tmp_path / "new", expected_digest=digest) == digest
    assert perennial_bundle.load(tmp_path / "new", expected_digest=digest).manifest == saved.manifest


@pytest.mark.parametrize("cut", [0, 1, 511, 1024, 5000, -600, -1])
def test_a_truncated_archive_is_a_digest_mismatch(saved, tmp_path, cut):
    digest, data = pack_bytes(saved.path)
    with pytest.raises(DigestMismatch):
        perennial_bundle.unpack(io.BytesIO(data[:cut]), tmp_path / "new", expected_digest=digest)


def test_a_truncated_archive_is_invalid_even_without_a_digest(saved, tmp_path):
    _, data = pack_bytes(saved.path)
    with pytest.raises(InvalidBundle):
        perennial_bundle.unpack(io.BytesIO(data[:5000]), tmp_path / "new")


@pytest.mark.parametrize("where", [0, 600, 3000, -1])
def test_a_changed_byte_is_a_digest_mismatch(saved, tmp_path, where):
    digest, data = pack_bytes(saved.path)
    changed = bytearray(data)
    changed[where] ^= 1
    with pytest.raises(DigestMismatch):
        perennial_bundle.unpack(io.BytesIO(bytes(changed)), tmp_path / "new", expected_digest=digest)


@pytest.mark.parametrize(
    "member",
    [
        build_member("/etc/passwd"),
        build_member("../evil"),
        build_member("folder/model.skops"),
        build_member(".."),
        build_member(".hidden"),
        build_member("link", tarfile.SYMTYPE, "/etc/passwd"),
        build_member("hard", tarfile.LNKTYPE, "bundle.json"),
        build_member("device", tarfile.CHRTYPE),
        build_member("fifo", tarfile.FIFOTYPE),
        build_member("folder", tarfile.DIRTYPE),
    ],
    ids=lambda member: member[0].name,
)
def test_only_plain_files_with_plain_names_are_extracted(tmp_path, member):
    data = build_tar(build_member("bundle.json"), member)
    with pytest.raises(InvalidBundle):
        perennial_bundle.unpack(io.BytesIO(data), tmp_path / "in" / "new")
    assert {p.name for p in tmp_path.rglob("*")} <= {"in", "new", "bundle.json"}


def test_a_link_already_in_the_way_is_never_written_through(tmp_path):
    (tmp_path / "new").mkdir()
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "new" / "bundle.json").symlink_to(tmp_path / "victim")
    with pytest.raises(InvalidBundle):
        perennial_bundle.unpack(io.BytesIO(build_tar(build_member("bundle.json"))), tmp_path / "new")
    assert (tmp_path / "victim").read_text() == "precious"


def test_a_file_given_twice_is_refused(tmp_path):
    data = build_tar(build_member("bundle.json"), build_member("bundle.json"))
    with pytest.raises(InvalidBundle, match="twice"):
        perennial_bundle.unpack(io.BytesIO(data), tmp_path / "new")


@pytest.mark.parametrize("limits", [Limits(files=2), Limits(file_bytes=100), Limits(total_bytes=3000)])
def test_limits_hold(saved, tmp_path, limits):
    _, data = pack_bytes(saved.path)
    with pytest.raises(InvalidBundle):
        perennial_bundle.unpack(io.BytesIO(data), tmp_path / "new", limits)


def test_a_pickle_sent_as_a_bundle_is_called_unsafe(tmp_path):
    with pytest.raises(UnsafeModel):
        perennial_bundle.unpack(io.BytesIO(pickle.dumps({"a": 1})), tmp_path / "new")


def test_something_else_sent_as_a_bundle_is_invalid(tmp_path):
    with pytest.raises(InvalidBundle):
        perennial_bundle.unpack(io.BytesIO(b"hello" * 1000), tmp_path / "new")
