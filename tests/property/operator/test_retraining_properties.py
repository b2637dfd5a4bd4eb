"""One alarm, one run, whatever is lost between passes."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st
from perennial.rollout.retraining import decide_retraining, run_name
from perennial.rollout.verdicts import Verdict
from perennial_api.modeldeployment.status import RetrainingStatus, RolloutPhase, RolloutStatus
from perennial_api.retrainingrun import RetrainingRun

from tests.unit.operator.builders import NOW, UID, report_of, retrained_spec, run_of

HEALTHY = RolloutStatus(phase=RolloutPhase.HEALTHY, stable="wine-1")
names = st.from_regex(r"\A[a-z]([-a-z0-9]{0,38}[a-z0-9])?\Z")
breaches = st.from_regex(r"\A[a-z]([-a-z0-9]{0,100}[a-z0-9])?\Z")

passes = st.lists(
    st.tuples(
        st.sampled_from(["a-1", "a-2", "a-3"]),  # the alarm that is on
        st.booleans(),  # whether the status write is lost
        st.integers(1, 48),  # hours until the next pass
        st.sampled_from(["Running", "Refused", "Accepted", "Failed"]),
    ),
    max_size=30,
)


@given(passes)
def test_an_alarm_starts_at_most_one_run(steps: list[tuple[str, bool, int, str]]) -> None:
    status: RetrainingStatus | None = None
    runs: dict[str, RetrainingRun] = {}
    started: list[str] = []
    now = NOW
    for breach, is_lost, hours, phase in steps:
        decision = decide_retraining(
            retrained_spec(limits={"perWeek": 1000, "minNewLabels": 0}),
            status,
            report_of(accuracy=f"Alarm:{breach}"),
            tuple(runs.values()),
            HEALTHY,
            name="wine",
            uid=UID,
            model_is_stable=True,
            trainer=Verdict(True, "RuntimeFound"),
            ended=None,
            now=now,
        )
        if decision.start is not None:
            assert all(run.status.phase.is_final for run in runs.values()), "one at a time"
            started.append(decision.start.breach_id)
            name = decision.start.name
            runs[name] = run_of(name, breach=breach, age=NOW - now)
        if not is_lost:
            status = decision.status
        for name, run in runs.items():
            if not run.status.phase.is_final:
                runs[name] = run_of(
                    name,
                    breach=run.spec.trigger.breach_id,
                    phase=phase,
                    age=NOW - run.metadata.creation_timestamp,
                )  # type: ignore[operator]
        now += timedelta(hours=hours)
    assert len(started) == len(set(started))


@given(names, breaches, breaches)
def test_name_of_a_run_is_a_dns_label(name: str, monitor: str, breach: str) -> None:
    got = run_name(name, UID, monitor, breach)
    assert len(got) <= 63
    assert got == run_name(name, UID, monitor, breach)
