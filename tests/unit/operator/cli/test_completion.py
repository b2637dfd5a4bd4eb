"""What the shells and kubectl are told."""

from __future__ import annotations

import sys

import pytest
from perennial.cli import kube, main
from perennial.cli.completion import complete_for_kubectl
from perennial.cli.errors import ClusterError

from tests.unit.operator.cli.objects import ROLLOUT, FakeCluster, deployment_body, revision_body

EXPERIMENT = {
    "type": "Bandit",
    "phase": "Running",
    "specHash": "a",
    "arms": [{"name": "forest"}, {"name": "stable"}],
}


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    fake = FakeCluster(
        deployment_body({"rollout": ROLLOUT, "experiment": EXPERIMENT}),
        revision_body("wine-a", "Stable"),
        revision_body("wine-b", "Canary"),
    )
    monkeypatch.setattr(kube, "Cluster", lambda kubeconfig, context: fake)
    return fake


@pytest.mark.parametrize(
    ("words", "want"),
    [
        (["pro"], ["promote"]),
        (["promote", ""], ["wine"]),
        (["promote", "wine", "--var"], ["--variant"]),
        (["promote", "wine", "--variant", ""], ["forest", "stable"]),
        (["undo", "wine", "--to", "wine-b"], ["wine-b"]),
        (["why", ""], ["wine-a", "wine-b"]),
        (["status", "-n", "cellar", ""], []),
        (["status", "b"], []),
        (["completion", ""], ["bash", "zsh", "fish"]),
    ],
)
def test_kubectl_is_offered_the_words_that_fit(cluster, monkeypatch, capsys, words, want) -> None:
    monkeypatch.setattr(sys, "argv", ["kubectl_complete-perennial", *words])
    complete_for_kubectl()
    *got, directive = capsys.readouterr().out.splitlines()
    assert [line.split("\t")[0] for line in got] == want
    assert directive == ":4"


def test_every_command_is_offered_with_its_meaning(cluster, monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["kubectl_complete-perennial", ""])
    complete_for_kubectl()
    *got, _ = capsys.readouterr().out.splitlines()
    verbs = {
        "get",
        "status",
        "promote",
        "abort",
        "retry",
        "pause",
        "resume",
        "undo",
        "history",
        "why",
        "weights",
        "push",
    }
    assert verbs <= {line.split("\t")[0] for line in got}
    assert all("\t" in line for line in got)


def test_files_are_offered_where_a_bundle_is_wanted(cluster, monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["kubectl_complete-perennial", "push", "./bun"])
    complete_for_kubectl()
    assert capsys.readouterr().out.splitlines()[-1] == ":0"


def test_no_cluster_means_nothing_to_offer_and_no_noise(monkeypatch, capsys) -> None:
    def unreachable(kubeconfig, context):
        raise ClusterError("No usable kubeconfig.")

    monkeypatch.setattr(kube, "Cluster", unreachable)
    monkeypatch.setattr(sys, "argv", ["kubectl_complete-perennial", "status", ""])
    complete_for_kubectl()
    said = capsys.readouterr()
    assert (said.out, said.err) == (":4\n", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_script_of_each_shell_is_printed(monkeypatch, capsys, shell) -> None:
    monkeypatch.setattr(sys, "argv", ["kubectl-perennial", "completion", shell])
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert not ended.value.code
    assert "_KUBECTL_PERENNIAL_COMPLETE" in capsys.readouterr().out
