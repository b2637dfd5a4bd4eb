"""What is known of a breach, added to the window that was judged."""

from collections.abc import Sequence
from dataclasses import replace

from perennial_api.modeldeployment.monitoring import Monitor

from perennial_observer.explaining.explain import render_explanation
from perennial_observer.explaining.explainer import Breach, Explainer
from perennial_observer.monitors.looks.subjects import Subject
from perennial_observer.monitors.looks.transitions import Judged
from perennial_observer.monitors.references.sources import Scope
from perennial_observer.store.rows import LoggedRow

__all__ = ["explain"]


def explain(
    explainer: Explainer,
    subject: Subject,
    judged: Judged,
    *,
    monitor: Monitor,
    scope: Scope,
    rows: Sequence[LoggedRow],
) -> Judged:
    """Add what is known of a breach."""
    if not judged.assessment.breached:
        return judged
    after = judged.after
    assert subject.deployment_id is not None
    assert after.window_start is not None
    breach = Breach(
        scope=scope,
        deployment_id=subject.deployment_id,
        monitoring=subject.deployment.spec.monitoring,
        monitor=monitor,
        start=after.window_start,
        rows=rows,
        assessment=judged.assessment,
    )
    found = explainer.explain(breach)
    text = render_explanation(found) if found is not None else ""
    return replace(judged, after=after.model_copy(update={"explanation": text}), explanation=found)
