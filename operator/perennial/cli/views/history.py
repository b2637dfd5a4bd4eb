"""Draw the revisions of a deployment, oldest first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from perennial_api import ModelRevision
from rich.markup import escape
from rich.table import Table

from perennial.cli.views.words import plain_table, say_ago, style_word

__all__ = ["render_history"]


def render_history(revisions: Sequence[ModelRevision], now: datetime) -> Table:
    """Return one line for each revision: what it is, where it comes from, and when what became of it."""
    table = plain_table(
        "revision", "role", "origin", "model", "made", "on trial", "stable", "replaced", "why"
    )
    for revision in revisions:
        spec, status = revision.spec, revision.status
        table.add_row(
            escape(revision.metadata.name),
            style_word(status.role.value),
            _say_origin(revision),
            spec.model.short_digest,
            say_ago(revision.metadata.creation_timestamp, now),
            say_ago(status.canary_time, now),
            say_ago(status.stable_time, now),
            say_ago(status.retired_time, now),
            escape(f"{status.reason}: {status.message}" if status.message else status.reason),
        )
    return table


def _say_origin(revision: ModelRevision) -> str:
    spec = revision.spec
    source = spec.retraining_run or spec.variant
    return f"{spec.origin.value} {escape(source)}" if source else spec.origin.value
