"""Say a verb: write it down as an intent with an id, and wait for the operator's answer."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from perennial_api import ModelDeployment
from perennial_api.labels import ANNOTATION_COMMAND
from perennial_api.modeldeployment.command_status import Command, LastCommand, Verb

from perennial.cli.errors import CliError, ClusterError, RefusedVerbError
from perennial.cli.reading import Getter, parse_deployment, read_deployment

__all__ = ["ANSWER_TIMEOUT_S", "Intent", "Writer", "build_command", "say"]

ANSWER_TIMEOUT_S = 30.0
POLL_S = 0.3

Json = dict[str, Any]


class Writer(Getter, Protocol):
    """What a verb needs of the cluster."""

    def annotate(
        self, plural: str, namespace: str, name: str, uid: str, annotations: Mapping[str, str]
    ) -> None:
        """Set annotations of one of our resources, if it is still the object of that uid."""


@dataclass(frozen=True, slots=True)
class Intent:
    """A verb as typed.

    Attributes
    ----------
    to
        The revision that undo should bring back; None for the one before.
    """

    verb: Verb
    full: bool = False
    variant: str | None = None
    to: str | None = None


def build_command(intent: Intent, deployment: ModelDeployment, new_id: str) -> Command:
    """Return the intent with what the person saw, so that a state that has moved on refuses it.

    Raises
    ------
    CliError
        If the words name something that isn't there.
    """
    rollout, experiment = deployment.status.rollout, deployment.status.experiment
    if intent.variant is not None:
        arms = (
            {variant.name for variant in deployment.spec.experiment.variants}
            if deployment.spec.experiment
            else set()
        )
        arms |= {arm.name for arm in experiment.arms} if experiment else set()
        if intent.variant not in arms:
            raise CliError(_say_no_variant(intent.variant, arms))
        return Command(id=new_id, verb=intent.verb, variant=intent.variant)
    if intent.verb is Verb.UNDO or rollout is None:
        return Command(id=new_id, verb=intent.verb, revision=intent.to, full=intent.full)
    seen = rollout.failed_revision if intent.verb is Verb.RETRY and not rollout.canary else rollout.canary
    # A step ends by itself at times; whoever wants the whole way, or none of it, means every step.
    is_one_step = intent.verb is Verb.PROMOTE and seen is not None and not intent.full
    step_index = rollout.step_index if is_one_step else None
    return Command(id=new_id, verb=intent.verb, revision=seen, step_index=step_index, full=intent.full)


def say(
    cluster: Writer,
    namespace: str,
    name: str,
    intent: Intent,
    *,
    timeout_s: float,
    clock_s: Callable[[], float],
    sleep: Callable[[float], None],
) -> LastCommand:
    """Write an intent and return the operator's answer, be it yes or no.

    Raises
    ------
    RefusedVerbError
        If nobody answers in time, or another verb takes its place first.
    """
    deployment = parse_deployment(read_deployment(cluster, namespace, name))
    command = build_command(intent, deployment, uuid.uuid4().hex)
    text = command.model_dump_json(by_alias=True, exclude_none=True)
    cluster.annotate("modeldeployments", namespace, name, deployment.metadata.uid, {ANNOTATION_COMMAND: text})
    deadline = clock_s() + timeout_s
    while True:
        answer = _look_for_answer(cluster, deployment, command)
        if answer is not None:
            return answer
        if clock_s() >= deadline:
            raise RefusedVerbError(
                f"No operator has answered in {timeout_s:.0f} s. The intent ({command.verb.value}, id {command.id}) stands "
                "and is judged when one comes back; see `kubectl get deployments,pods -A "
                "-l app.kubernetes.io/name=perennial,app.kubernetes.io/component=operator`."
            )
        sleep(POLL_S)


def _look_for_answer(cluster: Writer, deployment: ModelDeployment, command: Command) -> LastCommand | None:
    metadata = deployment.metadata
    try:
        stored = cluster.get("modeldeployments", metadata.namespace, metadata.name)
    except ClusterError:
        # The intent is written: an API server that is away for a moment changes nothing.
        return None
    return _find_answer(stored, command, metadata.uid)


def _find_answer(stored: Json | None, command: Command, uid: str) -> LastCommand | None:
    if stored is None or stored["metadata"].get("uid", uid) != uid:
        raise RefusedVerbError("The ModelDeployment was deleted before the operator answered.")
    last = (stored.get("status") or {}).get("lastCommand")
    if last and last.get("id") == command.id:
        return LastCommand.model_validate(last)
    written = (stored["metadata"].get("annotations") or {}).get(ANNOTATION_COMMAND, "")
    if command.id not in written:
        raise RefusedVerbError(
            f"Another verb took the place of this one ({command.verb.value}) before the operator answered: "
            "look at `kubectl perennial status`, and say it again if you still want it."
        )
    return None


def _say_no_variant(variant: str, arms: set[str]) -> str:
    if not arms:
        return f"There is no variant {variant}: the deployment has no experiment. Leave out --variant."
    return f"The experiment has no variant {variant}, only {', '.join(sorted(arms))}. Name one of these."
