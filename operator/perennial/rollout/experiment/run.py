"""A running experiment: watch the variants' safety, divide the requests, compare the arms, and end by rule."""

from datetime import datetime, timedelta

from perennial_api.durations import Duration
from perennial_api.modeldeployment.experiment import ABTest, Bandit, Experiment, Reward
from perennial_api.modeldeployment.experiment_status import ArmStatus, ExperimentStatus, VariantState

from perennial.rollout.decision import Notice, Outcome
from perennial.rollout.experiment.arms import (
    VARIANT_NOT_READY,
    say_how_arms_stand,
    variants_of,
    waiting_for,
    with_shares,
)
from perennial.rollout.experiment.ending import EndReason, end
from perennial.rollout.experiment.facts import STABLE, ExperimentDecision, ExperimentFacts
from perennial.rollout.experiment.learning import find_best, tick
from perennial.rollout.experiment.plan import build_plan
from perennial.rollout.experiment.rewards import at_risk, collect, counts_clients, reward_of
from perennial.rollout.experiment.safety import next_look, watch_arms
from perennial.rollout.experiment.shadow import compare_shadow, describe_shadow
from perennial.rollout.experiment.winner import add_window, e_value_of, find_winner, needed_evidence
from perennial.rollout.gate import count_routers

__all__ = ["run"]

SHORTEST_REQUEUE_S = 0.2


def run(
    spec: Experiment, status: ExperimentStatus, facts: ExperimentFacts, now: datetime
) -> ExperimentDecision:
    """Take a running experiment one pass further.

    Parameters
    ----------
    status
        With its arms settled: each knows its revision and whether it is ready.
    """
    told, outcomes = tuple[Notice, ...](), tuple[Outcome, ...]()
    if spec.shadow is None:  # whose answers nobody gets
        status, told, outcomes = watch_arms(status, facts, by_client=counts_clients(spec), now=now)
    status = with_shares(spec, status, now)
    status = _compare(spec, status, facts, now)
    ended = _end_by_rule(spec, status, now)
    if ended is not None:
        return ExperimentDecision(
            ended.status, None, (*told, *ended.notices), (*outcomes, *ended.outcomes), None
        )
    reason = VARIANT_NOT_READY if waiting_for(status) else "Running"
    text = f"It runs beside {facts.stable} since {status.started_at:%Y-%m-%d %H:%M:%S} UTC."
    status, missing = say_how_arms_stand(status, reason, text)
    return ExperimentDecision(
        status,
        build_plan(spec, status, facts),
        (*told, *missing),
        outcomes,
        _requeue_after_s(spec, status, facts, now),
    )


def _compare(
    spec: Experiment, status: ExperimentStatus, facts: ExperimentFacts, now: datetime
) -> ExperimentStatus:
    """Look at what the arms have earned, when it is time to."""
    if now < _next_comparison(spec, status, facts, now):
        return status
    if spec.bandit is not None:
        # Rewards of other shares than the last tick's would teach nothing about them.
        may_tick = _is_applied(spec, status, facts) and facts.observed.ready_endpoints(facts.stable) > 0
        return tick(spec, spec.bandit, status, facts, now) if may_tick else status
    if spec.ab_test is not None and status.last_tick_time is None:
        # Clients are counted anew under each salt: until the routers have this one, they count those of another.
        begins_now = status.started_at == now
        if begins_now or not _is_applied(spec, status, facts):
            return status
    status = compare_shadow(status, facts) if spec.shadow is not None else _weigh(spec, status, facts)
    return status.model_copy(update={"tick": status.tick + 1, "last_tick_time": now})


def _is_applied(spec: Experiment, status: ExperimentStatus, facts: ExperimentFacts) -> bool:
    return facts.observed.is_applied(build_plan(spec, status, facts).weights)


def _weigh(spec: Experiment, status: ExperimentStatus, facts: ExperimentFacts) -> ExperimentStatus:
    status, news = collect(spec, status, facts)
    windows, weight = news, 1.0
    if counts_clients(spec) and reward_of(spec) is Reward.NO_ERROR:
        windows = {arm.name: at_risk(arm.counts, news[arm.name]) for arm in status.arms}
        # Each router counts a client that it meets, so that one client's failure may show as often.
        weight = 1.0 / count_routers(status.routers)
    arms = []
    for arm in status.arms:
        if arm.name != STABLE:
            log_e_values = add_window(arm.log_e_values, windows[arm.name], windows[STABLE], weight)
            update = {"log_e_values": log_e_values, "e_value": e_value_of(log_e_values)}
            arm = arm.model_copy(update=update)  # noqa: PLW2901
        arms.append(arm)
    return status.model_copy(update={"arms": tuple(arms)})


def _next_comparison(
    spec: Experiment, status: ExperimentStatus, facts: ExperimentFacts, now: datetime
) -> datetime:
    interval = spec.bandit.interval if spec.bandit else facts.analysis.interval
    last = status.last_tick_time
    return now if last is None else last + timedelta(seconds=interval.seconds)


def _end_by_rule(spec: Experiment, status: ExperimentStatus, now: datetime) -> ExperimentDecision | None:
    variants = variants_of(status)
    if all(arm.state is VariantState.UNSAFE for arm in variants):
        text = " ".join(f"{arm.name}: {arm.message}" for arm in variants)
        return end(status, EndReason.NO_SAFE_VARIANT, text, now)
    if spec.ab_test is not None:
        found = _end_test(spec.ab_test, status, now)
    elif spec.bandit is not None:
        found = _end_bandit(spec.bandit, status, now)
    else:
        found = None
    if found is not None or not _is_over(spec, status, now):
        return found
    return _end_by_time(spec, status, now)


def _end_test(test: ABTest, status: ExperimentStatus, now: datetime) -> ExperimentDecision | None:
    if test.winner is None:
        return None
    by_router = test.route_by is not None and test.winner.reward is Reward.NO_ERROR
    routers = count_routers(status.routers) if by_router else 1
    best = find_winner(test.winner, status.arms, routers=routers)
    if best is None:
        return None
    needed = needed_evidence(test.winner, len(status.arms) - 1)
    text = (
        f"{best.name} earns more than the stable revision: {_rewards(best)} against {_rewards(status.arms[0])}; "
        f"evidence {best.e_value:.3g}, {needed:.3g} wins."
    )
    return end(status, EndReason.WINNER, text, now, winner=best.name, promote=test.winner.promote)


def _end_bandit(bandit: Bandit, status: ExperimentStatus, now: datetime) -> ExperimentDecision | None:
    best = find_best(bandit, status)
    if best is None:
        return None
    text = (
        f"{best.name} is the best arm with probability {best.probability_best:.3g}: {_all_rewards(status)}."
    )
    reason = EndReason.STABLE_IS_BEST if best.name == STABLE else EndReason.WINNER
    return end(status, reason, text, now, winner=best.name, promote=bandit.promote)


def _end_by_time(spec: Experiment, status: ExperimentStatus, now: datetime) -> ExperimentDecision:
    after = _max_duration(spec)
    if spec.shadow is not None:
        text = " ".join(describe_shadow(arm) for arm in variants_of(status))
        return end(status, EndReason.MAX_DURATION, f"After {after}: {text}", now)
    text = f"{_all_rewards(status)}."
    has_rule = spec.bandit.stop_at is not None if spec.bandit else bool(spec.ab_test and spec.ab_test.winner)
    if has_rule:
        text = f"No variant proved better than the stable revision within {after}: {text}"
        return end(status, EndReason.NO_WINNER, text, now)
    return end(status, EndReason.MAX_DURATION, f"After {after}: {text}", now)


def _max_duration(spec: Experiment) -> Duration:
    member = spec.ab_test or spec.bandit or spec.shadow
    assert member is not None, "an experiment has the member of its type"
    return member.max_duration


def _ends_at(spec: Experiment, status: ExperimentStatus, now: datetime) -> datetime:
    return (status.started_at or now) + timedelta(seconds=_max_duration(spec).seconds)


def _is_over(spec: Experiment, status: ExperimentStatus, now: datetime) -> bool:
    return now >= _ends_at(spec, status, now)


def _rewards(arm: ArmStatus) -> str:
    if not arm.counts.total:
        return "no reward"
    return f"{1.0 - arm.counts.bad / arm.counts.total:.2%} of {arm.counts.total}"


def _all_rewards(status: ExperimentStatus) -> str:
    return ", ".join(f"{arm.name} {_rewards(arm)}" for arm in status.arms)


def _requeue_after_s(
    spec: Experiment, status: ExperimentStatus, facts: ExperimentFacts, now: datetime
) -> float:
    due = [_next_comparison(spec, status, facts, now), _ends_at(spec, status, now)]
    if spec.shadow is None:
        due += [at for arm in status.arms if (at := next_look(arm, facts)) is not None]
    # A tick that is due but waits for the routers or for pods: they wake the pass themselves.
    later = [at for at in due if at > now] or [now + timedelta(seconds=facts.analysis.interval.seconds)]
    return max(SHORTEST_REQUEUE_S, (min(later) - now).total_seconds())
