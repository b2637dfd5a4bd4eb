"""What callers use: `up`, `down`, `status`, `environment`, whatever kind of cluster it is."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from perennial_localcluster import addons, binaries, kind, native, preflight, prometheus
from perennial_localcluster.api import ApiClient
from perennial_localcluster.errors import LocalClusterError, PreconditionError
from perennial_localcluster.paths import Paths, find_paths
from perennial_localcluster.progress import Step, run_steps
from perennial_localcluster.record import Record, find_record, load_record


def up(
    paths: Paths | None = None, *, kubeconfig: Path | None = None, wanted_addons: Sequence[str] = ()
) -> Record:
    """Bring up the cluster, or recover it, and return where it is; does nothing that is done already.

    Parameters
    ----------
    kubeconfig
        Use this cluster instead of making one.
    wanted_addons
        Optional services beside the cluster's own, from :data:`perennial_localcluster.addons.OPTIONAL`;
        those of an earlier `up` stay.
    """
    unknown = sorted(set(wanted_addons) - set(addons.OPTIONAL))
    if unknown:
        raise PreconditionError(
            f"There is no add-on {', '.join(unknown)}. Known are: {', '.join(addons.OPTIONAL)}."
        )
    where = paths or find_paths()
    with _locked(where):
        steps = _build_steps(where, find_record(where), kubeconfig, wanted_addons)
        run_steps(steps, where.durations)
    return load_record(where)


def build(paths: Paths | None = None) -> None:
    """Compile the programs that `up` will need, without starting anything; may run beside everything else."""
    where = paths or find_paths()
    record = find_record(where)
    is_native = record.backend == "native" if record is not None else not kind.is_usable()
    run_steps(binaries.build_steps(where, () if is_native else binaries.CLIENT_TOOLS), where.durations)


def _build_steps(
    paths: Paths, record: Record | None, kubeconfig: Path | None, wanted_addons: Sequence[str]
) -> list[Step]:
    if record is not None and kubeconfig is not None and record.kubeconfig != str(kubeconfig.absolute()):
        raise PreconditionError(
            f"{paths.state} already holds a {record.backend} cluster. Run `perennial-localcluster down` first."
        )
    tools = binaries.build_steps(paths, binaries.CLIENT_TOOLS)
    link = Step("link the tools", 1, lambda: binaries.link_binaries(paths, binaries.CLIENT_TOOLS))
    native_wanted = kubeconfig is None and (
        record.backend == "native" if record is not None else not kind.is_usable()
    )
    if wanted_addons and not native_wanted:
        raise PreconditionError(
            f"Add-ons ({', '.join(wanted_addons)}) come only with the cluster that this command makes by itself. "
            "Install what you need into yours with its own chart."
        )
    given = kubeconfig or (Path(record.kubeconfig) if record and record.backend == "given" else None)
    if given is not None:
        check = Step("check the given cluster", 1, lambda: kind.use_given(paths, given))
        return [check, *tools, link]
    if (record and record.backend == "kind") or (record is None and kind.is_usable()):
        return [Step("create the kind cluster", 60, lambda: kind.up(paths)), *tools, link]
    return native.build_up_steps(paths, wanted_addons)


def down(paths: Paths | None = None, *, purge_cache: bool = False) -> None:
    """Take the cluster away; the cache of binaries and images stays unless ``purge_cache``."""
    where = paths or find_paths()
    record = find_record(where)
    with _locked(where):
        if record is not None and record.backend == "kind":
            kind.down(where)
        elif record is not None and record.backend == "given":
            shutil.rmtree(where.state, ignore_errors=True)
        elif where.state.exists():
            preflight.check_machine()
            native.down(where)
    if purge_cache:
        shutil.rmtree(where.cache, ignore_errors=True)


def build_status(paths: Paths | None = None) -> dict[str, Any]:
    """Return what is known about the cluster, as `status -o json` prints it."""
    where = paths or find_paths()
    record = load_record(where)
    client = ApiClient(Path(record.kubeconfig))
    ready = client.is_ready()
    nodes: list[dict[str, Any]] = []
    if ready:
        for node in client.request("GET", "/api/v1/nodes")["items"]:
            conditions = {item["type"]: item["status"] for item in node["status"]["conditions"]}
            info = node["status"]["nodeInfo"]
            nodes.append(
                {
                    "name": node["metadata"]["name"],
                    "ready": conditions.get("Ready") == "True",
                    "kubelet": info["kubeletVersion"],
                    "runtime": info["containerRuntimeVersion"],
                }
            )
    return {
        "backend": record.backend,
        "state": str(where.state),
        "kubeconfig": record.kubeconfig,
        "apiServer": {
            "address": client.server,
            "ready": ready,
            "version": client.request("GET", "/version")["gitVersion"] if ready else None,
        },
        "nodes": nodes,
        "components": native.build_status(where, record) if record.backend == "native" else [],
    }


def is_healthy(status: dict[str, Any]) -> bool:
    """Whether a status shows nothing amiss; pure, decides the exit status of `status`."""
    parts = [*status["nodes"], *status["components"]]
    return bool(status["nodes"]) and all(part.get("ready", part.get("healthy")) for part in parts)


def build_environment(paths: Paths | None = None) -> dict[str, str]:
    """Return what programs that use the cluster need.

    KUBECONFIG and PATH (with kubectl and helm); of a native cluster also PERENNIAL_AUDIT_LOG, the file
    in which the API server records every write, and PROMETHEUS_URL where that add-on runs.
    """
    where = paths or find_paths()
    record = load_record(where)
    environment = {"KUBECONFIG": record.kubeconfig, "PATH": f"{where.bin}:{os.environ.get('PATH', '')}"}
    if record.backend == "native":
        environment["PERENNIAL_AUDIT_LOG"] = str(where.audit_log)
    if prometheus.NAME in record.addons:
        environment["PROMETHEUS_URL"] = prometheus.build_url(record)
    return environment


@contextmanager
def _locked(paths: Paths) -> Iterator[None]:
    """Let only one `up` or `down` work at a time; the kernel frees the lock of a killed one."""
    paths.cache.mkdir(parents=True, exist_ok=True)
    # In the cache, since `down` deletes the state directory.
    with (paths.cache / f"lock{str(paths.state).replace('/', '_')}").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LocalClusterError(
                "Another `perennial-localcluster up` or `down` is at work. Wait until it has ended."
            ) from error
        yield
