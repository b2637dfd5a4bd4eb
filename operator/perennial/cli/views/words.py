"""Colours, shares and spans of time, said the same way everywhere."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from perennial_api.base import Resource
from rich.table import Table

__all__ = ["created", "plain_table", "say_ago", "say_share", "say_span", "style_word"]

_STYLES = {
    "green": ("Healthy", "Stable", "Ok", "Accepted", "Successful", "Running", "Applied", "Promoted"),
    "cyan": ("Progressing", "Canary", "Candidate", "Variant", "Pending"),
    "yellow": ("Paused", "Warning", "Refused", "Inconclusive", "Waiting", "WaitingForPods", "Quarantined"),
    "red": ("Degraded", "Failed", "Alarm", "Error", "Unsafe"),
    "dim": ("Retired", "Insufficient", "Ended"),
}
_STYLE_OF = {word: style for style, words in _STYLES.items() for word in words}


def style_word(word: str) -> str:
    """Give a state its colour."""
    style = _STYLE_OF.get(word)
    return f"[{style}]{word}[/]" if style else word


def say_share(bad: float, total: int) -> str:
    """Say how many of a number of requests were bad; rewards in part make a fraction."""
    amount = f"{bad:.0f}" if float(bad).is_integer() else f"{bad:.2f}"
    return f"{amount} of {total} ({bad / total:.2%})" if total else "none yet"


def say_ago(moment: datetime | None, now: datetime) -> str:
    """Say how long ago something was; nothing for what hasn't been."""
    return f"{say_span(now - moment)} ago" if moment else ""


def say_span(span: timedelta) -> str:
    """Say how long something takes, in its largest unit."""
    seconds = max(0, int(span.total_seconds()))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def created(resource: Resource) -> datetime:
    """Return when an object was made, for sorting."""
    return resource.metadata.creation_timestamp or datetime.min.replace(tzinfo=UTC)


def plain_table(*columns: str, right: frozenset[str] = frozenset()) -> Table:
    """Return an empty table without lines, whose words are never cut."""
    table = Table(box=None, show_header=True, header_style="dim", pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", no_wrap=column != "why")
    return table
