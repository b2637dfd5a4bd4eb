"""What people say to a rollout: each verb is judged against the state of things, and answered once.

`assess_command` is pure: it returns what becomes of the command, for `status.lastCommand`, and what changes by it. A
refusal says what to do instead. `controller/commands.py` reads the command from the annotation.
"""

from perennial.rollout.verbs.answer import Answer, Situation, refuse_unreadable
from perennial.rollout.verbs.assess import assess_command

__all__ = ["Answer", "Situation", "assess_command", "refuse_unreadable"]
