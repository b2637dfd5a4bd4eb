"""The whole command line on a cluster in memory: words in, text or JSON out, and the exit status."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from perennial.cli import kube, main
from perennial.cli.answer import Answer

from tests.unit.operator.cli.objects import (
    EVIDENCE,
    ROLLOUT,
    FakeCluster,
    deployment_body,
    pod_body,
    revision_body,
    route_body,
)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    fake = FakeCluster(
        deployment_body({"rollout": ROLLOUT}),
        revision_body("wine-a", "Stable"),
        revision_body("wine-b", "Canary", spec={"parent": "wine-a"}),
        route_body(),
        operator=lambda command: {"accepted": True, "message": f"{command['verb']} is done."},
    )
    fake.pods = [pod_body("wine-a-1", "wine-a"), pod_body("gw-1")]
    fake.agents = {"gw-1": Answer(200, b"{}")}
    monkeypatch.setattr(kube, "Cluster", lambda kubeconfig, context: fake)
    return fake


def perennial(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["kubectl-perennial", *words])
    with pytest.raises(SystemExit) as ended:
        main.main()
    return int(ended.value.code or 0)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["get"], "wine-b"),
        (["get", "wine"], "Progressing"),
        (["get", "-A"], "shop"),
        (["status", "wine"], "1/1 ready"),
        (["history", "wine"], "Canary"),
        (["why", "wine-b"], "RatioExceeded"),
        (["weights", "wine"], "gw-1"),
        (["promote", "wine"], "Promote is done."),
        (["promote", "wine", "--full"], "Promote is done."),
        (["abort", "wine"], "Abort is done."),
        (["retry", "wine"], "Retry is done."),
        (["pause", "wine"], "Pause is done."),
        (["resume", "wine"], "Resume is done."),
        (["undo", "wine", "--to", "wine-a"], "Undo is done."),
    ],
)
def test_command_answers_in_text(cluster, monkeypatch, capsys, words, says) -> None:
    assert perennial(monkeypatch, *words) == 0
    assert says in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "path", "want"),
    [
        (["get"], "items.0.metadata.name", "wine"),
        (["get", "wine"], "metadata.name", "wine"),
        (["status", "wine"], "metadata.name", "wine"),
        (["status", "wine"], "pods.0.metadata.name", "wine-a-1"),
        (["history", "wine"], "items.1.metadata.name", "wine-b"),
        (["why", "wine-b"], "evidence.0.eValue", EVIDENCE["eValue"]),
        (["weights", "wine"], "routers.0.pod", "gw-1"),
        (["weights", "wine"], "route.metadata.generation", 4),
        (["abort", "wine"], "accepted", True),
    ],
)
def test_command_answers_in_json(cluster, monkeypatch, capsys, *, words, path, want) -> None:
    assert perennial(monkeypatch, *words, "-o", "json") == 0
    got = json.loads(capsys.readouterr().out)
    for key in path.split("."):
        got = got[int(key)] if isinstance(got, list) else got[key]
    assert got == want


@pytest.mark.parametrize("form", [[], ["-o", "json"]])
def test_refused_verb_says_why_and_ends_with_1(cluster, monkeypatch, capsys, form) -> None:
    refusal = {"accepted": False, "reason": "NothingOnTrial", "message": "Edit spec.model first."}
    cluster.operator = lambda command: refusal
    assert perennial(monkeypatch, "promote", "wine", *form) == 1
    said = capsys.readouterr()
    assert "Edit spec.model first." in said.out + said.err
    assert "NothingOnTrial" in said.out + said.err


@pytest.mark.parametrize(
    "words",
    [
        ["demote", "wine"],
        ["promote"],
        ["promote", "wine", "--full", "--variant", "forest"],
        ["get", "-A", "wine"],
        ["get", "-o", "yaml"],
    ],
)
def test_wrong_words_end_with_2(cluster, monkeypatch, words) -> None:
    assert perennial(monkeypatch, *words) == 2
    assert cluster.commands == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["status", "beer"], "no ModelDeployment beer"),
        (["status", "wine", "-n", "cellar"], "in namespace cellar"),
        (["history", "beer"], "no ModelDeployment beer"),
        (["why", "wine-z"], "no ModelRevision wine-z"),
        (["weights", "beer"], "no ModelDeployment beer"),
    ],
)
def test_what_is_not_there_is_told_and_ends_with_1(cluster, monkeypatch, capsys, words, says) -> None:
    assert perennial(monkeypatch, *words) == 1
    assert says in capsys.readouterr().err


def test_why_of_a_revision_on_trial_shows_what_its_gate_has_seen(cluster, monkeypatch, capsys) -> None:
    assert perennial(monkeypatch, "why", "wine-b") == 0
    assert "10 of 100" in capsys.readouterr().out


def test_nothing_is_cut_in_a_pipe(cluster, monkeypatch, capsys) -> None:
    name, message = "wine-" + "a" * 50, "word " * 40 + "end"
    cluster.bodies["modelrevisions", name] = revision_body(name, "Failed", message=message)
    cluster.bodies["modeldeployments", "wine"]["status"]["rollout"] = {**ROLLOUT, "message": message}
    for words in (["history", "wine"], ["status", "wine"]):
        assert perennial(monkeypatch, *words) == 0
        got = capsys.readouterr().out
        assert name in got
        assert got.count(message) == (1 if words[0] == "history" else 2)


def test_children_of_a_deleted_namesake_are_not_shown(cluster, monkeypatch, capsys) -> None:
    cluster.bodies["modelrevisions", "wine-old"] = revision_body(
        "wine-old", "Stable", spec={"deploymentUid": "u0"}
    )
    for words in (["history", "wine"], ["status", "wine"]):
        assert perennial(monkeypatch, *words) == 0
        assert "wine-old" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("rollout", "code", "says"),
    [
        ({"phase": "Healthy", "stable": "wine-b"}, 0, "wine-b is stable"),
        (
            {"phase": "Degraded", "failedRevision": "wine-b", "message": "too many errors"},
            1,
            "too many errors",
        ),
    ],
)
@pytest.mark.parametrize("flags", [["--wait"], ["--wait", "--watch"], ["--wait", "-o", "json"]])
def test_wait_ends_with_the_rollout(cluster, monkeypatch, capsys, *, rollout, code, says, flags) -> None:
    ready = {"type": "Ready", "status": "True", "reason": "R", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    cluster.bodies["modeldeployments", "wine"]["status"] = {"rollout": rollout, "conditions": [ready]}
    assert perennial(monkeypatch, "status", "wine", *flags) == code
    said = capsys.readouterr()
    if "json" in flags:
        assert json.loads(said.out)["status"]["rollout"] == rollout
    else:
        assert says in said.out + said.err


@pytest.mark.parametrize("words", [["get"], ["history", "wine"]])
def test_nothing_to_list_is_told_and_no_failure(cluster, monkeypatch, capsys, words) -> None:
    kinds = {"get": "modeldeployments", "history": "modelrevisions"}
    cluster.bodies = {key: body for key, body in cluster.bodies.items() if key[0] != kinds[words[0]]}
    assert perennial(monkeypatch, *words) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert "no" in said.err


def test_help_and_completion_do_without_the_slow_client_library() -> None:
    code = "import sys, perennial.cli.main; sys.exit('kubernetes' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
