"""The observer process: HTTP API, watch of ModelDeployments, looks at the windows, retention."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import anyio.to_thread
import uvicorn
from perennial_api.arms import Arms
from perennial_api.labels import ServiceAccountRole
from starlette.applications import Starlette

from perennial_observer.api.app import build_app
from perennial_observer.api.context import Context
from perennial_observer.auth import Authenticator, IdentityReader
from perennial_observer.cluster.client import open_client
from perennial_observer.cluster.deployments import DeploymentWatch
from perennial_observer.cluster.identity import ClusterIdentity
from perennial_observer.cluster.reports import ClusterReports
from perennial_observer.comparisons.look import Comparer
from perennial_observer.comparisons.published import read_arms
from perennial_observer.detectors.sidecar import Sidecar
from perennial_observer.errors import DetectorFailure, DetectorUnavailable, ObserverError, Unavailable
from perennial_observer.expiry import Expiry
from perennial_observer.ingest.event_time import EventTimes
from perennial_observer.metrics import Metrics
from perennial_observer.monitors.custom.monitor import CustomCalls, CustomLimits
from perennial_observer.monitors.looks.assessors import Assessors
from perennial_observer.monitors.looks.evaluation import Evaluator
from perennial_observer.monitors.looks.reports import DeploymentReport
from perennial_observer.monitors.references.beside import Beside
from perennial_observer.registry import Registry
from perennial_observer.reporting import Reporter, ReportWriter
from perennial_observer.service_level.metrics import BudgetMetrics
from perennial_observer.service_level.polling import Poller
from perennial_observer.service_level.routers import Routers
from perennial_observer.settings import Settings
from perennial_observer.store.blobs import BlobStore, drop_leftovers
from perennial_observer.store.leases import Leases, fence_store, open_leases
from perennial_observer.store.reference_files import ReferenceFiles
from perennial_observer.store.shelf import Shelf
from perennial_observer.store.store import Store
from perennial_observer.webhooks.sender import Sender

__all__ = ["Observer", "build_observer", "main"]

_LOG = logging.getLogger(__name__)

RETENTION_PAUSE_S = 60.0
# Leases of what one observer does for all deployments.
COMPARISONS, RETENTION = "comparisons", "retention"
# Of the memory for references comparisons may take one part of so many.
COMPARISON_PARTS = 8
# Counts of a comparison are seconds old; they go on without the detectors rather than wait for them.
COMPARISON_TIMEOUT_S = 5.0
# After so many ticks without a finished look the process is taken for stuck, and restarted by its liveness probe.
STUCK_AFTER_S = 600.0
# Times that a lease is renewed before it ends.
RENEWALS = 4


@dataclass
class Observer:
    """The process's parts, tied together; tests build it with another identity reader and report writer."""

    settings: Settings
    store: Store
    registry: Registry
    evaluator: Evaluator
    comparer: Comparer
    reporter: Reporter
    metrics: Metrics
    sidecar: Sidecar
    clock: Callable[[], float]
    expiry: Expiry
    leases: Leases
    make_comparer: Callable[[], Comparer]
    poller: Poller
    sender: Sender
    context: Context | None = None
    last_look: float = field(default_factory=time.monotonic)
    arms: Mapping[str, Arms] = field(default_factory=dict)
    _last_shared: float = float("-inf")
    _comparing: bool = False
    _detectors: str = ""

    async def share(self) -> None:
        """Renew the leases, if it is time: what is held is worked at, the rest is other observers'."""
        if (
            time.monotonic() - self._last_shared < self.settings.lease_s / RENEWALS
            or not self.registry.synced
        ):
            return
        names = {deployment.metadata.uid for deployment in self.registry.all()} | {COMPARISONS, RETENTION}
        try:
            await anyio.to_thread.run_sync(self.leases.refresh, names)
            await anyio.to_thread.run_sync(self.store.measure)
        except ObserverError as error:
            _LOG.warning("leases not renewed reason=%s message=%s", error.reason, error.message)
        except Exception:  # noqa: BLE001  the top of several loops
            _LOG.exception("leases not renewed")
        else:
            self._last_shared = time.monotonic()

    async def tick(self) -> None:
        """Take one look and publish what it found."""
        await self.share()
        started = time.monotonic()
        try:
            reports = await anyio.to_thread.run_sync(self.evaluator.look)
        except Exception:  # noqa: BLE001  the top of a loop
            _LOG.exception("look failed")
            self.metrics.looks.labels("error").inc()
            return
        self.metrics.looks.labels("ok").inc()
        self.metrics.look_seconds.set(time.monotonic() - started)
        self.last_look = time.monotonic()
        self.metrics.keep_only({(d.metadata.namespace, d.metadata.name) for d in self.registry.all()})
        await self._publish(reports)

    async def _publish(self, reports: Mapping[str, DeploymentReport]) -> None:
        """Publish what is still ours to publish: another observer may have found out more since."""
        mine = {uid: report for uid, report in reports.items() if self.leases.holds(uid)}
        try:
            await self.reporter.publish(mine, self.arms)
        except Exception:  # noqa: BLE001  the end of two loops' rounds
            _LOG.exception("reports not published")

    async def compare(self) -> None:
        """Count what revisions that answer side by side have answered, and publish it."""
        await self.share()
        try:
            self.arms = await anyio.to_thread.run_sync(self._count_arms)
        except Exception:  # noqa: BLE001  the top of a loop
            _LOG.exception("comparison failed")
            self.metrics.comparisons.labels("error").inc()
            return
        self.metrics.comparisons.labels("ok").inc()
        await self._publish(self.evaluator.reports)

    def _count_arms(self) -> Mapping[str, Arms]:
        if self.leases.holds(COMPARISONS):
            self._comparing = True
            return self.comparer.look()
        if self._comparing:
            # What it remembers of the log is out of date when the lease comes back.
            self._comparing, self.comparer = False, self.make_comparer()
        return read_arms(self.store, now=self.clock())

    async def run_comparisons(self) -> None:
        """Compare until cancelled."""
        while True:
            if self.registry.synced:
                await self.compare()
            await asyncio.sleep(self.settings.compare_interval_s)

    async def run_sharing(self) -> None:
        """Renew leases until cancelled, also while a look takes long."""
        while True:
            await self.share()
            await asyncio.sleep(self.settings.lease_s / RENEWALS)

    async def run_looks(self) -> None:
        """Look at the windows until cancelled."""
        while True:
            if self.registry.synced:
                await self.tick()
            else:
                self.last_look = time.monotonic()
            await asyncio.sleep(self.settings.tick_s)

    async def run_housekeeping(self) -> None:
        """Apply retention and see whether the sidecar answers, until cancelled."""
        while True:
            await self.keep_house()
            await asyncio.sleep(RETENTION_PAUSE_S)

    async def keep_house(self) -> None:
        """Apply retention and see whether the sidecar answers; neither keeps the other from being done."""
        for task in (self._look_for_detectors, self._expire):
            try:
                await task()
            except Exception:  # noqa: BLE001  the top of a loop
                _LOG.exception("housekeeping failed")

    async def _look_for_detectors(self) -> None:
        try:
            version = await anyio.to_thread.run_sync(self.sidecar.version)
            found = f"alibi-detect {version}"
        except (DetectorUnavailable, DetectorFailure) as error:
            found = f"unavailable: {error.reason}: {error.message}"
        self.metrics.detectors_up.set(not found.startswith("unavailable"))
        if found != self._detectors:
            _LOG.info("detectors %s", found)
            self._detectors = found

    async def _expire(self) -> None:
        if not self.leases.holds(RETENTION):
            return
        try:
            await self.expiry.run()
        except ObserverError as error:
            _LOG.warning("retention failed reason=%s message=%s", error.reason, error.message)

    async def run_service_levels(self) -> None:
        """Ask the gateway's routers what they have counted, until cancelled."""
        await self.poller.run()

    async def check_alive(self) -> None:
        """Raise Unavailable if only a restart helps: it mends no database that is elsewhere."""
        if self.store.is_shared:
            self._check_looks()
        else:
            await self.check_health()

    async def check_health(self) -> None:
        """Raise Unavailable if writing or looking is stuck."""
        try:
            await asyncio.wait_for(asyncio.wrap_future(self.store.writer.submit(lambda _: None, 0)), 30.0)
        except TimeoutError as error:
            raise Unavailable("the database takes no writes", "DatabaseStuck") from error
        self._check_looks()

    def _check_looks(self) -> None:
        if time.monotonic() - self.last_look > STUCK_AFTER_S:
            raise Unavailable("no look has finished for ten minutes", "LooksStuck")

    def close(self) -> None:
        """Give back the leases, write what is queued, and close the database."""
        try:
            self.leases.release()
        except ObserverError as error:
            _LOG.warning("leases not given back reason=%s message=%s", error.reason, error.message)
        self.evaluator.assessors.close()
        self.store.close()


def build_observer(
    settings: Settings,
    *,
    identity: IdentityReader,
    reports: ReportWriter,
    registry: Registry,
    clock: Callable[[], float] = time.time,
) -> Observer:
    """Open the database and tie the parts together. Nothing runs yet."""
    store = Store.open(settings)
    leases = open_leases(store, settings.lease_s, time.monotonic)
    blobs = BlobStore(settings.data_dir / "bundles", settings.max_bundle_bytes, settings.min_free_bytes)
    blobs.prepare()
    drop_leftovers(settings.data_dir, ".export-*")
    sidecar = Sidecar(settings.detector_socket, settings.detector_timeout_s)
    hasty = Sidecar(settings.detector_socket, min(settings.detector_timeout_s, COMPARISON_TIMEOUT_S))
    event_times = EventTimes(store, registry, settings, clock)
    limits = CustomLimits(settings.custom_urls, settings.custom_modules, settings.custom_memory_bytes)
    files = ReferenceFiles(settings.reference_uris, settings.data_dir)
    compared_bytes = settings.max_references_bytes // COMPARISON_PARTS
    evaluator = Evaluator(
        store,
        registry,
        Assessors(
            store,
            sidecar,
            custom=CustomCalls(limits),
            files=files,
            max_bytes=settings.max_references_bytes - compared_bytes,
            shelf=Shelf(settings.data_dir),
            beside=Beside(settings.prepare_wait_s),
        ),
        event_times,
        settings,
        clock,
        leases=leases,
    )

    def make_comparer() -> Comparer:
        fenced = fence_store(store, leases, COMPARISONS)
        assessors = Assessors(
            store, hasty, files=files, max_bytes=compared_bytes, shelf=Shelf(settings.data_dir)
        )
        return Comparer(fenced, registry, assessors, event_times, settings, clock)

    metrics = Metrics(store, lambda: evaluator.reports)
    metrics.registry.register(BudgetMetrics(registry, evaluator.service_levels))
    routers = Routers(settings.router_host, settings.router_port, settings.router_timeout_s)
    observer = Observer(
        settings=settings,
        store=store,
        registry=registry,
        evaluator=evaluator,
        comparer=make_comparer(),
        reporter=Reporter(reports, settings.report_interval_s, settings.compare_interval_s, time.monotonic),
        metrics=metrics,
        sidecar=sidecar,
        clock=clock,
        expiry=Expiry(fence_store(store, leases, RETENTION), registry, settings, clock, time.monotonic),
        leases=leases,
        make_comparer=make_comparer,
        poller=Poller(store, registry, routers, settings.router_interval_s, clock),
        sender=Sender(store, registry, settings.webhooks, clock, metrics.count_webhook),
    )
    observer.context = Context(
        settings=settings,
        store=store,
        blobs=blobs,
        authenticator=Authenticator(identity, settings.auth_cache_s, time.monotonic),
        registry=registry,
        event_times=event_times,
        metrics=metrics,
        clock=clock,
        check_health=observer.check_health,
        check_alive=observer.check_alive,
        reports=lambda: evaluator.reports,
    )
    return observer


@asynccontextmanager
async def _running(*loops: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    tasks = [asyncio.ensure_future(loop()) for loop in loops]
    for task in tasks:
        task.add_done_callback(_stop_if_broken)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _stop_if_broken(task: "asyncio.Future[None]") -> None:
    if not task.cancelled() and task.exception() is not None:
        # A loop that ends leaves a process that looks alive and does nothing.
        _LOG.critical("a background loop ended", exc_info=task.exception())
        raise SystemExit(1)


async def _serve(settings: Settings) -> None:
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(open_client())
        registry = Registry()
        timeout_s = settings.kubernetes_timeout_s
        of_installation = {
            (settings.namespace, settings.pusher_service_account): ServiceAccountRole.PUSHER,
            (settings.namespace, settings.gateway_service_account): ServiceAccountRole.GATEWAY,
        }
        observer = build_observer(
            settings,
            identity=ClusterIdentity(api, settings.audience, of_installation, timeout_s),
            reports=ClusterReports(api, timeout_s),
            registry=registry,
        )
        stack.callback(observer.close)
        watching = DeploymentWatch(api, registry, timeout_s)

        @asynccontextmanager
        async def lifespan(_: Starlette) -> AsyncIterator[None]:
            async with _running(
                watching.run,
                observer.run_sharing,
                observer.run_looks,
                observer.run_comparisons,
                observer.run_housekeeping,
                observer.sender.run,
                observer.run_service_levels,
            ):
                yield

        assert observer.context is not None
        app = build_app(observer.context, lifespan)
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                host=settings.host,
                port=settings.port,
                log_config=None,
                access_log=False,
                limit_concurrency=settings.max_requests,
                timeout_graceful_shutdown=15,
            )
        )
        await server.serve()


def main() -> None:
    """Run until SIGTERM."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    asyncio.run(_serve(Settings()))


if __name__ == "__main__":
    main()
