"""What holds for experiments whatever happens to pods, routers, specs and people's minds."""

from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from perennial.rollout.experiment import step_experiment
from perennial.rollout.observed import Failure
from perennial_api.modeldeployment.command_status import Command, Verb
from perennial_api.modeldeployment.experiment import Experiment
from perennial_api.modeldeployment.experiment_status import ExperimentPhase

from tests.unit.operator.experiment.lab import STABLE, Lab, ab_test_of, bandit_of, by_header, shadow_of

SPECS: dict[str, tuple[Experiment, Experiment]] = {
    "random": (ab_test_of(30, 20, confidence=0.9), ab_test_of(30, 25, confidence=0.9)),
    "sticky": (ab_test_of(10, 20, 30, route=by_header()), ab_test_of(10, 20, 31, route=by_header())),
    "bandit": (bandit_of(2, stopAt=0.99), bandit_of(2, stopAt=0.98)),
    "shadow": (shadow_of(percent=50), shadow_of(percent=60)),
}
Specs = tuple[Experiment, Experiment]


def set_to(**values: Any) -> Callable[[Lab, Specs], None]:
    """Return what changes the world so."""

    def act(lab: Lab, specs: Specs) -> None:
        for name, value in values.items():
            setattr(lab, name, value)

    return act


def edit(lab: Lab, specs: Specs) -> None:
    lab.spec = specs[0] if lab.spec is specs[1] else specs[1]


def roll_out(lab: Lab, specs: Specs) -> None:
    """A rollout starts only while no experiment is under way."""
    lab.rollout_under_way = lab.decision is None or lab.decision.plan is None


ACTIONS: dict[str, Callable[[Lab, Specs], None]] = {
    "turn": set_to(),
    "turn again": set_to(),
    "wait": set_to(),
    "lose": lambda lab, _: lab.lose("v1"),
    "lose and say why": lambda lab, _: lab.lose("v1", Failure("OOMKilled")),
    "heal": lambda lab, _: lab.heal("v1"),
    "routers stop": set_to(routers_follow=False),
    "routers follow": set_to(routers_follow=True),
    "harm": set_to(error_share={"wine-v1": 0.5}),
    "favour": set_to(error_share={STABLE: 0.1}),
    "cure": set_to(error_share={}),
    "edit": edit,
    "remove": set_to(spec=None),
    "roll out": roll_out,
    "rolled out": set_to(rollout_under_way=False),
    "abort": set_to(command=Command(id="c", verb=Verb.ABORT)),
    "promote": set_to(command=Command(id="c", verb=Verb.PROMOTE, variant="v1")),
    "forget command": set_to(command=None),
}
chaos = st.lists(st.sampled_from(sorted(ACTIONS)), max_size=50)


def act(lab: Lab, specs: Specs, action: str) -> None:
    ACTIONS[action](lab, specs)
    lab.turn(seconds=400 if action == "wait" else 5)


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(sorted(SPECS)), chaos, st.sampled_from([0, 50, 500]))
def test_shares_sum_to_100_and_only_safe_and_ready_variants_get_any(
    kind: str, actions: list[str], requests: int
) -> None:
    lab = Lab(SPECS[kind][0], requests_per_turn=requests)
    for action in actions:
        act(lab, SPECS[kind], action)
        assert lab.decision is not None
        plan = lab.decision.plan
        if plan is None:
            continue
        assert sum(plan.weights.values()) == 100
        assert set(plan.weights) <= {STABLE, *plan.keep}
        for arm in lab.told.arms[1:]:
            share = plan.weights.get(arm.revision or "", 0)
            ready = lab.views[arm.revision or STABLE].ready_endpoints > 0
            assert share == 0 or (ready and arm.state == "Running")
        if plan.mirror is not None:
            assert lab.views[plan.mirror.revision].ready_endpoints > 0


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(sorted(SPECS)), chaos, st.sampled_from([0, 500]))
def test_what_ended_asks_for_nothing_and_stays_as_it_is_until_the_spec_changes(
    kind: str, actions: list[str], requests: int
) -> None:
    lab = Lab(SPECS[kind][0], requests_per_turn=requests)
    for action in actions:
        before, spec = lab.status, lab.spec
        act(lab, SPECS[kind], action)
        assert lab.decision is not None
        if before is None or before.phase is not ExperimentPhase.ENDED:
            continue
        if lab.spec is spec or lab.spec is None:
            assert lab.status == before
            assert lab.decision.plan is None


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(SPECS)), chaos, st.sampled_from([0, 500]))
def test_clients_keep_places_and_salt_within_an_attempt(kind: str, actions: list[str], requests: int) -> None:
    lab = Lab(SPECS[kind][0], requests_per_turn=requests)
    seen: dict[int, object] = {}
    for action in actions:
        act(lab, SPECS[kind], action)
        if lab.decision and lab.decision.plan and lab.decision.plan.sticky:
            sticky = lab.decision.plan.sticky
            assert seen.setdefault(lab.told.attempt, sticky) == sticky
    salts = [getattr(sticky, "salt", None) for sticky in seen.values()]
    assert len(set(salts)) == len(salts)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(SPECS)), chaos, st.sampled_from([0, 500]))
def test_a_pass_that_is_done_again_changes_nothing_more(kind: str, actions: list[str], requests: int) -> None:
    lab = Lab(SPECS[kind][0], requests_per_turn=requests)
    for action in actions:
        first = lab.decide()
        again = step_experiment(lab.spec, first.status, lab.facts(), lab.now)
        third = step_experiment(lab.spec, again.status, lab.facts(), lab.now)
        assert third.status == again.status
        if first.plan and again.plan:
            assert again.plan.weights == first.plan.weights
        act(lab, SPECS[kind], action)
