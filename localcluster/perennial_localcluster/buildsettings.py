"""Lends this machine's package settings to an image build, so that nothing of them stays in the image.

A build must trust the CAs and use the indexes that this machine uses, and should not download
a wheel twice. All of it is mounted, on places that the base image has already.
"""

from __future__ import annotations

import configparser
import json
import os
from collections.abc import Mapping
from pathlib import Path

from perennial_localcluster.record import write_atomically

CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
IMAGE_CACHE = "/var/cache/build"
IMAGE_FIND_LINKS = "/var/cache/find-links"
# pip settings that make sense inside a build; paths are replaced by the mounted ones.
PASSED_ON = ("index-url", "extra-index-url", "trusted-host", "timeout", "default-timeout", "retries")


def read_pip_settings(environment: Mapping[str, str], files: list[Path]) -> dict[str, str]:
    """Return pip's global settings; variables win over files, later files over earlier ones."""
    settings: dict[str, str] = {}
    for file in files:
        parser = configparser.RawConfigParser()
        if parser.read(file) and parser.has_section("global"):
            settings.update(parser.items("global"))
    for key, value in environment.items():
        if key.startswith("PIP_"):
            settings[key.removeprefix("PIP_").lower().replace("_", "-")] = value
    return settings


def render_pip_conf(settings: Mapping[str, str], *, has_links: bool) -> str:
    """Return the pip.conf that a build sees. Pure."""
    lines = [
        "[global]",
        f"cache-dir = {IMAGE_CACHE}/pip",
        f"cert = {CA_BUNDLE}",
        "disable-pip-version-check = true",
    ]
    lines += [f"{key} = {settings[key]}" for key in PASSED_ON if key in settings]
    if has_links:
        lines.append(f"find-links = {IMAGE_FIND_LINKS}")
    return "\n".join(lines) + "\n"


def render_uv_toml(settings: Mapping[str, str], *, has_links: bool) -> str:
    """Return the uv.toml that a build sees, with the same meaning. Pure."""
    lines = [f'cache-dir = "{IMAGE_CACHE}/uv"', "native-tls = true", 'link-mode = "copy"']
    if has_links:
        lines.append(f'find-links = ["{IMAGE_FIND_LINKS}"]')
    if "index-url" in settings:
        lines.append(f"index-url = {json.dumps(settings['index-url'])}")
    if "extra-index-url" in settings:
        lines.append(f"extra-index-url = {json.dumps(settings['extra-index-url'].split())}")
    return "\n".join(lines) + "\n"


def build_volumes(cache: Path, environment: Mapping[str, str] | None = None) -> list[str]:
    """Write the settings into the cache and return the ``--volume`` values of a build."""
    env = dict(os.environ) if environment is None else dict(environment)
    home = Path(env.get("HOME", "/root"))
    files = [Path("/etc/pip.conf"), home / ".pip" / "pip.conf", home / ".config" / "pip" / "pip.conf"]
    settings = read_pip_settings(env, files)
    settings.setdefault("index-url", env.get("UV_INDEX_URL", env.get("UV_DEFAULT_INDEX", "")))
    settings = {key: value for key, value in settings.items() if value}
    links = Path(settings.get("find-links", ""))
    has_links = bool(settings.get("find-links")) and links.is_dir()
    lent = cache / "build-settings"
    write_atomically(lent / "pip" / "pip.conf", render_pip_conf(settings, has_links=has_links), mode=0o644)
    write_atomically(lent / "uv" / "uv.toml", render_uv_toml(settings, has_links=has_links), mode=0o644)
    wheels = cache / "wheels"
    wheels.mkdir(parents=True, exist_ok=True)
    volumes = [f"{lent / 'pip'}:/etc/xdg/pip:ro", f"{lent / 'uv'}:/etc/uv:ro", f"{wheels}:{IMAGE_CACHE}:rw"]
    if has_links:
        volumes.append(f"{links}:{IMAGE_FIND_LINKS}:ro")
    bundle = next(
        (
            path
            for path in (settings.get("cert"), env.get("SSL_CERT_FILE"), CA_BUNDLE)
            if path and Path(path).is_file()
        ),
        None,
    )
    if bundle and Path(bundle).is_relative_to("/etc/ssl/certs"):
        volumes.append("/etc/ssl/certs:/etc/ssl/certs:ro")
    elif bundle:
        volumes.append(f"{bundle}:{CA_BUNDLE}:ro")
    return volumes
