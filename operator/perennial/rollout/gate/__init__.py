"""The statistical gate: whether what was counted allows a revision on trial to go on.

`observe_gate` adds what came in since the last look to the state kept in `status.rollout.gate`; `assess_gate` says
what that means; `to_evidence` keeps what a decision was made on. The e-process under them (`update`, `e_value`) takes
plain counts, so that an experiment can use it on its own variants.
"""

from perennial.rollout.gate.collect import count_routers
from perennial.rollout.gate.counters import CounterKey, CounterMark, Counts, accumulate
from perennial.rollout.gate.eprocess import (
    GateState,
    e_value,
    excluded_ratio,
    mixture,
    rate_e_value,
    update,
    update_clients,
)
from perennial.rollout.gate.looks import next_look_at, observe_gate
from perennial.rollout.gate.verdict import (
    SIGNIFICANCE,
    Decision,
    GateVerdict,
    assess_gate,
    find_unreadable,
    to_evidence,
)

__all__ = [
    "SIGNIFICANCE",
    "CounterKey",
    "CounterMark",
    "Counts",
    "Decision",
    "GateState",
    "GateVerdict",
    "accumulate",
    "assess_gate",
    "count_routers",
    "e_value",
    "excluded_ratio",
    "find_unreadable",
    "mixture",
    "next_look_at",
    "observe_gate",
    "rate_e_value",
    "to_evidence",
    "update",
    "update_clients",
]
