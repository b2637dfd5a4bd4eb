"""`promote`, `abort`, `retry`, `pause`, `resume` and `undo`: what a person may ask of a rollout or experiment."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer
from perennial_api.modeldeployment.command_status import Verb

from perennial.cli.errors import RefusedVerbError, UsageError
from perennial.cli.intents import ANSWER_TIMEOUT_S, Intent, say
from perennial.cli.options import (
    Context,
    Form,
    Kubeconfig,
    Namespace,
    Output,
    TheDeployment,
    complete_revision,
    complete_variant,
    connect,
)
from perennial.cli.output import open_console, open_error_console, print_json

if TYPE_CHECKING:
    from perennial.cli.kube import Cluster

__all__ = ["abort", "pause", "promote", "resume", "retry", "undo"]

Timeout = Annotated[
    float,
    typer.Option(
        "--timeout", min=1, help="Longest wait for the operator's answer, in seconds.", metavar="SECONDS"
    ),
]


def promote(
    name: TheDeployment,
    *,
    full: Annotated[bool, typer.Option("--full", help="Past all steps and gates, to the end.")] = False,
    variant: Annotated[
        str | None,
        typer.Option(
            "--variant",
            help="End the experiment and make this variant the stable one.",
            metavar="VARIANT",
            autocompletion=complete_variant,
        ),
    ] = None,
    namespace: Namespace = None,
    timeout_s: Timeout = ANSWER_TIMEOUT_S,
    output: Output = Form.TEXT,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Go on from the step that waits, or to the very end."""
    if full and variant is not None:
        raise UsageError("--full is about a rollout, --variant about an experiment: leave one out.")
    intent = Intent(Verb.PROMOTE, full=full, variant=variant)
    _say(connect(kubeconfig, context), name, namespace, intent, timeout_s=timeout_s, output=output)


def abort(
    name: TheDeployment,
    *,
    namespace: Namespace = None,
    timeout_s: Timeout = ANSWER_TIMEOUT_S,
    output: Output = Form.TEXT,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Take all requests back from the revision on trial, for good; or end the experiment."""
    _say(
        connect(kubeconfig, context), name, namespace, Intent(Verb.ABORT), timeout_s=timeout_s, output=output
    )


def retry(
    name: TheDeployment,
    *,
    namespace: Namespace = None,
    timeout_s: Timeout = ANSWER_TIMEOUT_S,
    output: Output = Form.TEXT,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Try the revision again that was rolled back or aborted last."""
    _say(
        connect(kubeconfig, context), name, namespace, Intent(Verb.RETRY), timeout_s=timeout_s, output=output
    )


def pause(
    name: TheDeployment,
    *,
    namespace: Namespace = None,
    timeout_s: Timeout = ANSWER_TIMEOUT_S,
    output: Output = Form.TEXT,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Take no further step until resume; a failing gate still rolls back."""
    _say(
        connect(kubeconfig, context), name, namespace, Intent(Verb.PAUSE), timeout_s=timeout_s, output=output
    )


def resume(
    name: TheDeployment,
    *,
    namespace: Namespace = None,
    timeout_s: Timeout = ANSWER_TIMEOUT_S,
    output: Output = Form.TEXT,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Go on after pause."""
    _say(
        connect(kubeconfig, context), name, namespace, Intent(Verb.RESUME), timeout_s=timeout_s, output=output
    )


def undo(
    name: TheDeployment,
    *,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            help="The revision that is wanted back; default: the one that was stable before.",
            metavar="REV",
            autocompletion=complete_revision,
        ),
    ] = None,
    namespace: Namespace = None,
    timeout_s: Timeout = ANSWER_TIMEOUT_S,
    output: Output = Form.TEXT,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Go back to an earlier revision, and stay there until spec.model changes."""
    _say(
        connect(kubeconfig, context),
        name,
        namespace,
        Intent(Verb.UNDO, to=to),
        timeout_s=timeout_s,
        output=output,
    )


def _say(
    cluster: Cluster, name: str, namespace: str | None, intent: Intent, *, timeout_s: float, output: Form
) -> None:
    console = open_error_console()
    with console.status(f"waiting for the operator to answer {intent.verb.value.lower()}"):
        answer = say(
            cluster,
            namespace or cluster.namespace,
            name,
            intent,
            timeout_s=timeout_s,
            clock_s=time.monotonic,
            sleep=time.sleep,
        )
    if output is Form.JSON:
        print_json(answer.to_api())
        if not answer.accepted:
            raise typer.Exit(1)
        return
    sentence = answer.message or answer.reason
    if not answer.accepted:
        reason = f" ({answer.reason})" if answer.reason and answer.message else ""
        raise RefusedVerbError(f"{intent.verb.value} is refused{reason}: {sentence}")
    open_console().print(f"[green]{intent.verb.value}[/]  ", end="")
    open_console().print(sentence, markup=False, highlight=False)
