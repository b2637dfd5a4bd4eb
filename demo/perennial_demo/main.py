"""The main job on real data: serve, watch, retrain, promote, and stop a bad version.

Every wait has a limit, no question is asked, and the exit status says whether all of it happened.
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import perennial_bundle
import yaml
from rich.console import Console
from rich.live import Live

from perennial_demo import install
from perennial_demo.clients import Clients
from perennial_demo.flights import FEATURES, load_flights
from perennial_demo.kube import CommandError, Kube
from perennial_demo.models import TRAINING_MONTHS, Artefacts, write_artefacts
from perennial_demo.replay import build_requests
from perennial_demo.report import Facts, assess, render_json, render_text
from perennial_demo.view import Seen, render

NAME = "flights"
NAMESPACE = "flights"
REPORT_FOLDER = install.ROOT / "demo-report"
FAST_PER_S = 70.0
SLOW_PER_S = 12.0
LOOK_EVERY_S = 1.0


class DemoError(Exception):
    """A step of the demo did not happen in its time."""


class Demo:
    """Holds what the steps share: cluster, clients, view, facts."""

    def __init__(self, kube: Kube, gateway: str, console: Console) -> None:
        self.kube = kube
        self.url = f"{gateway}/{NAMESPACE}/{NAME}"
        self.console = console
        self.facts = Facts()
        self.rate_per_s = FAST_PER_S
        self.clients: Clients | None = None
        self.live: Live | None = None
        self._started = time.monotonic()

    def look(self) -> Seen:
        """Read everything that is shown; a passing hiccup of the API server shows the last look again."""
        report = self.kube.get("monitorreport", NAME, NAMESPACE) or {}
        return Seen(
            deployment=self.kube.get("modeldeployment", NAME, NAMESPACE) or {},
            monitors=report.get("status", {}).get("monitors", []),
            runs=self.kube.list_all("retrainingrun", NAMESPACE),
        )

    def wait(self, headline: str, found: Callable[[Seen], Any], *, timeout_s: float) -> Any:
        """Look until `found` returns something, showing the live view; note how long it took."""
        self.console.print(f"{headline} …")
        started = time.monotonic()
        while True:
            with suppress(CommandError):
                seen = self.look()
                if self.live and self.clients:
                    self.live.update(render(headline, seen, self.clients.tally))
                got = found(seen)
                if got:
                    self.facts.seconds[headline] = time.monotonic() - started
                    return got
            if time.monotonic() - started > timeout_s:
                raise DemoError(f"{headline}: not within {timeout_s:.0f} s")
            if self.clients and self.clients.finished:
                raise DemoError(f"{headline}: not before the year of flights was over")
            time.sleep(LOOK_EVERY_S)

    def deploy(self, artefacts: Artefacts) -> None:
        """Push model and base rows, and apply the example on a namespace without remains of an earlier run."""
        self.console.print("pushing the model …")
        documents = yaml.safe_load_all((install.ROOT / "examples" / "01-flights.yaml").read_text())
        manifest = next(document for document in documents if document["kind"] == "ModelDeployment")
        manifest["spec"]["model"]["uri"] = self.kube.push(artefacts.model)
        manifest["spec"]["retraining"]["data"]["base"] = {"uri": self.kube.push(artefacts.base)}
        self.kube.run("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait", timeout_s=180)
        self.kube.run("create", "namespace", NAMESPACE)
        self.kube.run("apply", "-f", "-", stdin=json.dumps(manifest))
        self.facts.first_revision = self.wait(
            "waiting for the model to be Ready",
            lambda seen: _is_ready(seen) and seen.rollout["stable"],
            timeout_s=180,
        )

    def watch_and_retrain(self) -> None:
        """Wait for drift, the retraining and the promotion of its candidate."""
        alarm = self.wait(
            "serving, watching for drift", lambda seen: _find_alarm(seen, "Drift"), timeout_s=400
        )
        moved = ", ".join(feature["name"] for feature in alarm.get("features", [])[:3])
        self.facts.drift_alarm = f"{alarm['statistic']:.2f} above {alarm['threshold']:.2f}, most in {moved}"
        self.console.print(f"  drift: {self.facts.drift_alarm}")
        self.rate_per_s = SLOW_PER_S
        run = self.wait("retraining", _find_finished_run, timeout_s=900)
        self._note_run(run)
        if run["status"]["phase"] != "Accepted":
            raise DemoError(f"the candidate was {run['status']['phase']}: {run['status'].get('message', '')}")
        self.rate_per_s = FAST_PER_S / 2
        self.facts.retrained_revision = self.wait(
            "the candidate takes the canary road",
            lambda seen: _promoted(seen, self.facts.first_revision),
            timeout_s=600,
        )
        self._note_promotion()

    def _note_run(self, run: dict[str, Any]) -> None:
        status = run["status"]
        result = status.get("result", {})
        self.facts.run_phase, self.facts.run_message = status["phase"], status.get("message", "")
        self.facts.champion_score = result.get("championScore")
        self.facts.challenger_score = result.get("challengerScore")
        self.console.print(f"  {status['phase']}: {status.get('message', '')}")

    def _note_promotion(self) -> None:
        revision = self.kube.get("modelrevision", self.facts.retrained_revision, NAMESPACE) or {}
        evidence = revision.get("status", {}).get("evidence", [])
        self.facts.retrained_is_stable = revision.get("spec", {}).get("origin") == "Retraining"
        self.facts.retrained_evidence = evidence[-1]["message"] if evidence else ""
        self.console.print(f"  promoted {self.facts.retrained_revision}: {self.facts.retrained_evidence}")

    def roll_out_bad(self, artefacts: Artefacts) -> None:
        """Roll out the bad version and wait until it is stopped and all traffic is back."""
        uri = self.kube.push(artefacts.bad)
        patch = json.dumps({"spec": {"model": {"uri": uri}}})
        self.kube.run("patch", "modeldeployment", NAME, "-n", NAMESPACE, "--type=merge", "-p", patch)
        rollout = self.wait("a bad version is rolled out", _find_rolled_back, timeout_s=600)
        self.facts.bad_revision = rollout["failedRevision"]
        self.facts.bad_reason = rollout.get("message", "")
        self.facts.bad_rolled_back = rollout["stable"] == self.facts.retrained_revision
        self.console.print(f"  rolled back: {self.facts.bad_reason}")

    def serve_on(self, seconds: float, headline: str) -> None:
        """Let the clients go on for a while with the view up to date."""
        until = time.monotonic() + seconds
        self.wait(headline, lambda _: time.monotonic() > until, timeout_s=seconds + 60)

    def finish(self) -> bool:
        """Take the clients' figures, write the report and return whether everything happened."""
        if self.clients:
            tally = self.clients.tally
            self.facts.requests = sum(tally.answers.values())
            self.facts.labels = tally.labels_sent
            self.facts.failed_otherwise = tally.failed(except_revision=self.facts.bad_revision or None)
            self.facts.failed_by_bad = tally.failed() - self.facts.failed_otherwise
            self.facts.refused = tally.refused()
        self.facts.seconds["everything"] = time.monotonic() - self._started
        checks = assess(self.facts)
        REPORT_FOLDER.mkdir(exist_ok=True)
        (REPORT_FOLDER / "report.json").write_text(json.dumps(render_json(self.facts, checks), indent=2))
        text = render_text(self.facts, checks)
        (REPORT_FOLDER / "report.txt").write_text(text + "\n")
        self.console.print(f"\n{text}\n")
        return all(check.passed for check in checks)


def _is_ready(seen: Seen) -> bool:
    conditions = seen.deployment.get("status", {}).get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _find_alarm(seen: Seen, monitor_type: str) -> dict[str, Any] | None:
    return next((m for m in seen.monitors if m["type"] == monitor_type and m["state"] == "Alarm"), None)


def _find_finished_run(seen: Seen) -> dict[str, Any] | None:
    final = ("Accepted", "Refused", "Failed")
    return next((run for run in seen.runs if run.get("status", {}).get("phase") in final), None)


def _promoted(seen: Seen, first: str) -> str | None:
    stable: str | None = seen.rollout.get("stable")
    return stable if stable != first and seen.rollout.get("phase") == "Healthy" else None


def _find_rolled_back(seen: Seen) -> dict[str, Any] | None:
    return seen.rollout if seen.rollout.get("phase") == "Degraded" else None


def main() -> int:
    """Run the demo and return its exit status."""
    console = Console()
    environment = install.up()
    kube = Kube(environment)
    service = kube.get("service", "perennial-gateway", install.NAMESPACE) or {}
    demo = Demo(kube, f"http://{service['spec']['clusterIP']}", console)
    console.print("reading a year of flights, training on January and February …")
    flights = load_flights()
    with tempfile.TemporaryDirectory(prefix="perennial-demo-") as scratch:
        artefacts = write_artefacts(Path(scratch))
        passed = _run(demo, flights, artefacts)
    console.print(
        "The cluster stays up. Try next:\n"
        '  eval "$(.venv/bin/perennial-localcluster env)"; export PATH="$PWD/.venv/bin:$PATH"\n'
        f"  kubectl get mdep,modelrevisions,retrainingruns -n {NAMESPACE}\n"
        f"  kubectl perennial status {NAME} -n {NAMESPACE}\n"
        f"  kubectl describe mdep {NAME} -n {NAMESPACE}\n"
        "  make down"
    )
    return 0 if passed else 1


def _run(demo: Demo, flights: Any, artefacts: Artefacts) -> bool:
    following = flights[~flights["month"].isin(TRAINING_MONTHS)].reset_index(drop=True)
    first = perennial_bundle.load(artefacts.model)
    scores = first.model.predict_proba(following[FEATURES])[:, 1]
    try:
        demo.deploy(artefacts)
        requests = build_requests(following, scores)
        demo.clients = Clients(demo.url, NAME, requests, lambda: demo.rate_per_s)
        thread = threading.Thread(target=demo.clients.run, name="clients", daemon=True)
        with Live(console=demo.console, auto_refresh=demo.console.is_terminal, transient=True) as live:
            demo.live = live if demo.console.is_terminal else None
            thread.start()
            demo.watch_and_retrain()
            demo.clients.tally.auc.clear()
            demo.serve_on(30, "serving with the retrained model")
            if auc := demo.clients.tally.auc.compute():
                demo.facts.served_auc, demo.facts.never_retrained_auc = auc
            demo.roll_out_bad(artefacts)
            demo.serve_on(5, "serving after the rollback")
            demo.clients.stop()
            thread.join(timeout=60)
    except (DemoError, CommandError) as error:
        demo.console.print(f"stopped: {error}")
        if demo.clients:
            demo.clients.stop()
            for line in demo.clients.tally.failures[:5]:
                demo.console.print(f"  {line}")
    return demo.finish()


if __name__ == "__main__":
    sys.exit(main())
