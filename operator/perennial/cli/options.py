"""Arguments and options that several commands share, and the names that the shell offers for them."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from perennial.cli.errors import CliError

if TYPE_CHECKING:
    from perennial.cli.kube import Cluster

__all__ = [
    "INSTALLATION",
    "Context",
    "Form",
    "Installation",
    "Kubeconfig",
    "MaybeDeployment",
    "Namespace",
    "Output",
    "Revision",
    "TheDeployment",
    "complete_revision",
    "complete_variant",
    "connect",
]

INSTALLATION = "perennial-system"


class Form(StrEnum):
    """Form of what is printed."""

    TEXT = "text"
    JSON = "json"


def connect(kubeconfig: str | None, context: str | None) -> Cluster:
    """Return the cluster; its library is loaded only now, so that help and completion are quick."""
    from perennial.cli.kube import Cluster

    return Cluster(kubeconfig, context)


def complete_deployment(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Offer the namespace's ModelDeployments."""
    return _offer(ctx, "modeldeployments", "status.rollout.phase", incomplete)


def complete_revision(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Offer the namespace's revisions."""
    return _offer(ctx, "modelrevisions", "status.role", incomplete)


def complete_variant(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Offer the arms of the namespace's experiments: the deployment isn't known while its options are typed."""
    try:
        cluster = connect(ctx.params.get("kubeconfig"), ctx.params.get("context"))
        found = cluster.find("modeldeployments", ctx.params.get("namespace") or cluster.namespace, None)
    except CliError:
        return []
    experiments = [(body.get("status") or {}).get("experiment") or {} for body in found]
    arms = {arm["name"]: arm.get("state", "") for each in experiments for arm in each.get("arms") or []}
    return [(name, state) for name, state in sorted(arms.items()) if name.startswith(incomplete)]


def _offer(ctx: typer.Context, plural: str, hint: str, incomplete: str) -> list[tuple[str, str]]:
    """List objects with a word about each; without a cluster there is nothing to offer, and nothing to say."""
    try:
        cluster = connect(ctx.params.get("kubeconfig"), ctx.params.get("context"))
        found = cluster.find(plural, ctx.params.get("namespace") or cluster.namespace, ctx.params.get("name"))
    except CliError:
        return []
    names = [(body["metadata"]["name"], _at(body, hint)) for body in found]
    return [(name, word) for name, word in names if name.startswith(incomplete)]


def _at(body: dict[str, object], path: str) -> str:
    value: object = body
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return str(value or "")


Kubeconfig = Annotated[
    str | None, typer.Option("--kubeconfig", help="Path of the kubeconfig.", metavar="FILE")
]
Context = Annotated[str | None, typer.Option("--context", help="Context of the kubeconfig.", metavar="NAME")]
Output = Annotated[Form, typer.Option("--output", "-o", help="text or json.")]
Namespace = Annotated[
    str | None,
    typer.Option("--namespace", "-n", help="Its namespace; default: the context's.", metavar="NAME"),
]
Installation = Annotated[
    str, typer.Option("--installation", help="Namespace that Perennial is installed in.", metavar="NAMESPACE")
]
TheDeployment = Annotated[
    str,
    typer.Argument(help="Name of the ModelDeployment.", metavar="NAME", autocompletion=complete_deployment),
]
MaybeDeployment = Annotated[
    str | None,
    typer.Argument(
        help="Name of one ModelDeployment; left out, all of them.",
        metavar="[NAME]",
        autocompletion=complete_deployment,
    ),
]
Revision = Annotated[
    str, typer.Argument(help="Name of the ModelRevision.", metavar="REV", autocompletion=complete_revision)
]
