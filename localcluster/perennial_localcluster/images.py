"""Builds images and loads them into the cluster, each only if something changed.

The demo, the tests and ``perennial-localcluster build-image | load-image`` call these two.
Archives of built images live in the cache, so they survive `down` and a new cluster gets
them without another build.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from perennial_localcluster import buildah, kind, rootfs, runtime
from perennial_localcluster.archive import read_image_id
from perennial_localcluster.contexts import compute_hash
from perennial_localcluster.errors import LocalClusterError, PreconditionError
from perennial_localcluster.paths import BASE_IMAGE_DIR, Paths, find_paths
from perennial_localcluster.record import find_record, load_record, write_atomically
from perennial_localcluster.shell import run


@dataclass(frozen=True)
class BuiltImage:
    """An image that is ready to be loaded; ``unchanged`` if it was there already."""

    name: str
    image_id: str
    unchanged: bool


@dataclass(frozen=True)
class _Stamp:
    """What the last build of a name was made from and what it gave; ``built_id`` is the builder's id."""

    content_hash: str
    image_id: str
    built_id: str


def build(
    name: str,
    context: Path,
    *,
    containerfile: Path | None = None,
    build_args: Mapping[str, str] | None = None,
    volumes: Sequence[str] = (),
    paths: Paths | None = None,
) -> BuiltImage:
    """Build an image unless the files it copies, its Containerfile, arguments and base are unchanged.

    Parameters
    ----------
    name
        With a tag, such as ``localhost/perennial/operator:dev``.
    context
        The folder that COPY refers to.
    containerfile
        Default: ``Containerfile`` in the context.
    volumes
        More ``HOST:IMAGE[:OPTIONS]`` mounts for the build only; their content is not part of the hash.
    """
    where = paths or find_paths()
    recipe = containerfile or context / "Containerfile"
    if not recipe.is_file() or not context.is_dir():
        raise PreconditionError(f"Cannot build {name}: there is no {recipe} or no folder {context}.")
    if _uses_docker(where):
        # Docker's own layer cache makes the base a matter of a second when it is there.
        build_base(where)
        return _build_by_docker(name, context, recipe, build_args or {})
    with buildah.opened(where):
        base_id = buildah.ensure_base(where)
        content_hash = compute_hash(context, recipe, build_args or {}, base_id)
        archive = find_archive(where, name)
        stamp = _read_stamp(where, name)
        if stamp and stamp.content_hash == content_hash and archive.exists():
            return BuiltImage(name, stamp.image_id, unchanged=True)
        buildah.build(where, name, context, containerfile=recipe, args=build_args or {}, volumes=volumes)
        built_id = buildah.find_id(where, name) or ""
        unchanged = bool(stamp and stamp.built_id == built_id and archive.exists())
        if not unchanged:
            buildah.push(where, name, archive)
        image_id = read_image_id(archive)
        write_atomically(
            _stamp_path(where, name), json.dumps(asdict(_Stamp(content_hash, image_id, built_id)))
        )
        return BuiltImage(name, image_id, unchanged)


def load(*names: str, paths: Paths | None = None) -> list[str]:
    """Load built images into the cluster and return the names that were not there yet.

    Raises
    ------
    PreconditionError
        If an image has not been built, or the cluster is one that we cannot load into.
    """
    where = paths or find_paths()
    record = load_record(where)
    if record.backend == "given":
        raise PreconditionError(
            f"Images cannot be loaded into the given cluster of {record.kubeconfig}. "
            "Push them to a registry that it can pull from."
        )
    if record.backend == "kind":
        for name in names:
            kind.load(name)
        return list(names)
    loaded = []
    for name in names:
        archive = _find_loadable(where, name)
        if runtime.find_image_id(where, name) != read_image_id(archive):
            runtime.import_archive(where, archive)
            loaded.append(name)
    return loaded


def build_base(paths: Paths | None = None) -> BuiltImage:
    """Make the base image that all others start from; `build` does it by itself."""
    return build_debian(buildah.BASE_IMAGE, BASE_IMAGE_DIR, paths)


def build_debian(name: str, folder: Path, paths: Paths | None = None) -> BuiltImage:
    """Make an image of Debian packages for others to start from, unless the folder's two files are unchanged.

    Parameters
    ----------
    folder
        Holds ``packages.txt``, and ``setup.sh`` that is run with the path of the new root.
    """
    where = paths or find_paths()
    if _uses_docker(where):
        return _build_by_docker(name, folder, BASE_IMAGE_DIR / "Containerfile", {})
    with buildah.opened(where):
        unchanged = rootfs.find_archive(where, name, folder).exists()
        return BuiltImage(name, buildah.ensure_debian(where, name, folder), unchanged)


def find_archive(paths: Paths, name: str) -> Path:
    """Return where the archive of a built image is kept."""
    return paths.images / f"{_file_name(name)}.tar"


def _find_loadable(paths: Paths, name: str) -> Path:
    if name == buildah.BASE_IMAGE:
        archive = rootfs.find_archive(paths, name, BASE_IMAGE_DIR)
    else:
        archive = find_archive(paths, name)
    if not archive.exists():
        raise PreconditionError(
            f"The image {name} has not been built here. Run `perennial-localcluster build-image {name} CONTEXT_DIR`."
        )
    return archive


def _uses_docker(paths: Paths) -> bool:
    record = find_record(paths)
    return record.backend == "kind" if record else kind.is_usable()


def _build_by_docker(name: str, context: Path, recipe: Path, args: Mapping[str, str]) -> BuiltImage:
    flags = [word for key, value in args.items() for word in ("--build-arg", f"{key}={value}")]
    run(["docker", "build", "-q", "-t", name, "-f", str(recipe), *flags, str(context)], timeout_s=3600)
    image_id = run(["docker", "image", "inspect", "--format", "{{.Id}}", name]).strip()
    return BuiltImage(name, image_id, unchanged=False)


def _file_name(name: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9._/:-]*:[\w.-]+", name):
        raise LocalClusterError(
            f"{name!r} is not an image name with a tag, such as localhost/perennial/operator:dev."
        )
    return name.replace("/", "_").replace(":", "_")


def _stamp_path(paths: Paths, name: str) -> Path:
    return paths.images / f"{_file_name(name)}.json"


def _read_stamp(paths: Paths, name: str) -> _Stamp | None:
    try:
        return _Stamp(**json.loads(_stamp_path(paths, name).read_text()))
    except (FileNotFoundError, json.JSONDecodeError, TypeError):
        return None
