"""One level-triggered pass over one ModelDeployment: observe, decide, plan, apply, write the status, tell."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from perennial_api.conditions import Condition, ConditionStatus
from perennial_api.labels import ConditionType
from perennial_api.modeldeployment.resource import ModelDeployment
from perennial_api.modeldeployment.status import ModelDeploymentStatus
from pydantic import ValidationError

from perennial.cluster.apply import Applier
from perennial.cluster.client import Client
from perennial.cluster.events import EventPoster
from perennial.cluster.observe import Observer, observe_deployment, observe_runtimes
from perennial.controller.autoscaler import Autoscaler
from perennial.controller.decide import Outcome, decide
from perennial.controller.metrics import Metrics
from perennial.controller.queue import Key
from perennial.controller.readings import Readings, build_question
from perennial.controller.warmups import WarmUps, build_wish
from perennial.errors import ConflictError, InvalidSpecError
from perennial.manifests.context import Installation
from perennial.manifests.plan import Key as ChildKey
from perennial.manifests.plan import Verb
from perennial.rollout.conditions import Problem, merge_conditions
from perennial.rollout.decision import EventReason, Notice
from perennial.rollout.scaling import ScalePolicy
from perennial.rollout.settings import RolloutSettings
from perennial.rollout.status import build_status, monitor_notices

__all__ = ["Reconciler"]

_log = logging.getLogger(__name__)

Json = dict[str, Any]

NAME_TAKEN_RETRY_S = 10.0
NO_ROUTER_RETRY_S = 5.0


class Reconciler:
    """Does passes. Holds nothing between them but when monitors were copied last, which may be lost."""

    def __init__(
        self,
        client: Client,
        observer: Observer,
        applier: Applier,
        events: EventPoster,
        metrics: Metrics,
        *,
        warm_ups: WarmUps,
        readings: Readings,
        autoscaler: Autoscaler,
        installation: Installation,
        rollout_settings: RolloutSettings,
        monitor_refresh_s: float,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._client = client
        self._observer = observer
        self._applier = applier
        self._events = events
        self._metrics = metrics
        self._warm_ups = warm_ups
        self._readings = readings
        self._autoscaler = autoscaler
        self._installation = installation
        self._rollout_settings = rollout_settings
        self._monitor_refresh_s = monitor_refresh_s
        self._clock = clock
        self._monitors_copied_at: dict[Key, datetime] = {}

    async def reconcile(self, key: Key) -> float | None:
        """Do one pass; return after how many seconds to look again, or None for no sooner than the resync.

        Raises
        ------
        PerennialError
            ConflictError when something changed under the pass, UnavailableError when the API server can't be
            reached, LeaseLostError when another replica may lead.
        """
        stored = await observe_deployment(self._client, key.namespace, key.name)
        if stored is None or "deletionTimestamp" in stored["metadata"]:
            # The garbage collector removes the children: they are owned.
            self._metrics.forget(key.namespace, key.name)
            self._warm_ups.want(key, None)
            self._readings.want(key, None)
            self._autoscaler.forget(key)
            self._monitors_copied_at.pop(key, None)
            return None
        try:
            deployment = _parse(stored)
            return await self._pass(key, stored, deployment)
        except InvalidSpecError as error:
            await self._refuse(key, stored, error)
            return None

    async def _pass(self, key: Key, stored: Json, deployment: ModelDeployment) -> float | None:
        spec, metadata = deployment.spec, deployment.metadata
        children = await self._observer.observe_children(key.namespace, key.name, metadata.uid)
        trainer = spec.retraining.trainer if spec.retraining else None
        runtimes = await observe_runtimes(self._client, key.namespace, spec.server.runtime, trainer)
        now = self._clock()
        outcome = decide(
            deployment,
            children,
            runtimes,
            self._installation,
            self._rollout_settings,
            now=now,
            loads=self._autoscaler.loads(key, ScalePolicy.of(spec.server), children.views),
            warm_up=self._warm_ups.get(key),
            readings=self._readings.get(key),
        )
        if any(write.verb == Verb.CREATE for write in outcome.plan.writes):
            await self._check_is_there(key, metadata.uid)
        found = await self._applier.apply_plan(key.namespace, outcome.plan.writes)
        await self._write_child_statuses(outcome, children.stored)
        taken = (*outcome.plan.taken, *found)
        problems = (*outcome.facts.problems, *_taken_problem(key.namespace, taken))
        status = self._build_status(key, deployment, _with_problems(outcome, problems), now)
        if status != deployment.status:
            await self._applier.apply_status({**stored, "status": status.to_api()})
            _log_transition(key, deployment.status, status)
        self._autoscaler.follow(key, outcome.scaled)
        # Only now is a result of no more use: it stands in the status, or nothing waits for it.
        self._warm_ups.want(key, build_wish(deployment, children.views, outcome.decision))
        self._readings.want(key, build_question(deployment, outcome.decision))
        alarms = monitor_notices(outcome.facts.report, deployment.status.monitors)
        new_problems = _problem_notices(problems, deployment.status.conditions)
        await self._events.post(stored, (*outcome.notices, *alarms, *new_problems))
        self._show(key, status, outcome)
        return _requeue_after_s(outcome, taken)

    async def _check_is_there(self, key: Key, uid: str) -> None:
        """Look again before children are made: they may be missing because their owner was deleted after it was read.

        The garbage collector takes them only once their owner is gone, so that this look can't miss it.

        Raises
        ------
        ConflictError
            The ModelDeployment is gone, or another one of its name is there.
        """
        stored = await observe_deployment(self._client, key.namespace, key.name)
        if stored is None or stored["metadata"]["uid"] != uid:
            raise ConflictError(f"ModelDeployment {key.namespace}/{key.name} was deleted during the pass")

    def _build_status(
        self, key: Key, deployment: ModelDeployment, outcome: Outcome, now: datetime
    ) -> ModelDeploymentStatus:
        copied_at = self._monitors_copied_at.get(key)
        refresh = copied_at is None or (now - copied_at).total_seconds() >= self._monitor_refresh_s
        if refresh:
            self._monitors_copied_at[key] = now
        return build_status(
            outcome.facts,
            deployment.status,
            outcome.retraining.status,
            generation=deployment.metadata.generation,
            url=_url(self._installation, key),
            refresh_monitors=refresh,
            now=now,
        )

    async def _write_child_statuses(self, outcome: Outcome, stored: Any) -> None:
        """Before the deployment's own status: were this lost, the next pass would decide the same again."""
        for name, revision_status in outcome.revision_statuses.items():
            body = stored[ChildKey("ModelRevision", name)]
            await self._applier.apply_status({**body, "status": revision_status.to_api()})
        for name, run_status in outcome.run_statuses.items():
            body = stored[ChildKey("RetrainingRun", name)]
            await self._applier.apply_status({**body, "status": run_status.to_api()})

    def _show(self, key: Key, status: ModelDeploymentStatus, outcome: Outcome) -> None:
        self._metrics.show(key.namespace, key.name, status)
        if outcome.decision.outcome is not None:
            promoted = outcome.decision.outcome.revision == outcome.decision.rollout.stable
            label = "Promoted" if promoted else "RolledBack"
            self._metrics.rollouts.labels(key.namespace, key.name, label).inc()

    async def _refuse(self, key: Key, stored: Json, error: InvalidSpecError) -> None:
        """Say what is wrong and leave everything as it is: what serves goes on serving."""
        now = self._clock()
        previous = _parse_status(stored)
        generation = stored["metadata"]["generation"]
        told = Condition(
            type=ConditionType.INVALID_SPEC.value,
            status=ConditionStatus.TRUE,
            reason=error.reason,
            message=error.message[:4096],
            observed_generation=generation,
            last_transition_time=now,
        )
        others = tuple(c for c in previous.conditions if c.type != told.type)
        conditions = merge_conditions((*others, told), previous.conditions)
        status = previous.model_copy(update={"conditions": conditions, "observed_generation": generation})
        if status != previous:
            await self._applier.apply_status({**stored, "status": status.to_api()})
            notice = Notice(EventReason.INVALID_SPEC, error.message, is_warning=True)
            await self._events.post(stored, (notice,))
            _log.warning("spec refused key=%s reason=%s message=%s", key, error.reason, error.message)


def _with_problems(outcome: Outcome, problems: tuple[Problem, ...]) -> Outcome:
    """Return the outcome with the problems that only the writes have shown."""
    return replace(outcome, facts=replace(outcome.facts, problems=problems))


def _parse(stored: Json) -> ModelDeployment:
    try:
        return ModelDeployment.model_validate({**stored, "status": _parse_status(stored)})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidSpecError("InvalidSpec", f"{where}: {first['msg']}") from error


def _parse_status(stored: Json) -> ModelDeploymentStatus:
    """Read the status; one that can't be read is rebuilt from the revisions rather than trusted in part."""
    try:
        return ModelDeploymentStatus.model_validate(stored.get("status") or {})
    except ValidationError as error:
        _log.warning("status unreadable name=%s error=%s", stored["metadata"]["name"], error)
        return ModelDeploymentStatus()


def _taken_problem(namespace: str, taken: Iterable[ChildKey]) -> tuple[Problem, ...]:
    names = [f"{key.kind} {namespace}/{key.name}" for key in taken]
    if not names:
        return ()
    text = f"{', '.join(names)} exists and isn't this ModelDeployment's: delete or rename it, or rename the deployment."
    return (Problem(ConditionType.NAME_TAKEN, "NameTaken", text),)


def _problem_notices(problems: Iterable[Problem], previous: Iterable[Condition]) -> tuple[Notice, ...]:
    known = {(c.type, c.reason) for c in previous if c.status is ConditionStatus.TRUE}
    reasons = {ConditionType.NAME_TAKEN: EventReason.NAME_TAKEN}
    return tuple(
        Notice(reasons.get(p.type, EventReason.INVALID_SPEC), p.message, is_warning=True)
        for p in problems
        if (p.type.value, p.reason) not in known
    )


def _requeue_after_s(outcome: Outcome, taken: tuple[ChildKey, ...]) -> float | None:
    waits = [s for s in (outcome.requeue_after_s,) if s is not None]
    if taken:
        waits.append(NAME_TAKEN_RETRY_S)
    if outcome.decision.weights and not outcome.facts.observed.ready_routers:
        waits.append(NO_ROUTER_RETRY_S)
    return min(waits, default=None)


def _url(installation: Installation, key: Key) -> str:
    host = installation.gateway_host.split(".svc")[0]
    return f"http://{host}/{key.namespace}/{key.name}"


def _log_transition(key: Key, was: ModelDeploymentStatus, status: ModelDeploymentStatus) -> None:
    old, new = was.rollout, status.rollout
    if new is None or (
        old is not None
        and (old.phase, old.step_state, old.step_index) == (new.phase, new.step_state, new.step_index)
    ):
        return
    _log.info(
        "rollout key=%s phase=%s step=%d state=%s stable=%s canary=%s weight_percent=%s",
        key,
        new.phase.value,
        new.step_index,
        new.step_state,
        new.stable,
        new.canary,
        new.canary_weight_percent,
    )
