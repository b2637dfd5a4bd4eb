"""An API server in memory: versions, owners, conflicts; Deployments that become ready; a router that follows.

It stands in for `cluster.client.Client`, so that whole passes run in a unit test, and can break off at any write.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from perennial.cluster.apply import Applier
from perennial.cluster.client import FIELD_MANAGER
from perennial.cluster.events import EventPoster
from perennial.cluster.observe import Observer
from perennial.cluster.routers import RouterSnapshot, _Counters, _Route, _Status
from perennial.controller.autoscaler import Autoscaler
from perennial.controller.metrics import Metrics
from perennial.controller.queue import Key
from perennial.controller.readings import Readings
from perennial.controller.reconcile import Reconciler
from perennial.controller.warmups import WarmUps
from perennial.errors import AlreadyExistsError, ConflictError, NotFoundError
from perennial.manifests.context import Installation
from perennial.rollout.observed import Reading
from perennial.rollout.settings import RolloutSettings
from perennial.rollout.warmup import Measurement
from perennial_api.modeldeployment.analysis import Metric

from tests.unit.operator.builders import NOW

Json = dict[str, Any]
Jsons = list[Json]
INSTALLATION = Installation(gateway_host="gateway.system.svc.cluster.local", observer_url="http://observer")
WINE = Key("shop", "wine")


class CrashError(BaseException):
    """The operator is killed here."""


@dataclass
class FakeCluster:
    """The API server, and the controllers and routers that follow it."""

    now: datetime = NOW
    objects: dict[tuple[str, str, str], Json] = field(default_factory=dict)
    writes: list[tuple[str, str, str]] = field(default_factory=list)
    crash_at: int | None = None
    crash_after: bool = False
    unready: set[str] = field(default_factory=set)
    error_share: dict[str, float] = field(default_factory=dict)
    requests_per_turn: int = 0
    counters: dict[str, _Counters] = field(default_factory=dict)
    events: list[tuple[str, str]] = field(default_factory=list)
    warm_up: Measurement = field(default_factory=lambda: Measurement((10.0,) * 200))
    warmed_up: list[Key] = field(default_factory=list)
    reading: Reading = field(default_factory=Reading)
    questions: list[Mapping[str, str]] = field(default_factory=list)
    _version: int = 100

    # Deployments whose number of pods was set through /scale: of others the number goes when no manifest has it.
    scaled: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.autoscaler = Autoscaler(
            self,
            interval_s=1.0,
            window_s=3.0,
            clock=lambda: self.now,
            monotonic=self._seconds,
        )

    def _seconds(self) -> float:
        return self.now.timestamp()

    # What the operator calls.

    async def get(self, kind: str, namespace: str | None, name: str) -> Json:
        found = self.find(kind, name, namespace or "")
        if found is None and kind.startswith("Cluster"):
            found = self.find(kind, name, "")
        if found is None:
            raise NotFoundError(f"{kind} {name}")
        return _copied(found)

    async def list(self, kind: str, namespace: str | None = None, selector: str = "") -> Jsons:
        wanted = dict(part.split("=") for part in selector.split(",") if part)
        return [
            _copied(o)
            for (k, ns, _), o in sorted(self.objects.items())
            if k == kind
            and namespace in (None, ns)
            and wanted.items() <= (o["metadata"].get("labels") or {}).items()
        ]

    async def create(self, body: Mapping[str, Any]) -> Json:
        return self._write("create", body, self._create)

    async def create_applied(self, body: Mapping[str, Any]) -> Json:
        return self._write("create", body, lambda body: self._create(_manage(body)))

    async def apply(self, body: Mapping[str, Any], uid: str, resource_version: str) -> Json:
        def do(body: Json) -> Json:
            stored = self._check(body, uid, resource_version)
            changed = {**body, "metadata": {**stored["metadata"], **body["metadata"]}}
            if "status" in stored:
                changed["status"] = stored["status"]
            changed = _manage(changed)
            if body["kind"] == "Deployment" and body["metadata"]["name"] in self.scaled:
                changed["spec"] = {"replicas": stored["spec"]["replicas"], **changed["spec"]}
            if stored.get("spec") != changed.get("spec"):
                changed["metadata"]["generation"] = stored["metadata"]["generation"] + 1
            return self._store(changed)

        return self._write("apply", body, do)

    async def apply_subresource(
        self, kind: str, namespace: str, name: str, subresource: str, body: Mapping[str, Any], *, manager: str
    ) -> Json:
        assert (kind, subresource) == ("Deployment", "scale")

        def do(body: Json) -> Json:
            wanted = body["metadata"]
            stored = self._check({**body, "kind": kind}, wanted["uid"], wanted["resourceVersion"])
            self.scaled.add(body["metadata"]["name"])
            fields = {"f:spec": {"f:replicas": {}}}
            entry = {"manager": manager, "operation": "Apply", "subresource": "scale", "fieldsV1": fields}
            metadata = {**stored["metadata"], "managedFields": [*stored["metadata"]["managedFields"], entry]}
            return self._store({**stored, "metadata": metadata, "spec": {**stored["spec"], **body["spec"]}})

        return self._write("scale", {**body, "kind": kind}, do)

    async def replace(self, body: Mapping[str, Any], subresource: str | None = None) -> Json:
        assert subresource == "status"

        def do(body: Json) -> Json:
            metadata = body["metadata"]
            stored = self._check(body, metadata["uid"], metadata["resourceVersion"])
            return self._store({**stored, "status": body["status"]})

        return self._write("status", body, do)

    async def delete(self, kind: str, namespace: str, name: str, *, uid: str, resource_version: str) -> None:
        body = {"kind": kind, "metadata": {"name": name, "namespace": namespace}}

        def do(body: Json) -> Json:
            self._check(body, uid, resource_version)
            return self.objects.pop((kind, namespace, name))

        self._write("delete", body, do)

    async def observe(self) -> RouterSnapshot:
        """Stand in for the routers: one that follows every route at once."""
        routes = {
            f"{ns}/{name}": _Route(
                uid=o["metadata"]["uid"], generation=o["metadata"]["generation"], state="Applied"
            )
            for (kind, ns, name), o in self.objects.items()
            if kind == "ModelRoute"
        }
        return RouterSnapshot(
            {"router-a": True}, {"router-a": _Status(epoch="e", routes=routes, counters=self.counters)}
        )

    async def _measure(self, namespace: str, model: str, revision: str, port: int) -> Measurement:
        """Stand in for the revision's pods."""
        return self.warm_up

    async def _answer(self, metrics: Iterable[Metric], names: Mapping[str, str]) -> dict[str, Reading]:
        """Stand in for Prometheus."""
        self.questions.append(names)
        return {metric.name: self.reading for metric in metrics}

    # What tests call.

    def find(self, kind: str, name: str, namespace: str = "shop") -> Json | None:
        return self.objects.get((kind, namespace, name))

    def add(self, body: Json) -> Json:
        """Store an object as somebody else would."""
        return self._create(_copied(body))

    def edit(self, kind: str, name: str, change: Callable[[Json], None], namespace: str = "shop") -> None:
        stored = _copied(self.objects[kind, namespace, name])
        change(stored["spec"])
        stored["metadata"]["generation"] += 1
        self._store(stored)

    def reconciler(self) -> Reconciler:
        """Build an operator that has just started."""
        client: Any = self
        return Reconciler(
            client,
            Observer(client, client),
            Applier(client, lambda: True),
            EventPoster(client, "test"),
            Metrics(),
            warm_ups=WarmUps(self._measure, self.warmed_up.append, clock=lambda: self.now),
            readings=Readings(self._answer, clock=lambda: self.now),
            autoscaler=self.autoscaler,
            installation=INSTALLATION,
            rollout_settings=RolloutSettings(),
            monitor_refresh_s=60,
            clock=lambda: self.now,
        )

    async def run(self, turns: int, reconciler: Reconciler | None = None) -> None:
        """Do passes, a second apart; a conflict or a crash begins the next one."""
        reconciler = reconciler or self.reconciler()
        for _ in range(turns):
            try:
                await reconciler.reconcile(WINE)
            except ConflictError:
                pass
            except CrashError:
                reconciler = self.reconciler()
            self.follow()

    def follow(self) -> None:
        """Let the other controllers work: endpoints, traffic, time."""
        for (kind, namespace, name), stored in list(self.objects.items()):
            if kind == "Service" and stored["spec"].get("selector"):
                ready = ("Deployment", namespace, name) in self.objects and name not in self.unready
                self.objects["EndpointSlice", namespace, name] = self._slice(stored, ready=ready)
            if kind == "EndpointSlice" and ("Service", namespace, name) not in self.objects:
                del self.objects[kind, namespace, name]
        for (kind, namespace, _), stored in self.objects.items():
            if kind == "ModelRoute" and self.requests_per_turn:
                self._serve(namespace, stored["spec"]["revisions"])
        self.now += timedelta(seconds=1)

    def _serve(self, namespace: str, revisions: Jsons) -> None:
        for revision in revisions:
            key = f"{namespace}/{revision['name']}"
            old = self.counters.get(key, _Counters(requests=0, errors=0))
            requests = round(self.requests_per_turn * revision["weightPercent"] / 100)
            errors = round(requests * self.error_share.get(revision["name"], 0.0))
            self.counters[key] = _Counters(requests=old.requests + requests, errors=old.errors + errors)

    def _slice(self, service: Json, *, ready: bool) -> Json:
        metadata = service["metadata"]
        labels = metadata["labels"] | {
            "kubernetes.io/service-name": metadata["name"],
            "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
        }
        return {
            "kind": "EndpointSlice",
            "metadata": {**metadata, "labels": labels},
            "endpoints": [{"conditions": {"ready": ready}}],
        }

    def _write(self, verb: str, body: Mapping[str, Any], do: Callable[[Json], Json]) -> Json:
        body = _copied(dict(body))
        if body["kind"] == "Event":
            self.events.append((body["reason"], body["note"]))
            return body
        number = len(self.writes) + 1
        if self.crash_at == number and not self.crash_after:
            self.crash_at = None
            raise CrashError
        done = do(body)
        self.writes.append((verb, body["kind"], body["metadata"]["name"]))
        if self.crash_at == number:
            self.crash_at = None
            raise CrashError
        return _copied(done)

    def _create(self, body: Json) -> Json:
        metadata = body["metadata"]
        key = (body["kind"], metadata.get("namespace", ""), metadata["name"])
        if key in self.objects:
            raise AlreadyExistsError(str(key))
        self._version += 1
        defaults = {
            "uid": f"uid-{self._version}",
            "generation": 1,
            "creationTimestamp": self.now.isoformat(),
        }
        return self._store({**body, "metadata": defaults | metadata})

    def _check(self, body: Json, uid: str, version: str) -> Json:
        metadata = body["metadata"]
        stored = self.find(body["kind"], metadata["name"], metadata.get("namespace", ""))
        if stored is None:
            raise NotFoundError(metadata["name"])
        if (stored["metadata"]["uid"], stored["metadata"]["resourceVersion"]) != (uid, version):
            raise ConflictError(metadata["name"])
        return stored

    def _store(self, body: Json) -> Json:
        self._version += 1
        body["metadata"]["resourceVersion"] = str(self._version)
        metadata = body["metadata"]
        self.objects[body["kind"], metadata.get("namespace", ""), metadata["name"]] = body
        return body


def _copied(value: Any) -> Any:
    """Copy plain JSON: much faster than the general way, and a pass does little else against this cluster."""
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copied(item) for item in value]
    return value


def _manage(body: Json) -> Json:
    """Note, as the API server does, whether the manifest sets a Deployment's number of pods."""
    if body["kind"] != "Deployment":
        return body
    fields = {"f:spec": {"f:replicas": {}} if "replicas" in body["spec"] else {}}
    entry = {"manager": FIELD_MANAGER, "operation": "Apply", "fieldsV1": fields}
    return {**body, "metadata": {**body["metadata"], "managedFields": [entry]}}
