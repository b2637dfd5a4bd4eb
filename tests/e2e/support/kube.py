"""Kubernetes as a user has it: kubectl, with answers as dicts."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")


class KubeError(Exception):
    """kubectl said no; the message is what it printed."""


def wait_for(probe: Callable[[], T | None], *, timeout_s: float, what: str, interval_s: float = 0.5) -> T:
    """Return the first truthy answer of `probe`; fail with the last one after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    got = probe()
    while not got:
        if time.monotonic() > deadline:
            raise AssertionError(f"after {timeout_s:.0f} s still not: {what} (last answer: {got!r})")
        time.sleep(interval_s)
        got = probe()
    return got


@dataclass(frozen=True)
class Kube:
    """One user's kubectl; `as_user` gives the same for somebody with fewer rights."""

    env: dict[str, str] = field(default_factory=lambda: dict(os.environ))
    extra_args: tuple[str, ...] = ()

    def run(self, *args: str, stdin: str | None = None, timeout_s: float = 60) -> str:
        done = subprocess.run(
            ["kubectl", *self.extra_args, *args],
            input=stdin,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        if done.returncode != 0:
            raise KubeError(done.stderr.strip() or done.stdout.strip())
        return done.stdout

    def apply(self, obj: dict[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        flags = ["--dry-run=server"] if dry_run else []
        return json.loads(self.run("apply", *flags, "-o", "json", "-f", "-", stdin=json.dumps(obj)))

    def get(self, kind: str, name: str, namespace: str | None = None) -> dict[str, Any] | None:
        scope = ["-n", namespace] if namespace else []
        with suppress_not_found():
            return json.loads(self.run("get", kind, name, *scope, "-o", "json"))
        return None

    def list(
        self, kind: str, namespace: str | None = None, selector: str | None = None
    ) -> list[dict[str, Any]]:
        scope = ["-n", namespace] if namespace else ["-A"]
        labels = ["-l", selector] if selector else []
        return json.loads(self.run("get", kind, *scope, *labels, "-o", "json"))["items"]

    def delete(self, kind: str, name: str, namespace: str | None = None, *, wait: bool = True) -> None:
        scope = ["-n", namespace] if namespace else []
        self.run(
            "delete", kind, name, *scope, "--ignore-not-found", f"--wait={str(wait).lower()}", timeout_s=180
        )

    def patch(self, kind: str, name: str, namespace: str, patch: dict[str, Any]) -> dict[str, Any]:
        return json.loads(
            self.run(
                "patch", kind, name, "-n", namespace, "--type=merge", "-p", json.dumps(patch), "-o", "json"
            )
        )

    def as_user(self, user: str) -> "Kube":
        return Kube(self.env, (*self.extra_args, f"--as={user}"))

    def condition(self, kind: str, name: str, namespace: str, condition_type: str) -> dict[str, Any] | None:
        obj = self.get(kind, name, namespace) or {}
        found = [c for c in obj.get("status", {}).get("conditions", []) if c["type"] == condition_type]
        return found[0] if found else None

    def wait_condition(
        self,
        name: str,
        namespace: str,
        condition_type: str,
        status: str,
        *,
        reason: str | None = None,
        timeout_s: float = 120,
    ) -> dict[str, Any]:
        def probe() -> dict[str, Any] | None:
            got = self.condition("modeldeployment", name, namespace, condition_type)
            fits = got and got["status"] == status and (reason is None or got["reason"] == reason)
            return got if fits else None

        try:
            return wait_for(
                probe,
                timeout_s=timeout_s,
                what=f"{condition_type}={status} {reason or ''} on {namespace}/{name}",
            )
        except AssertionError as error:
            obj = self.get("modeldeployment", name, namespace) or {}
            raise AssertionError(
                f"{error}\nstatus: {json.dumps(obj.get('status'), indent=1)[:4000]}"
            ) from None


@contextmanager
def suppress_not_found() -> Iterator[None]:
    try:
        yield
    except KubeError as error:
        if "NotFound" not in str(error):
            raise


__all__ = ["Kube", "KubeError", "wait_for"]
