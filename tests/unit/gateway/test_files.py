"""Files that are replaced whole, and bootstrapped without overwriting the last good ones."""

from __future__ import annotations

import json

from perennial_gateway.files import write_atomically, write_if_missing
from perennial_gateway.run_envoy import prepare
from perennial_gateway.settings import EnvoySettings


def test_replaced_file_leaves_nothing_beside_it(tmp_path) -> None:
    path = tmp_path / "cds.json"
    write_atomically(path, b"one")
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [path]


def test_existing_file_is_not_overwritten(tmp_path) -> None:
    path = tmp_path / "cds.json"
    assert write_if_missing(path, b"one")
    assert not write_if_missing(path, b"two")
    assert path.read_bytes() == b"one"
    assert list(tmp_path.iterdir()) == [path]


def test_start_of_envoy_keeps_the_last_good_files_and_draws_a_new_epoch(tmp_path) -> None:
    settings = EnvoySettings(gateway_directory=tmp_path)
    prepare(settings)
    settings.cds_path.write_bytes(b"last good")
    first = settings.bootstrap_path.read_bytes()
    prepare(settings)
    assert settings.cds_path.read_bytes() == b"last good"
    assert json.loads(settings.rds_path.read_bytes())["version_info"] == "empty"
    assert settings.bootstrap_path.read_bytes() != first


def test_admin_interface_opens_no_port(tmp_path) -> None:
    prepare(EnvoySettings(gateway_directory=tmp_path))
    got = json.loads((tmp_path / "bootstrap.json").read_bytes())["admin"]["address"]
    assert got == {"pipe": {"path": str(tmp_path / "admin.sock"), "mode": 0o600}}
