"""The statistical gate: whether what was counted allows a revision on trial to go on.

`observe_gate` adds what came in since the last look to the state kept in `status.rollout.gate`; `assess_gate` says
what that means. The e-process under both (`update`, `e_value`) takes plain counts, so that an experiment can use it
on its own variants.
"""

from perennial.rollout.gate.counters import CounterKey, CounterMark, Counts, accumulate
from perennial.rollout.gate.eprocess import GateState, e_value, excluded_ratio, rate_e_value, update
from perennial.rollout.gate.gating import SIGNIFICANCE, assess_gate, next_look_at, observe_gate, to_evidence
from perennial.rollout.gate.verdict import Decision, GateVerdict, MetricLimit, assess

__all__ = [
    "SIGNIFICANCE",
    "CounterKey",
    "CounterMark",
    "Counts",
    "Decision",
    "GateState",
    "GateVerdict",
    "MetricLimit",
    "accumulate",
    "assess",
    "assess_gate",
    "e_value",
    "excluded_ratio",
    "next_look_at",
    "observe_gate",
    "rate_e_value",
    "to_evidence",
    "update",
]
