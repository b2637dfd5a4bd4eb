"""`weights`: where the requests go, and which router has applied it."""

from __future__ import annotations

from dataclasses import asdict

from perennial_api import ModelRoute

from perennial.cli.errors import CliError
from perennial.cli.options import (
    INSTALLATION,
    Context,
    Form,
    Installation,
    Kubeconfig,
    Namespace,
    Output,
    TheDeployment,
    connect,
)
from perennial.cli.output import open_console, print_json
from perennial.cli.reading import parse_deployment, read_deployment
from perennial.cli.routers import read_routers
from perennial.cli.views.weights import render_weights

__all__ = ["weights"]


def weights(
    name: TheDeployment,
    *,
    namespace: Namespace = None,
    installation: Installation = INSTALLATION,
    output: Output = Form.TEXT,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Show the share of each revision, and which routers have applied it."""
    cluster = connect(kubeconfig, context)
    namespace = namespace or cluster.namespace
    deployment = read_deployment(cluster, namespace, name)
    stored = cluster.get("modelroutes", namespace, name)
    if stored is None:
        raise CliError(
            f"{namespace}/{name} is not routed yet: no revision is ready. See `kubectl perennial status {name}`."
        )
    routers = read_routers(cluster, installation, namespace, name)
    if output is Form.JSON:
        lines = None if routers is None else [asdict(line) for line in routers]
        print_json({"route": stored, "routers": lines})
        return
    rollout = parse_deployment(deployment).status.rollout
    open_console().print(render_weights(ModelRoute.model_validate(stored), rollout, routers))
