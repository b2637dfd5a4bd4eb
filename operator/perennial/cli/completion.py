"""Shell completion: scripts for the plugin by itself, and the program that kubectl asks for the plugin's words."""

from __future__ import annotations

import io
import os
import shlex
import sys
from contextlib import redirect_stderr, redirect_stdout
from enum import StrEnum
from typing import Annotated

import typer

__all__ = ["PROGRAM", "Shell", "complete_for_kubectl", "completion"]

PROGRAM = "kubectl-perennial"
_VARIABLE = "_KUBECTL_PERENNIAL_COMPLETE"
# Cobra's directive after the words: offer no files.
_NO_FILES = ":4"
_PUSH_FILES = ":0"


class Shell(StrEnum):
    """A shell that can complete."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(
    shell: Annotated[Shell, typer.Argument(help="bash, zsh or fish.", metavar="SHELL")],
) -> None:
    """Print the completion script of a shell, for `source <(kubectl perennial completion bash)`."""
    print(_ask({_VARIABLE: f"source_{shell.value}"}).rstrip())


def complete_for_kubectl() -> None:
    """Answer kubectl, which runs `kubectl_complete-perennial WORD…` where the last word is the unfinished one.

    It wants a line for each word that fits, with its meaning behind a tab, and a directive after them.
    """
    words = sys.argv[1:] or [""]
    found = _ask(
        {
            _VARIABLE: "complete_fish",
            "_TYPER_COMPLETE_FISH_ACTION": "get-args",
            "_TYPER_COMPLETE_ARGS": shlex.join([PROGRAM, *words]),
        }
    ).strip()
    if found:
        print(found)
    print(_PUSH_FILES if words[0] == "push" and not found else _NO_FILES)


def _ask(environment: dict[str, str]) -> str:
    """Run our own command line as the shells do, and return what it would print."""
    from perennial.cli.main import app

    before = dict(os.environ)
    out = io.StringIO()
    os.environ.update(environment)
    try:
        with redirect_stdout(out), redirect_stderr(io.StringIO()):
            app(prog_name=PROGRAM)
    except SystemExit:
        pass
    finally:
        os.environ.clear()
        os.environ.update(before)
    return out.getvalue()
