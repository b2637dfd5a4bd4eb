"""A build is skipped exactly if nothing it depends on has changed, and lends settings without a trace."""

import tarfile

import pytest
from perennial_localcluster import images, rootfs
from perennial_localcluster.archive import ImageConfig, build_layer, read_image_id, write_archive
from perennial_localcluster.buildsettings import build_volumes, read_pip_settings, render_pip_conf
from perennial_localcluster.contexts import compute_hash, find_copied
from perennial_localcluster.errors import LocalClusterError, NotRunningError, PreconditionError
from perennial_localcluster.paths import Paths


@pytest.fixture
def context(tmp_path):
    folder = tmp_path / "context"
    (folder / "app").mkdir(parents=True)
    (folder / "app" / "main.py").write_text("print(1)")
    (folder / "README.md").write_text("words")
    (folder / "Containerfile").write_text("FROM base\nCOPY --chown=1:1 app \\\n  /srv/\n")
    return folder


def hash_of(context, **changes):
    arguments = {"build_args": {}, "base_id": "sha256:1", **changes}
    return compute_hash(context, context / "Containerfile", **arguments)


def test_files_that_are_not_copied_do_not_count(context):
    before = hash_of(context)
    (context / "README.md").write_text("other words")
    (context / "app" / "__pycache__").mkdir()
    (context / "app" / "__pycache__" / "main.pyc").write_text("x")
    assert hash_of(context) == before


@pytest.mark.parametrize("change", ["content", "name", "mode", "recipe", "argument", "base"])
def test_everything_that_reaches_the_image_counts(context, change):
    before, changes = hash_of(context), {}
    main = context / "app" / "main.py"
    match change:
        case "content":
            main.write_text("print(2)")
        case "name":
            main.rename(context / "app" / "other.py")
        case "mode":
            main.chmod(0o755)
        case "recipe":
            (context / "Containerfile").write_text("FROM base\nCOPY app /opt/\n")
        case "argument":
            changes = {"build_args": {"A": "1"}}
        case "base":
            changes = {"base_id": "sha256:2"}
    assert hash_of(context, **changes) != before


def test_unknown_forms_of_copy_count_everything():
    assert find_copied("FROM b\nCOPY $WHERE /x") == ["."]
    assert find_copied('FROM b\nCOPY ["a", "/x"]') == ["."]
    assert find_copied("FROM b\nCOPY --from=0 /a /x\ncopy a b /x") == ["a", "b"]


def test_archive_names_its_image_and_is_reproducible(tmp_path):
    layer = tmp_path / "layer.tar"
    layer.write_bytes(build_layer({"bin/sh": b"program", "pause": b"program"}))
    for name in ("one.tar", "two.tar"):
        write_archive(tmp_path / name, "localhost/x:1", layer, ImageConfig(entrypoint=["/pause"]))
    assert read_image_id(tmp_path / "one.tar") == read_image_id(tmp_path / "two.tar")
    with tarfile.open(layer) as tar:
        assert tar.getnames() == ["bin", "bin/sh", "pause"]
        assert tar.getmember("bin/sh").mode == 0o755


@pytest.mark.parametrize("changed", ["packages.txt", "setup.sh"])
def test_image_of_debian_packages_is_made_anew_when_one_of_its_two_files_changes(tmp_path, changed):
    paths = Paths(state=tmp_path / "state", cache=tmp_path / "cache")
    (tmp_path / "packages.txt").write_text("r-cran-plumber")
    (tmp_path / "setup.sh").write_text("set -eu")
    before = rootfs.find_archive(paths, "localhost/perennial/r:1", tmp_path)
    assert before == rootfs.find_archive(paths, "localhost/perennial/r:1", tmp_path)
    assert before.name.startswith("r-")
    (tmp_path / changed).write_text("other")
    assert rootfs.find_archive(paths, "localhost/perennial/r:1", tmp_path) != before


def test_pip_settings_come_from_files_and_variables(tmp_path):
    (tmp_path / "pip.conf").write_text("[global]\nindex-url = https://one.example/\ntimeout = 9\n")
    got = read_pip_settings({"PIP_INDEX_URL": "https://two.example/", "HOME": "/x"}, [tmp_path / "pip.conf"])
    assert got == {"index-url": "https://two.example/", "timeout": "9"}
    assert "index-url = https://two.example/" in render_pip_conf(got, has_links=False)


def test_wheel_folder_is_mounted_only_if_it_exists(tmp_path):
    links = tmp_path / "links"
    environment = {"HOME": str(tmp_path), "PIP_FIND_LINKS": str(links)}
    assert not any("find-links" in volume for volume in build_volumes(tmp_path, environment))
    links.mkdir()
    assert f"{links}:/var/cache/find-links:ro" in build_volumes(tmp_path, environment)


def test_missing_recipe_is_named(tmp_path):
    with pytest.raises(PreconditionError, match="Containerfile"):
        images.build("localhost/x:1", tmp_path, paths=Paths(tmp_path / "s", tmp_path / "c"))


def test_loading_without_a_cluster_says_what_to_run(tmp_path):
    with pytest.raises(NotRunningError, match="perennial-localcluster up"):
        images.load("localhost/x:1", paths=Paths(tmp_path / "s", tmp_path / "c"))


def test_name_without_a_tag_is_refused(tmp_path):
    with pytest.raises(LocalClusterError, match="with a tag"):
        images.find_archive(Paths(tmp_path, tmp_path), "localhost/x")
