"""What ends the demo early."""


class DemoError(Exception):
    """A step failed; the message says which and what to do."""
