"""What a verdict depends on in the spec, as one digest: what was remembered under another one is no guide. Pure."""

import hashlib

import orjson
from perennial_api.modeldeployment.monitoring import Monitor, Monitoring, MonitorSettings, Severity

__all__ = ["digest_spec"]


def digest_spec(
    monitor: Monitor, settings: MonitorSettings, exclude: tuple[str, ...], monitoring: Monitoring
) -> str:
    """Digest all that a verdict depends on: what was remembered under another digest is no guide.

    Severity says whom an alarm calls, not whether there is one: it may change while an alarm stands.
    """
    named = {monitor.slice} if monitor.fairness is None else set(monitor.fairness.slices)
    document = {
        "monitor": monitor.model_copy(update={"severity": Severity.TICKET}).to_api(),
        "window": settings.window.to_api(),
        "alarm": settings.alarm.to_api(),
        "clear": settings.clear.to_api(),
        "false_alarm_every": str(settings.false_alarm_every),
        "exclude": sorted(exclude),
        "slices": {found.name: found.where for found in monitoring.slices if found.name in named},
        "reference": monitoring.reference.to_api(),
    }
    if monitoring.event_time is not None:
        # Windows by another column are other windows.
        document["event_time"] = monitoring.event_time
    return hashlib.sha256(orjson.dumps(document, option=orjson.OPT_SORT_KEYS)).hexdigest()
