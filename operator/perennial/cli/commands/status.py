"""`status`: one deployment in full, once, live, or until its rollout has ended."""

from __future__ import annotations

import time
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.live import Live

from perennial.cli.errors import CliError
from perennial.cli.options import Context, Form, Kubeconfig, Namespace, Output, TheDeployment, connect
from perennial.cli.output import open_console, open_error_console, print_json
from perennial.cli.reading import read_document, to_view
from perennial.cli.views.status import render_status
from perennial.cli.waiting import Ending, assess_ending

if TYPE_CHECKING:
    from perennial.cli.kube import Cluster

__all__ = ["status"]

WATCH_S = 1.0


def status(
    name: TheDeployment,
    *,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Keep showing it until interrupted.")] = False,
    wait: Annotated[
        bool,
        typer.Option("--wait", help="Wait until the rollout has ended; exit status 1 if it was rolled back."),
    ] = False,
    timeout_s: Annotated[
        float, typer.Option("--timeout", min=1, help="Longest wait of --wait, in seconds.", metavar="SECONDS")
    ] = 3600,
    namespace: Namespace = None,
    output: Output = Form.TEXT,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Show a deployment: rollout and evidence, experiment, revisions and pods, monitors, retraining."""
    cluster = connect(kubeconfig, context)
    namespace = namespace or cluster.namespace
    if not watch and not wait:
        document = read_document(cluster, namespace, name)
        if output is Form.JSON:
            print_json(document)
        else:
            open_console().print(render_status(to_view(document), datetime.now(UTC)))
        return
    deadline = time.monotonic() + timeout_s if wait else None
    follow = _follow_json if output is Form.JSON else _follow_tree if watch else _follow_lines
    ending = follow(cluster, namespace, name, deadline)
    if ending.is_good is None:
        raise CliError(f"The rollout has not ended in {timeout_s:.0f} s. {ending.message}")
    if not ending.is_good:
        raise CliError(ending.message)
    if output is Form.TEXT:
        open_console().print(ending.message, highlight=False)


def _follow_tree(cluster: Cluster, namespace: str, name: str, deadline: float | None) -> Ending:
    with Live(console=open_console(), auto_refresh=False) as live:
        while True:
            view = to_view(read_document(cluster, namespace, name))
            live.update(render_status(view, datetime.now(UTC)), refresh=True)
            ending = assess_ending(view.deployment)
            if _is_over(ending, deadline):
                return ending
            time.sleep(WATCH_S)


def _follow_json(cluster: Cluster, namespace: str, name: str, deadline: float | None) -> Ending:
    """Print a line of JSON whenever something has changed."""
    printed: dict[str, Any] | None = None
    while True:
        document = read_document(cluster, namespace, name)
        if document != printed:
            print_json(document, is_line=True)
            printed = document
        ending = assess_ending(to_view(document).deployment)
        if _is_over(ending, deadline):
            return ending
        time.sleep(WATCH_S)


def _follow_lines(cluster: Cluster, namespace: str, name: str, deadline: float | None) -> Ending:
    """Print a line on stderr whenever the state of things is another."""
    console = open_error_console()
    told = ""
    with console.status("waiting for the rollout to end") if console.is_terminal else nullcontext():
        while True:
            ending = assess_ending(to_view(read_document(cluster, namespace, name)).deployment)
            if _is_over(ending, deadline):
                return ending
            if ending.message != told:
                console.print(ending.message, highlight=False, markup=False)
                told = ending.message
            time.sleep(WATCH_S)


def _is_over(ending: Ending, deadline: float | None) -> bool:
    return deadline is not None and (ending.is_good is not None or time.monotonic() >= deadline)
