"""kubectl as the demo's person at the keyboard uses it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TIMEOUT_S = 60.0


class CommandError(Exception):
    """A command failed; the message is what it printed."""


@dataclass(frozen=True)
class Kube:
    """Runs kubectl and its plugin with the environment of one cluster."""

    environment: Mapping[str, str]

    def run(self, *arguments: str, stdin: str | None = None, timeout_s: float = TIMEOUT_S) -> str:
        """Run ``kubectl`` and return what it printed."""
        return self._run(["kubectl", *arguments], stdin, timeout_s)

    def push(self, path: Path) -> str:
        """Run ``kubectl perennial push`` and return the URI."""
        plugin = str(Path(sys.executable).with_name("kubectl-perennial"))
        answer: dict[str, str] = json.loads(self._run([plugin, "push", str(path), "-o", "json"], None, 300))
        return answer["uri"]

    def get(self, kind: str, name: str, namespace: str) -> dict[str, Any] | None:
        """Return one object, or None where there is none."""
        text = self.run("get", kind, name, "-n", namespace, "--ignore-not-found", "-o", "json")
        found: dict[str, Any] | None = json.loads(text) if text.strip() else None
        return found

    def list_all(self, kind: str, namespace: str) -> list[dict[str, Any]]:
        """Return all objects of a kind in a namespace."""
        items: list[dict[str, Any]] = json.loads(self.run("get", kind, "-n", namespace, "-o", "json"))[
            "items"
        ]
        return items

    def _run(self, command: list[str], stdin: str | None, timeout_s: float) -> str:
        done = subprocess.run(
            command,
            input=stdin,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        if done.returncode != 0:
            raise CommandError(f"{' '.join(command[:6])}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout
