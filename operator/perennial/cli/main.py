"""The commands of `kubectl perennial`: arguments in, text or JSON out, one sentence on failure."""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from perennial_api import ModelDeployment, ModelRevision, RetrainingRun
from pydantic import ValidationError
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from perennial.cli.archive import open_archive
from perennial.cli.errors import CliError
from perennial.cli.kube import Cluster
from perennial.cli.push import push as push_archive
from perennial.cli.view import View, render_status

WATCH_S = 1.0

app = typer.Typer(
    name="kubectl-perennial",
    no_args_is_help=True,
    add_completion=False,
    help="Look after models on Kubernetes.",
)


class Output(StrEnum):
    """Form of what is printed."""

    TEXT = "text"
    JSON = "json"


_Kubeconfig = Annotated[
    str | None, typer.Option("--kubeconfig", help="Path of the kubeconfig.", metavar="FILE")
]
_Context = Annotated[str | None, typer.Option("--context", help="Context of the kubeconfig.", metavar="NAME")]
_Output = Annotated[Output, typer.Option("--output", "-o", help="text or json.")]


@app.command()
def push(
    source: Annotated[
        Path,
        typer.Argument(
            help="A bundle's directory or tar, or a data set in one Parquet file.", metavar="DIR|FILE"
        ),
    ],
    installation: Annotated[
        str, typer.Option(help="Namespace that Perennial is installed in.", metavar="NAMESPACE")
    ] = "perennial-system",
    output: _Output = Output.TEXT,
    kubeconfig: _Kubeconfig = None,
    context: _Context = None,
) -> None:
    """Push a model bundle into the store and print the uri for spec.model.uri."""
    with open_archive(source) as archive:
        cluster = Cluster(kubeconfig, context)
        bar = Progress(
            TextColumn(archive.digest[:19]),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        with bar:
            task = bar.add_task("push", total=archive.size_bytes)
            created = push_archive(cluster, archive, installation, lambda size: bar.advance(task, size))
        if output is Output.JSON:
            document = {
                "uri": archive.uri,
                "digest": archive.digest,
                "sizeBytes": archive.size_bytes,
                "created": created,
            }
            typer.echo(json.dumps(document))
        else:
            typer.echo(archive.uri)


@app.command()
def status(
    name: Annotated[str, typer.Argument(help="Name of the ModelDeployment.")],
    *,
    namespace: Annotated[
        str | None, typer.Option("--namespace", "-n", help="Its namespace; default: the context's.")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Keep showing it until interrupted.")] = False,
    output: _Output = Output.TEXT,
    kubeconfig: _Kubeconfig = None,
    context: _Context = None,
) -> None:
    """Show a deployment: its revisions and weights, the rollout and its evidence, monitors, retraining."""
    if watch and output is Output.JSON:
        raise CliError("--watch draws on the terminal; leave it out with -o json.")
    cluster = Cluster(kubeconfig, context)
    namespace = namespace or cluster.namespace
    if output is Output.JSON:
        typer.echo(json.dumps(_read(cluster, namespace, name), indent=2))
        return
    console = Console()
    if not watch:
        console.print(render_status(_view(cluster, namespace, name), datetime.now(UTC)))
        return
    with Live(console=console, auto_refresh=False) as live:
        while True:
            live.update(render_status(_view(cluster, namespace, name), datetime.now(UTC)), refresh=True)
            time.sleep(WATCH_S)


def _read(cluster: Cluster, namespace: str, name: str) -> dict[str, Any]:
    deployment = cluster.get("modeldeployments", namespace, name)
    if deployment is None:
        raise CliError(
            f"There is no ModelDeployment {name} in namespace {namespace}. Use -n for another namespace."
        )
    return {
        "deployment": deployment,
        "revisions": cluster.list("modelrevisions", namespace, name),
        "runs": cluster.list("retrainingruns", namespace, name),
    }


def _view(cluster: Cluster, namespace: str, name: str) -> View:
    found = _read(cluster, namespace, name)
    try:
        return View(
            deployment=ModelDeployment.model_validate(found["deployment"]),
            revisions=tuple(ModelRevision.model_validate(body) for body in found["revisions"]),
            runs=tuple(RetrainingRun.model_validate(body) for body in found["runs"]),
        )
    except ValidationError as error:
        raise CliError(
            f"{namespace}/{name} has fields that this version of kubectl-perennial does not know "
            f"({error.error_count()} problems). Use the version that is installed in the cluster, or -o json."
        ) from error


def main() -> None:
    """Run the command line; what goes wrong on purpose is one sentence and exit status 1."""
    try:
        app()
    except CliError as error:
        Console(stderr=True, soft_wrap=True).print(f"[red]Error:[/] {escape(str(error))}", highlight=False)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
