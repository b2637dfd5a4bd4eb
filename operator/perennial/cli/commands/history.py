"""`history` and `why`: what was served, and why it was promoted or rolled back."""

from __future__ import annotations

from datetime import UTC, datetime

from perennial_api import ModelRevision
from perennial_api.modeldeployment.gate_status import Evidence

from perennial.cli.options import (
    Context,
    Form,
    Kubeconfig,
    Namespace,
    Output,
    Revision,
    TheDeployment,
    connect,
)
from perennial.cli.output import open_console, open_error_console, print_json
from perennial.cli.reading import (
    Reader,
    parse_deployment,
    parse_revisions,
    read_deployment,
    read_revision,
    read_revisions,
)
from perennial.cli.views.history import render_history
from perennial.cli.views.why import render_why

__all__ = ["history", "why"]


def history(
    name: TheDeployment,
    *,
    namespace: Namespace = None,
    output: Output = Form.TEXT,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """List the revisions of a deployment, oldest first: role, origin, times and reasons."""
    cluster = connect(kubeconfig, context)
    found = read_revisions(cluster, namespace or cluster.namespace, name)
    if output is Form.JSON:
        print_json({"items": found})
    elif found:
        open_console().print(render_history(parse_revisions(found), datetime.now(UTC)))
    else:
        open_error_console().print(
            f"{name} has no revision yet: see `kubectl perennial status {name}`.", markup=False
        )


def why(
    revision: Revision,
    *,
    namespace: Namespace = None,
    output: Output = Form.TEXT,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Say why a revision was promoted or rolled back: every metric's samples, evidence, bound and decision."""
    cluster = connect(kubeconfig, context)
    namespace = namespace or cluster.namespace
    stored = read_revision(cluster, namespace, revision)
    (parsed,) = parse_revisions([stored])
    evidence = parsed.status.evidence or _read_so_far(cluster, namespace, parsed)
    if output is Form.JSON:
        status = {key: value for key, value in parsed.status.to_api().items() if key != "evidence"}
        print_json({"revision": revision, **status, "evidence": [item.to_api() for item in evidence]})
        return
    open_console().print(render_why(parsed, evidence, datetime.now(UTC)))


def _read_so_far(cluster: Reader, namespace: str, revision: ModelRevision) -> tuple[Evidence, ...]:
    """Return what the gate has seen of a revision whose rollout goes on."""
    rollout = parse_deployment(read_deployment(cluster, namespace, revision.spec.deployment)).status.rollout
    return rollout.evidence if rollout and rollout.canary == revision.metadata.name else ()
