"""All reads of a pass, live from the API server, in one frozen result."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from perennial_api.gateway_log import LoggedBy
from perennial_api.labels import LABEL_DEPLOYMENT
from perennial_api.modelrevision import ModelRevision, RuntimeKind
from perennial_api.modelruntime import ModelRuntimeSpec, RuntimeRole
from perennial_api.monitorreport import MonitorReport
from perennial_api.retrainingrun import RetrainingRun
from pydantic import ValidationError

from perennial.cluster.client import Client
from perennial.cluster.routers import Routers
from perennial.errors import InvalidSpecError, NotFoundError
from perennial.manifests.plan import Key, key_of, owner_uids
from perennial.manifests.revision import ResolvedRuntime
from perennial.manifests.upstream import describe_adapter
from perennial.manifests.views import count_ready_endpoints, view_job, view_pod, view_revisions, view_route
from perennial.rollout.failures import PodView
from perennial.rollout.observed import RevisionView, RouterView, RouteView
from perennial.rollout.runs import JobView

__all__ = ["Children", "Observer", "Runtimes", "observe_deployment", "observe_runtimes"]

CHILD_KINDS = (
    "ServiceAccount",
    "Service",
    "Deployment",
    "HorizontalPodAutoscaler",
    "ModelRevision",
    "ModelRoute",
    "RetrainingRun",
    "Job",
)

# One environment variable of a process holds no more than 128 KiB.
LONGEST_DECLARATION = 100_000

Json = dict[str, Any]
_ModelT = TypeVar("_ModelT", ModelRevision, RetrainingRun)


@dataclass(frozen=True, slots=True)
class Children:
    """What exists of one ModelDeployment.

    Attributes
    ----------
    stored
        Every child as read, by kind and name, whoever owns it.
    ours
        Uids of the ModelDeployment and of its runs, by which ownership is told.
    revisions, views
        The revisions that are ours, and the views that decisions use.
    runs, jobs
        Retraining runs that are ours, oldest first, and their Jobs by name.
    report
        The observer's, or None.
    """

    stored: Mapping[Key, Json]
    ours: frozenset[str]
    revisions: Mapping[str, ModelRevision]
    views: Mapping[str, RevisionView]
    route: RouteView | None
    routers: tuple[RouterView, ...]
    runs: tuple[RetrainingRun, ...]
    jobs: Mapping[str, JobView]
    report: MonitorReport | None


@dataclass(frozen=True, slots=True)
class Runtimes:
    """The runtimes that the spec names, each found, or why it wasn't."""

    server: ResolvedRuntime | InvalidSpecError
    trainer: ResolvedRuntime | InvalidSpecError | None = None


class Observer:
    """Reads everything that a pass needs."""

    def __init__(self, client: Client, routers: Routers) -> None:
        self._client = client
        self._routers = routers

    async def observe_children(self, namespace: str, name: str, uid: str) -> Children:
        """Read the children of one ModelDeployment, and the routers.

        Raises
        ------
        InvalidSpecError
            If a revision or run that is ours can't be read: acting without it could stop what serves.
        """
        selector = f"{LABEL_DEPLOYMENT}={name}"
        lists = [
            self._client.list(kind, namespace, selector) for kind in (*CHILD_KINDS, "Pod", "EndpointSlice")
        ]
        found, report, routers = await asyncio.gather(
            asyncio.gather(*lists), self._get_report(namespace, name, uid), self._routers.observe()
        )
        *children, pods, slices = found
        stored = {key_of(child): child for kind in children for child in kind}
        revisions = _parse(ModelRevision, stored, "ModelRevision", uid)
        runs = _parse(RetrainingRun, stored, "RetrainingRun", uid)
        ours = frozenset({uid} | {run.metadata.uid for run in runs.values()})
        pod_views = [view_pod(pod) for pod in pods]
        return Children(
            stored=stored,
            ours=ours,
            revisions=revisions,
            views=_view_revisions(revisions, stored, pod_views, slices, ours),
            route=view_route(_ours(stored.get(Key("ModelRoute", name)), ours)),
            routers=routers.view(namespace, name),
            runs=tuple(
                sorted(runs.values(), key=lambda r: (str(r.metadata.creation_timestamp), r.metadata.name))
            ),
            jobs={
                key.name: view_job(job, pod_views)
                for key, job in stored.items()
                if key.kind == "Job" and owner_uids(job) & ours
            },
            report=report,
        )

    async def _get_report(self, namespace: str, name: str, uid: str) -> MonitorReport | None:
        try:
            stored = await self._client.get("MonitorReport", namespace, name)
            return MonitorReport.model_validate(stored) if uid in owner_uids(stored) else None
        except (NotFoundError, ValidationError):
            return None


def _view_revisions(
    revisions: Mapping[str, ModelRevision],
    stored: Mapping[Key, Json],
    pods: list[PodView],
    slices: list[Json],
    ours: frozenset[str],
) -> dict[str, RevisionView]:
    running = {
        key.name
        for key, child in stored.items()
        if key.kind in {"Deployment", "Service"} and owner_uids(child) & ours
    }
    return view_revisions(revisions.values(), running, pods, count_ready_endpoints(slices))


def _ours(stored: Json | None, ours: frozenset[str]) -> Json | None:
    return stored if stored is not None and owner_uids(stored) & ours else None


def _parse(model: type[_ModelT], stored: Mapping[Key, Json], kind: str, uid: str) -> dict[str, _ModelT]:
    parsed: dict[str, _ModelT] = {}
    for key, child in stored.items():
        if key.kind != kind or uid not in owner_uids(child):
            continue
        try:
            parsed[key.name] = model.model_validate(child)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise InvalidSpecError(
                "UnreadableChild", f"{kind} {key.name} can't be read at {where}: {first['msg']}. Delete it."
            ) from error
    return parsed


async def observe_deployment(client: Client, namespace: str, name: str) -> Json | None:
    """Read a ModelDeployment as stored; None if it is gone."""
    try:
        return await client.get("ModelDeployment", namespace, name)
    except NotFoundError:
        return None


async def observe_runtimes(client: Client, namespace: str, server: str, trainer: str | None) -> Runtimes:
    """Read the runtimes that a spec names; `trainer` is None where nothing is retrained."""
    found = await _observe_server(client, namespace, server)
    if trainer is None:
        return Runtimes(found)
    return Runtimes(found, await _observe_runtime(client, namespace, trainer, RuntimeRole.TRAINER))


async def _observe_server(client: Client, namespace: str, name: str) -> ResolvedRuntime | InvalidSpecError:
    """Find the runtime that serves; where the model is in its image, that of the server before it, too."""
    found = await _observe_runtime(client, namespace, name, RuntimeRole.SERVER)
    if isinstance(found, InvalidSpecError) or found.spec.adapter is None:
        return found
    if len(describe_adapter(found.spec)) > LONGEST_DECLARATION:
        text = f"adapter of {found.kind} {name} is longer than {LONGEST_DECLARATION} characters: name fewer categories."
        return InvalidSpecError("RuntimeInvalid", text)
    before = await _observe_runtime(client, namespace, found.spec.adapter.runtime, RuntimeRole.SERVER)
    if isinstance(before, InvalidSpecError):
        return InvalidSpecError(before.reason, f"adapter.runtime of {found.kind} {name}: {before.message}")
    if before.spec.adapter is not None or before.spec.logged_by is LoggedBy.GATEWAY:
        text = (
            f"adapter.runtime of {found.kind} {name}: {before.kind} {before.name} is no server of Perennial's: "
            "name a runtime that serves bundles, such as bentoml-skops."
        )
        return InvalidSpecError("RuntimeInvalid", text)
    return replace(found, adapter=before.spec)


async def _observe_runtime(
    client: Client, namespace: str, name: str, role: RuntimeRole
) -> ResolvedRuntime | InvalidSpecError:
    """Find a runtime in the namespace or else in the cluster, or say what is wrong with it."""
    for kind in RuntimeKind:
        try:
            stored = await client.get(kind.value, namespace, name)
            spec = ModelRuntimeSpec.model_validate(stored["spec"])
        except NotFoundError:
            continue
        except ValidationError as error:
            said = error.errors()[0]["msg"]
            return InvalidSpecError("RuntimeInvalid", f"{kind} {name} can't be read: {said}")
        if spec.role is not role:
            text = f"{kind} {name} has role {spec.role}, not {role}: name one of role {role}."
            return InvalidSpecError("RuntimeOfOtherRole", text)
        return ResolvedRuntime(kind, name, spec)
    text = f"There is no ModelRuntime {name} in {namespace} and no ClusterModelRuntime {name}: make one or name another."
    return InvalidSpecError("RuntimeNotFound", text)
