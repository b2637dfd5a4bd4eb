"""`get`: list ModelDeployments."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from perennial.cli.errors import UsageError
from perennial.cli.options import Context, Form, Kubeconfig, MaybeDeployment, Namespace, Output, connect
from perennial.cli.output import open_console, open_error_console, print_json
from perennial.cli.reading import parse_deployment, read_all
from perennial.cli.views.deployments import render_deployments

__all__ = ["get"]


def get(
    name: MaybeDeployment = None,
    *,
    all_namespaces: Annotated[
        bool, typer.Option("--all-namespaces", "-A", help="Those of every namespace.")
    ] = False,
    namespace: Namespace = None,
    output: Output = Form.TEXT,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """List ModelDeployments: whether they answer, what is stable and what is on trial."""
    if all_namespaces and (name or namespace):
        raise UsageError("-A lists every namespace: leave out the name and -n, or -A.")
    cluster = connect(kubeconfig, context)
    where = None if all_namespaces else namespace or cluster.namespace
    found = read_all(cluster, where, name)
    if output is Form.JSON:
        print_json({"items": found} if name is None else found[0])
    elif found:
        open_console().print(
            render_deployments([parse_deployment(body) for body in found], datetime.now(UTC))
        )
    else:
        place = f"namespace {where}" if where else "any namespace"
        open_error_console().print(f"There is no ModelDeployment in {place}.", highlight=False)
