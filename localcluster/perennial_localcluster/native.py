"""The native one-node cluster: brings it up from any state, and takes it down."""

from __future__ import annotations

import contextlib
import datetime as dt
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace

from perennial_localcluster import (
    addons,
    binaries,
    certificates,
    cleanup,
    configs,
    debian,
    health,
    metrics,
    network,
    preflight,
    processes,
    prometheus,
    runtime,
    snapshot,
    sysctls,
)
from perennial_localcluster.api import ApiClient, ApiError
from perennial_localcluster.errors import LocalClusterError, NotRunningError
from perennial_localcluster.paths import Paths
from perennial_localcluster.progress import Step
from perennial_localcluster.record import Record, find_record, save_record, write_atomically
from perennial_localcluster.services import Service, build_services

NODE_NAME = "perennial"
LAST_STAGE = 3


def build_up_steps(paths: Paths, wanted_addons: Sequence[str] = ()) -> list[Step]:
    """Return the steps that lead from whatever is there to a Ready node; called by `cluster.up`.

    Every step looks first and does only what is missing, so the same steps serve a first
    start, a second one, and one after a crash or a reboot. Add-ons that an earlier one asked
    for stay.
    """
    preflight.check_machine()
    packages = [Step("install Debian packages", 25, debian.install_missing)] if debian.find_missing() else []
    record = find_record(paths)
    chosen = {*wanted_addons, *(record.addons if record else ())}
    fetched = prometheus.find_cached(paths).exists() or prometheus.NAME not in chosen
    return [
        *packages,
        *([] if fetched else [Step("fetch Prometheus", 6, lambda: prometheus.fetch(paths))]),
        *binaries.build_steps(paths),
        Step("prepare the node", 1, lambda: _prepare(paths, wanted_addons)),
        Step("start containerd, etcd and the API server", 5, lambda: _start_first(paths)),
        Step("start the other components", 3, lambda: _start_rest(paths)),
        Step("wait for the node to be Ready", 2, lambda: _wait_for_node(paths)),
    ]


def _prepare(paths: Paths, wanted_addons: Sequence[str]) -> None:
    """Everything before the first process; the picture of the machine comes before any change."""
    record = find_record(paths)
    if record is None:
        taken = snapshot.render(snapshot.observe(paths.state)) if not paths.snapshot.exists() else None
        node_ip, pods, services = network.build_addresses()
        mtu = network.observe_mtu()
        record = Record("native", str(paths.kubeconfig), NODE_NAME, node_ip, pods, services, mtu)
        paths.state.mkdir(parents=True, exist_ok=True, mode=0o711)
        if taken is not None:
            write_atomically(paths.snapshot, taken)
        save_record(paths, record)
    addons_now = tuple(sorted({*record.addons, *wanted_addons}))
    if addons_now != record.addons:
        record = replace(record, addons=addons_now)
        save_record(paths, record)
    services_now = _build_services(paths, record)
    _stop_outdated(paths, services_now)
    dead = [service for service in services_now if not processes.find(service.name, pids=paths.pids)]
    if any(service.name == "containerd" for service in dead):
        # Its containers have no parent that could end them; a kubelet that still runs would only fail.
        _stop_services(paths, [service for service in services_now if service.name == "kubelet"])
        cleanup.clean_node(paths, record)
    preflight.check_ports(dead)
    binaries.link_binaries(paths)
    certificates.write_all(paths.pki, record)
    configs.write_all(paths, record)
    paths.run.mkdir(exist_ok=True)
    sysctls.apply()
    network.apply_bridge(record)
    network.apply_rules(record)


def _start_first(paths: Paths) -> None:
    record = _get_record(paths)
    _start_stage(paths, record, 0)
    _start_stage(paths, record, 1)
    runtime.load_pause_image(paths)


def _start_rest(paths: Paths) -> None:
    record = _get_record(paths)
    client = ApiClient(paths.kubeconfig)
    authority = (paths.pki / "ca.crt").read_text()
    _start_stage(paths, record, 2, wait=False)
    health.wait_for(
        "the objects of the cluster's own services",
        lambda: _try_call(lambda: addons.apply_all(client, record, authority)),
        paths,
        "kube-apiserver",
    )
    _start_stage(paths, record, LAST_STAGE, wait=False)
    for service in _build_services(paths, record):
        health.wait_until_healthy(service, paths)


def _wait_for_node(paths: Paths) -> None:
    client = ApiClient(paths.kubeconfig)
    default = "/api/v1/namespaces/default/serviceaccounts/default"
    health.wait_for("a Ready node", lambda: is_node_ready(client, paths), paths, "kubelet")
    # Until it exists the API server refuses every pod.
    health.wait_for(
        "the default service account",
        lambda: _try_call(lambda: client.request("GET", default)),
        paths,
        "kube-controller-manager",
    )
    # As long as a registered API does not answer, namespaces are not deleted and Helm refuses to work.
    health.wait_for(
        "the metrics API",
        lambda: _try_call(lambda: client.request("GET", metrics.GROUP_PATH)),
        paths,
        metrics.NAME,
    )


def _try_call(call: Callable[[], object]) -> bool:
    """Whether an API call works by now; a namespace or a right may not exist yet just after the start."""
    try:
        call()
    except (ApiError, NotRunningError):
        return False
    return True


def is_node_ready(client: ApiClient, paths: Paths) -> bool:
    """Whether the node is Ready by the word of the kubelet that runs now, not of one that was killed."""
    try:
        node = client.request("GET", f"/api/v1/nodes/{NODE_NAME}")
    except LocalClusterError:
        return False
    taints = {taint["key"] for taint in node["spec"].get("taints", [])}
    ready = next((item for item in node["status"].get("conditions", []) if item["type"] == "Ready"), None)
    if ready is None or ready["status"] != "True" or "node.kubernetes.io/not-ready" in taints:
        return False
    # Heartbeats have whole seconds.
    started_s = int((paths.pids / "kubelet.json").stat().st_mtime)
    return dt.datetime.fromisoformat(ready["lastHeartbeatTime"]).timestamp() >= started_s


def _start_stage(paths: Paths, record: Record, stage: int, *, wait: bool = True) -> None:
    wanted = [service for service in _build_services(paths, record) if service.stage == stage]
    for service in wanted:
        if processes.find(service.name, pids=paths.pids) is None:
            processes.start(service.name, service.command, pids=paths.pids, logs=paths.logs)
    for service in wanted if wait else []:
        health.wait_until_healthy(service, paths)


def _stop_outdated(paths: Paths, services: list[Service]) -> None:
    """Stop components that were started with other flags, so that an upgrade takes effect.

    Not containerd: that would restart every pod.
    """
    for service in services:
        found = processes.find(service.name, pids=paths.pids)
        if found and found.command != service.command and service.name != "containerd":
            processes.stop([found])


def down(paths: Paths) -> None:
    """End the cluster and restore the machine; works on any half-made or half-dead state."""
    record = find_record(paths)
    if record is not None:
        services = _build_services(paths, record)
        # The kubelet goes first: it would start again what is being ended. Clients go before servers,
        # since a component without the one that it talks to takes long to end.
        _stop_services(paths, [service for service in services if service.name == "kubelet"])
        for stage in range(LAST_STAGE, -1, -1):
            _stop_services(paths, [service for service in services if service.stage == stage])
        cleanup.clean_node(paths, record)
    if paths.snapshot.exists():
        before = snapshot.parse(paths.snapshot.read_text())
        cleanup.clean_machine(paths, before)
        sysctls.restore(before.sysctls)
    else:
        shutil.rmtree(paths.state, ignore_errors=True)


def _stop_services(paths: Paths, services: list[Service]) -> None:
    found = (processes.find(service.name, pids=paths.pids) for service in services)
    processes.stop(record for record in found if record is not None)


def build_status(paths: Paths, record: Record) -> list[dict[str, object]]:
    """Return name, pid and health of every component, for `status`."""
    rows: list[dict[str, object]] = []
    for service in _build_services(paths, record):
        found = processes.find(service.name, pids=paths.pids)
        healthy = False
        if found is not None:
            with contextlib.suppress(LocalClusterError):
                healthy = health.is_healthy(service, paths.pki / "ca.crt")
        rows.append({"component": service.name, "pid": found.pid if found else None, "healthy": healthy})
    return rows


def _build_services(paths: Paths, record: Record) -> list[Service]:
    path = shutil.which("containerd", path="/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin")
    return build_services(paths, record, path or "containerd")


def _get_record(paths: Paths) -> Record:
    record = find_record(paths)
    if record is None:
        raise NotRunningError(f"{paths.record} vanished while the cluster was starting; run `up` again.")
    return record
