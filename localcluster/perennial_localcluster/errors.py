"""The exceptions of this package, split by what the caller does about them.

::

    LocalClusterError
    ├── PreconditionError   the person changes something on the machine and runs again
    ├── NotRunningError     the person runs `up` first
    ├── CommandError        a tool we called failed; its last words are in the message
    └── StartError          a component did not become healthy; its log's end is in the message

The command line turns each into one message and exit status 1, without a traceback.
"""

from __future__ import annotations


class LocalClusterError(Exception):
    """Base of everything this package raises on purpose."""


class PreconditionError(LocalClusterError):
    """The machine cannot hold the cluster as it is; the message says what to change."""


class NotRunningError(LocalClusterError):
    """The action needs a running cluster and there is none."""


class CommandError(LocalClusterError):
    """An external command failed.

    Parameters
    ----------
    command
        The words of the command line.
    exit_status
        What it returned; -1 if it could not be started or took too long.
    output
        Its standard error (or output); only the end goes into the message.
    """

    def __init__(self, command: list[str], exit_status: int, output: str) -> None:
        self.command = command
        self.exit_status = exit_status
        self.output = output
        tail = "\n".join(output.strip().splitlines()[-15:])
        super().__init__(f"`{' '.join(command)[:300]}` failed with status {exit_status}:\n{tail}")


class StartError(LocalClusterError):
    """A component of the cluster ended or did not become healthy in time."""

    def __init__(self, component: str, problem: str, log_file: str, log_tail: str) -> None:
        self.component = component
        super().__init__(f"{component} {problem}. The end of {log_file}:\n{log_tail}")
