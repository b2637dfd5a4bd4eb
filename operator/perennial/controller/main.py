"""Start the operator's process and keep its parts together: when one ends, all end."""

import asyncio
import logging
import sys
import time
import uuid

import kopf
from aiohttp import web

from perennial.cluster.apply import Applier
from perennial.cluster.client import Client, load_configuration
from perennial.cluster.events import EventPoster
from perennial.cluster.lease import Lease, LeaseSettings
from perennial.cluster.observe import Observer
from perennial.cluster.prometheus import Prometheus
from perennial.cluster.routers import Routers
from perennial.cluster.warmup import Prober
from perennial.controller.autoscaler import Autoscaler
from perennial.controller.http import Health, build_app
from perennial.controller.liveness import WatchMonitor
from perennial.controller.metrics import Metrics
from perennial.controller.queue import WorkQueue
from perennial.controller.readings import Readings
from perennial.controller.reconcile import Reconciler
from perennial.controller.settings import Settings
from perennial.controller.warmups import WarmUps
from perennial.controller.watches import WATCHED_PATHS, build_registry, build_settings
from perennial.controller.workers import Workers
from perennial.manifests.context import Installation
from perennial.rollout.settings import RolloutSettings
from perennial.rollout.warmup import WarmUpPlan

__all__ = ["main"]

_log = logging.getLogger(__name__)

SAMPLE_WATCHES_S = 5.0


def main() -> None:
    """Run the operator until it is told to stop."""
    settings = Settings()
    logging.basicConfig(
        level=settings.log_level,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
        stream=sys.stderr,
    )
    # Kopf reports every handler call at INFO; our handlers only enqueue.
    logging.getLogger("kopf").setLevel(logging.WARNING)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    asyncio.run(run(settings))


async def run(settings: Settings) -> None:
    """Wire the parts and run them until Kopf ends, which it does on SIGTERM or when a watch dies."""
    configuration = await load_configuration(settings.kubeconfig)
    client = Client(configuration, settings.api_timeout_s)
    routers = build_routers(client, settings)
    lease = build_lease(client, settings)
    metrics = Metrics()
    queue = WorkQueue()
    warm_ups = WarmUps(Prober(client, WarmUpPlan()).measure, queue.add)
    autoscaler = Autoscaler(
        routers, interval_s=settings.scaling_interval_s, window_s=settings.scaling_window_s
    )
    prometheus = Prometheus(settings.prometheus_addresses, timeout_s=settings.prometheus_timeout_s)
    readings = Readings(prometheus.observe)
    workers = build_workers(
        client,
        routers,
        lease,
        metrics,
        settings,
        queue=queue,
        warm_ups=warm_ups,
        readings=readings,
        autoscaler=autoscaler,
    )

    async def stop_working() -> None:
        await workers.stop()
        await warm_ups.close()
        await readings.close()

    monitor = WatchMonitor(WATCHED_PATHS)
    health = Health(
        watch_ages_s=monitor.ages_s,
        lease_age_s=lambda: time.monotonic() - lease.last_attempt_at,
        is_leader=lambda: lease.is_held,
        watch_max_age_s=settings.watch_max_age_s,
        lease_max_age_s=settings.lease_duration_s + 2 * settings.api_timeout_s,
    )
    runner = web.AppRunner(build_app(health, metrics.registry), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, settings.http_host, settings.http_port).start()
    registry = build_registry(configuration, monitor, workers.add, workers.add_all)
    parts = [
        asyncio.create_task(lease.run(workers.start, stop_working), name="lease"),
        asyncio.create_task(_sample(monitor), name="sample-watches"),
        asyncio.create_task(autoscaler.run(workers.add), name="autoscaler"),
        asyncio.create_task(
            kopf.operator(registry=registry, settings=build_settings(), clusterwide=True, standalone=True),
            name="kopf",
        ),
    ]
    try:
        ended, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for part in parts:
            part.cancel()
        await asyncio.gather(*parts, return_exceptions=True)
        await stop_working()
        await lease.release()
        await runner.cleanup()
        await routers.close()
        await prometheus.close()
        await client.close()
    for part in ended:
        part.result()


def build_routers(client: Client, settings: Settings) -> Routers:
    """Build the reader of the gateway's routers."""
    return Routers(
        client,
        namespace=settings.namespace,
        selector=settings.gateway_selector,
        port=settings.router_port,
        timeout_s=settings.router_timeout_s,
        max_age_s=settings.router_max_age_s,
    )


def build_lease(client: Client, settings: Settings) -> Lease:
    """Build the lease; the identity differs after each start, so that a restart is no continuation."""
    return Lease(
        client,
        LeaseSettings(
            namespace=settings.namespace,
            name=settings.lease_name,
            identity=f"{settings.pod_name}_{uuid.uuid4().hex[:8]}",
            duration_s=settings.lease_duration_s,
            renew_deadline_s=settings.lease_renew_deadline_s,
            retry_s=settings.lease_retry_s,
        ),
    )


def build_workers(
    client: Client,
    routers: Routers,
    lease: Lease,
    metrics: Metrics,
    settings: Settings,
    *,
    queue: WorkQueue,
    warm_ups: WarmUps,
    readings: Readings,
    autoscaler: Autoscaler,
) -> Workers:
    """Build the workers and what a pass needs."""
    reconciler = Reconciler(
        client,
        Observer(client, routers),
        Applier(client, lambda: lease.is_held),
        EventPoster(client, settings.pod_name),
        metrics,
        warm_ups=warm_ups,
        readings=readings,
        autoscaler=autoscaler,
        installation=Installation(
            gateway_host=settings.gateway_host,
            observer_url=settings.observer_url,
            job_deadline_s=settings.job_deadline_s,
        ),
        rollout_settings=RolloutSettings(
            drain_timeout_s=settings.drain_timeout_s,
            verify_interval_s=settings.verify_interval_s,
        ),
        monitor_refresh_s=settings.monitor_refresh_s,
    )
    return Workers(
        client,
        queue,
        reconciler.reconcile,
        metrics,
        count=settings.workers,
        pass_timeout_s=settings.pass_timeout_s,
        resync_s=settings.resync_s,
    )


async def _sample(monitor: WatchMonitor) -> None:
    while True:
        monitor.ages_s()
        await asyncio.sleep(SAMPLE_WATCHES_S)
