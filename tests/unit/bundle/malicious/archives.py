"""Archives that would write elsewhere, fill the disk, or end too early; and directories that aren't what they seem."""

import io
import os
import shutil
import tarfile

from tests.unit.bundle.malicious.case import case, pack, rewrite

BLOCK = tarfile.BLOCKSIZE


def build(place, *members, kind="forest", format=tarfile.PAX_FORMAT):  # noqa: A002  tarfile's name
    """Write a sound bundle's archive with more members at its end: (name, data, changes of the header)."""
    with tarfile.open(place.archive, "w", format=format) as tar:
        for path in sorted(place.good[kind].iterdir()):
            tar.add(path, path.name)
        for name, data, changes in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            for field, value in changes.items():
                setattr(info, field, value)
            tar.addfile(info, io.BytesIO(data))


@case("InvalidBundle", "without a folder")
def tar_path_that_climbs(place):
    build(place, ("../canary", b"!", {}))


@case("InvalidBundle", "without a folder")
def tar_path_from_the_root(place):
    build(place, (str(place.canary), b"!", {}))


@case("InvalidBundle", "isn't a plain file")
def tar_symlink(place):
    link = {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}
    build(place, ("passwords", b"", link))


@case("InvalidBundle", "isn't a plain file")
def tar_symlink_that_a_file_is_written_through(place):
    link = {"type": tarfile.SYMTYPE, "linkname": str(place.canary)}
    build(place, ("through", b"", link), ("through", b"!", {}))


@case("InvalidBundle", "isn't a plain file")
def tar_hardlink(place):
    build(place, ("passwords", b"", {"type": tarfile.LNKTYPE, "linkname": "/etc/passwd"}))


@case("InvalidBundle", "isn't a plain file")
def tar_device(place):
    build(place, ("zero", b"", {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 5}))


@case("InvalidBundle", "isn't a plain file")
def tar_pipe(place):
    build(place, ("pipe", b"", {"type": tarfile.FIFOTYPE}))


@case("InvalidBundle", "isn't a plain file")
def tar_folder(place):
    build(place, ("folder", b"", {"type": tarfile.DIRTYPE}))


@case("InvalidBundle", "twice")
def tar_name_that_comes_twice(place):
    build(place, ("model.skops", b"!", {}))


@case("InvalidBundle", "exceeds 17 files")
def tar_of_too_many_files(place):
    build(place, *((f"file-{index}", b"", {}) for index in range(20)))


@case("InvalidBundle", "isn't a plain file")
def tar_sparse_file_of_8_gib(place):
    sparse = {"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.size": str(8 * 2**30 - 2**20)}
    sparse |= {"GNU.sparse.name": "hole", "GNU.sparse.map": "0,1"}
    build(place, ("hole", b"!", {"pax_headers": sparse}))


@case("InvalidBundle", "header of more than")
def tar_header_without_end(place):
    build(place, ("file", b"", {"pax_headers": {"comment": "x" * 2**24}}))


@case("InvalidBundle", "exceeds")
def tar_file_that_claims_a_petabyte(place):
    build(place, ("large", b"", {}), format=tarfile.GNU_FORMAT)
    info = tarfile.TarInfo("large")
    info.size = 2**50
    data = place.archive.read_bytes()
    at = data.rindex(b"large\0")
    place.archive.write_bytes(data[:at] + info.tobuf(tarfile.GNU_FORMAT) + data[at + BLOCK :])


@case("InvalidBundle", "isn't a bundle's tar|cut off")
def tar_cut_off(place):
    build(place)
    data = place.archive.read_bytes()
    place.archive.write_bytes(data[: len(data) // 2])


@case("InvalidBundle", "isn't a bundle's tar")
def tar_of_noise(place):
    place.archive.write_bytes(bytes(range(1, 256)) * 100)


@case("InvalidBundle", "holds no bundle.json")
def tar_without_a_manifest(place):
    with tarfile.open(place.archive, "w") as tar:
        tar.add(place.good["forest"] / "model.skops", "model.skops")


@case("InvalidBundle", "isn't a regular file")
def directory_with_a_pipe_for_a_model(place):
    bundle = place.copy()
    (bundle / "model.skops").unlink()
    os.mkfifo(bundle / "model.skops")


@case("InvalidBundle", "isn't a regular file")
def directory_with_a_device_for_a_reference(place):
    bundle = place.copy()
    (bundle / "reference.parquet").unlink()
    (bundle / "reference.parquet").symlink_to("/dev/zero")


@case("DigestMismatch", "model.skops")
def directory_with_a_link_for_a_model(place):
    bundle = place.copy()
    (bundle / "model.skops").unlink()
    (bundle / "model.skops").symlink_to("/etc/passwd")


@case("DigestMismatch", "model.skops")
def file_that_is_another(place):
    bundle = place.copy()
    shutil.copy(place.good["boosted"] / "model.skops", bundle / "model.skops")


@case("DigestMismatch", "reference.parquet")
def file_with_a_flipped_bit(place):
    bundle = place.copy()
    data = bytearray((bundle / "reference.parquet").read_bytes())
    data[len(data) // 2] ^= 1
    (bundle / "reference.parquet").write_bytes(data)


@case("InvalidBundle", "isn't a plain file")
def ensemble_member_with_a_link(place):
    build(place, ("passwords", b"", {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}))
    data = place.archive.read_bytes()
    place.archive.unlink()
    rewrite(place.copy("ensemble"), "member-one.tar", data)


@case("InvalidBundle", "it is an ensemble")
def ensemble_in_an_ensemble(place):
    rewrite(place.copy("ensemble"), "member-one.tar", pack(place.good["ensemble"]))


@case("DigestMismatch", "member-one.tar")
def ensemble_member_swapped(place):
    bundle = place.copy("ensemble")
    shutil.copy(bundle / "member-two.tar", bundle / "member-one.tar")


@case("InvalidBundle", "member 'one' takes the feature")
def ensemble_member_of_other_columns(place):
    rewrite(place.copy("ensemble"), "member-one.tar", pack(place.good["wide"]))
