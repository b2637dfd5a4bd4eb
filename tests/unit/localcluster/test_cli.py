"""Failures are one message and exit status 1, without a traceback."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from perennial_localcluster import binaries, cluster
from perennial_localcluster.binaries import BINARIES, compute_key
from perennial_localcluster.cli import main
from perennial_localcluster.errors import PreconditionError
from perennial_localcluster.golang import parse_go_version
from perennial_localcluster.paths import Paths, find_paths
from perennial_localcluster.record import Record, find_record, save_record


@pytest.fixture(autouse=True)
def _own_directories(tmp_path, monkeypatch):
    monkeypatch.setenv("PERENNIAL_CLUSTER_DIR", str(tmp_path / "s"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "c"))
    monkeypatch.setattr("perennial_localcluster.paths.LONGEST_STATE_PATH", 500)


@pytest.mark.parametrize("command", [["status"], ["kubeconfig"], ["env"], ["load-image", "localhost/x:1"]])
def test_without_a_cluster_the_command_says_to_run_up(command, capsys):
    assert main(command) == 1
    assert "Run `perennial-localcluster up` first" in capsys.readouterr().err


def test_given_kubeconfig_that_does_not_exist_is_named(capsys):
    assert main(["up", "--kubeconfig", "/nowhere/config"]) == 1
    assert "There is no kubeconfig at /nowhere/config" in capsys.readouterr().err


def test_env_prints_lines_that_a_shell_can_run(capsys, tmp_path):
    save_record(find_paths(), Record("native", "/k/config"))
    assert main(["env"]) == 0
    want = [
        "export KUBECONFIG=/k/config",
        f'export PATH="{tmp_path}/s/bin:$PATH"',
        f"export PERENNIAL_AUDIT_LOG={tmp_path}/s/logs/audit.log",
    ]
    assert capsys.readouterr().out.splitlines() == want


def test_env_names_prometheus_where_it_was_asked_for():
    record = Record("native", "/k/config", node_ip="10.213.0.1", addons=("prometheus",))
    save_record(find_paths(), record)
    assert find_record(find_paths()) == record
    assert cluster.build_environment()["PROMETHEUS_URL"] == "http://10.213.0.1:9090"


def test_record_of_an_earlier_version_has_no_addons():
    find_paths().record.parent.mkdir(parents=True)
    find_paths().record.write_text('{"backend": "native", "kubeconfig": "/k/config"}')
    assert find_record(find_paths()) == Record("native", "/k/config", addons=())


def test_addons_are_refused_where_the_cluster_is_not_ours():
    save_record(find_paths(), Record("given", "/k/config"))
    with pytest.raises(PreconditionError, match="prometheus"):
        cluster.up(wanted_addons=["prometheus"])


def test_unknown_addon_is_refused_with_the_known_ones(capsys):
    with pytest.raises(SystemExit):
        main(["up", "--with", "grafana"])
    assert "prometheus" in capsys.readouterr().err
    with pytest.raises(PreconditionError, match="Known are: prometheus"):
        cluster.up(wanted_addons=["grafana"])


def test_another_cluster_in_the_same_place_is_refused():
    save_record(find_paths(), Record("given", "/k/config"))
    with pytest.raises(PreconditionError, match="down"):
        cluster.up(kubeconfig=Path("/other/config"))


def test_down_without_a_cluster_is_no_error():
    assert main(["down"]) == 0


def test_down_forgets_a_given_cluster_without_touching_it(tmp_path):
    save_record(find_paths(), Record("given", "/k/config"))
    assert main(["down"]) == 0
    assert find_record(find_paths()) is None


def test_long_state_path_is_refused(monkeypatch):
    monkeypatch.setattr("perennial_localcluster.paths.LONGEST_STATE_PATH", 60)
    with pytest.raises(PreconditionError, match="at most 60"):
        find_paths({"PERENNIAL_CLUSTER_DIR": "/x" * 40}, is_root=True)


def test_directories_follow_the_user(tmp_path):
    want = Paths(Path("/h/.local/state/perennial-localcluster"), Path("/h/.cache/perennial"))
    assert find_paths({"HOME": "/h"}, is_root=False) == want


def test_binary_key_changes_with_its_pins(tmp_path):
    (tmp_path / "go.mod").write_text("module x")
    first = compute_key(BINARIES[0], tmp_path)
    (tmp_path / "go.sum").write_text("y")
    assert compute_key(BINARIES[0], tmp_path) != first


def test_every_component_is_pinned():
    for binary in BINARIES:
        module = binaries.COMPONENTS_DIR / binary.module
        assert (module / "go.mod").is_file(), binary.name
        assert binary.module == "pause" or (module / "go.sum").is_file(), binary.name


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("go version go1.26.8 linux/amd64", (1, 26, 8)),
        ("go version go1.27 linux/arm64", (1, 27, 0)),
        ("module x\n\ngo 1.24.3\n", (1, 24, 3)),
        ("nothing", (0, 0, 0)),
    ],
)
def test_go_versions_are_read(text, want):
    assert parse_go_version(text) == want


def test_status_is_healthy_only_with_a_ready_node():
    component = {"component": "etcd", "healthy": True}
    assert cluster.is_healthy({"nodes": [{"ready": True}], "components": [component]})
    assert not cluster.is_healthy({"nodes": [], "components": [component]})
    assert not cluster.is_healthy(
        json.loads('{"nodes": [{"ready": true}], "components": [{"healthy": false}]}')
    )


def test_what_two_build_at_once_is_compiled_once(monkeypatch):
    compiled = []

    def compile_slowly(binary, target, _paths):
        compiled.append(binary.name)
        both_ask.wait(60)
        target.parent.mkdir(parents=True)
        target.touch()

    monkeypatch.setattr(binaries, "_compile", compile_slowly)
    both_ask = threading.Event()
    paths = find_paths()
    with ThreadPoolExecutor(2) as pool:
        first, second = (pool.submit(binaries.build, BINARIES[0], paths) for _ in range(2))
        both_ask.set()
        first.result(60)
        second.result(60)
    assert compiled == [BINARIES[0].name]
    assert [step.name for step in binaries.build_steps(paths, [BINARIES[0].name])] == []
