"""What is printed, and where: results on stdout, everything about the way there on stderr."""

from __future__ import annotations

import json
import sys
from typing import Any

from rich.console import Console

__all__ = ["open_console", "open_error_console", "print_json"]

_PIPED_COLUMNS = 1000
"""A pipe has no width; nothing may be cut for the lack of one."""


def open_console() -> Console:
    """Return the console for results."""
    return Console() if sys.stdout.isatty() else Console(width=_PIPED_COLUMNS)


def open_error_console() -> Console:
    """Return the console for progress and refusals."""
    return Console(stderr=True, soft_wrap=True)


def print_json(document: Any, *, is_line: bool = False) -> None:
    """Print one JSON document, on a line of its own where several follow each other."""
    print(json.dumps(document, indent=None if is_line else 2), flush=True)
