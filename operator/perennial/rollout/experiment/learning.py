"""One tick of a bandit: what the arms earned since the last, what is believed of them now, and the next shares."""

from datetime import datetime

from perennial_api.modeldeployment.experiment import Bandit, Experiment
from perennial_api.modeldeployment.experiment_status import ArmStatus, ExperimentStatus, VariantState

from perennial.rollout.experiment.bandit import Posterior, choose_shares, draw_best, learn
from perennial.rollout.experiment.facts import ExperimentFacts
from perennial.rollout.experiment.rewards import Earned, collect

__all__ = ["find_best", "tick"]


def tick(
    spec: Experiment, bandit: Bandit, status: ExperimentStatus, facts: ExperimentFacts, now: datetime
) -> ExperimentStatus:
    """Learn from the last interval and divide the next one's requests among the arms that run.

    Rewards that come late are credited to the arm that earned them, whether it runs or not.
    """
    status, news = collect(spec, status, facts)
    arms = tuple(_learn(arm, news[arm.name], bandit.discount) for arm in status.arms)
    running = {arm.name: arm for arm in arms if arm.state is VariantState.RUNNING}
    beliefs = {name: Posterior(arm.successes, arm.failures) for name, arm in running.items()}
    best = draw_best(beliefs, status.seed, status.tick)
    shares = choose_shares(bandit, beliefs, best, {name: arm.weight_percent for name, arm in running.items()})
    return status.model_copy(
        update={
            "tick": status.tick + 1,
            "last_tick_time": now,
            "arms": tuple(
                arm.model_copy(
                    update={
                        "weight_percent": shares.get(arm.name, 0),
                        "probability_best": float(best[arm.name]) if arm.name in best else None,
                    }
                )
                for arm in arms
            ),
        }
    )


def _learn(arm: ArmStatus, news: Earned, discount: float) -> ArmStatus:
    after = learn(Posterior(arm.successes, arm.failures), news.total, news.bad, discount)
    return arm.model_copy(update={"successes": after.successes, "failures": after.failures})


def find_best(bandit: Bandit, status: ExperimentStatus) -> ArmStatus | None:
    """Return the arm that `stopAt` is sure enough of, if each arm that runs has had its samples."""
    running = [arm for arm in status.arms if arm.state is VariantState.RUNNING]
    if bandit.stop_at is None or any(arm.counts.total < bandit.min_samples for arm in running):
        return None
    best = max(running, key=lambda arm: arm.probability_best or 0.0)
    # An arm alone is best for want of others, which proves nothing.
    sure = len(running) > 1 and (best.probability_best or 0.0) >= bandit.stop_at
    return best if sure else None
