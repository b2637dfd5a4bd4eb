"""Which model is wanted: the spec's, a candidate's, or the stable revision's."""

from dataclasses import replace
from datetime import timedelta

from perennial.rollout.lineage import Wanted, choose_target, choose_wanted, hash_inputs, hash_model
from perennial.rollout.observed import RevisionView
from perennial_api.modeldeployment.resource import ModelDeploymentSpec
from perennial_api.modelrevision import Origin, RevisionRole

from tests.unit.operator.builders import NOW, digest, run_of, spec_of, uri


def made_for(spec: ModelDeploymentSpec, letter: str, name: str = "wine-1", **changes: object) -> RevisionView:
    view = RevisionView(
        name=name,
        model_uri=uri(letter),
        digest=digest(letter),
        model_hash=hash_model(spec.model),
        inputs_hash=hash_inputs(spec, uri(letter), digest(letter)),
        port=3000,
        role=RevisionRole.STABLE,
        stable_at=NOW,
    )
    return replace(view, **changes)  # type: ignore[arg-type]


def test_first_wish_is_the_specs_model() -> None:
    wanted = choose_wanted(spec_of("a"), None, (), {})
    assert (wanted.model_uri, wanted.origin) == (uri("a"), Origin.SPEC)


def test_edit_of_anything_else_rebases_on_the_stable_revisions_model() -> None:
    spec = spec_of("a")
    stable = made_for(spec, "d", origin=Origin.RETRAINING, retraining_run="wine-run-1")
    edited = spec_of("a", server={"resources": {"requests": {"cpu": "2"}}})
    wanted = choose_wanted(edited, stable, (), {"wine-1": stable})
    assert (wanted.model_uri, wanted.origin, wanted.retraining_run) == (
        uri("d"),
        Origin.RETRAINING,
        "wine-run-1",
    )
    assert choose_target(wanted, {"wine-1": stable}, "wine-1", None, "wine-x") is None


def test_changed_model_in_the_spec_always_wins() -> None:
    spec = spec_of("a")
    stable = made_for(spec, "d", origin=Origin.RETRAINING)
    run = run_of(phase="Accepted", champion="d", candidate="e")
    wanted = choose_wanted(spec_of("b"), stable, (run,), {"wine-1": stable})
    assert (wanted.model_uri, wanted.origin) == (uri("b"), Origin.SPEC)


def test_accepted_candidate_is_wanted() -> None:
    spec = spec_of("a")
    stable = made_for(spec, "a")
    wanted = choose_wanted(spec, stable, (run_of(phase="Accepted", candidate="e"),), {"wine-1": stable})
    assert (wanted.model_uri, wanted.origin, wanted.retraining_run) == (
        uri("e"),
        Origin.RETRAINING,
        "wine-run-1",
    )


def test_refused_candidate_is_not_wanted() -> None:
    spec = spec_of("a")
    stable = made_for(spec, "a")
    assert choose_wanted(spec, stable, (run_of(phase="Refused"),), {"wine-1": stable}).model_uri == uri("a")


def test_candidate_of_an_older_run_is_not_wanted() -> None:
    spec = spec_of("a")
    stable = made_for(spec, "a")
    old = run_of("wine-run-1", phase="Accepted", candidate="e", age=timedelta(days=2))
    new = run_of("wine-run-2", phase="Running", breach="accuracy-2", age=timedelta(hours=1))
    assert choose_wanted(spec, stable, (old, new), {"wine-1": stable}).model_uri == uri("a")


def test_candidate_is_not_wanted_once_another_model_is_stable() -> None:
    spec = spec_of("a")
    stable = made_for(spec, "f")
    run = run_of(phase="Accepted", candidate="e", champion="a")
    assert choose_wanted(spec, stable, (run,), {"wine-1": stable}).model_uri == uri("f")


def test_promoted_candidate_stays_stable_and_no_new_revision_is_wanted() -> None:
    spec = spec_of("a")
    stable = made_for(spec, "e", origin=Origin.RETRAINING, retraining_run="wine-run-1")
    run = run_of(phase="Accepted", candidate="e")
    wanted = choose_wanted(spec, stable, (run,), {"wine-1": stable})
    assert choose_target(wanted, {"wine-1": stable}, "wine-1", None, "wine-x") == "wine-1"


def test_candidate_that_failed_is_not_brought_back_by_an_edit_of_the_server() -> None:
    spec = spec_of("a")
    stable = made_for(spec, "a")
    failed = made_for(
        spec, "e", "wine-2", role=RevisionRole.FAILED, retraining_run="wine-run-1", stable_at=None
    )
    run = run_of(phase="Accepted", candidate="e")
    revisions = {"wine-1": stable, "wine-2": failed}
    still = choose_wanted(spec, stable, (run,), revisions)
    assert choose_target(still, revisions, "wine-1", None, "wine-2") == "wine-2"
    edited = spec_of("a", server={"resources": {"requests": {"cpu": "2"}}})
    assert choose_wanted(edited, stable, (run,), revisions).model_uri == uri("a")


def test_number_of_replicas_makes_no_revision() -> None:
    few, many = spec_of("a"), spec_of("a", server={"minReplicas": 9})
    assert hash_inputs(few, uri("a"), digest("a")) == hash_inputs(many, uri("a"), digest("a"))


def test_logger_makes_a_revision() -> None:
    plain, silent = spec_of("a"), spec_of("a", logger={"mode": "None"})
    assert hash_inputs(plain, uri("a"), digest("a")) != hash_inputs(silent, uri("a"), digest("a"))


def wish() -> tuple[ModelDeploymentSpec, Wanted]:
    spec = spec_of("a")
    return spec, choose_wanted(spec, None, (), {})


def test_changed_runtime_replaces_no_revision_that_was_stable() -> None:
    spec, wanted = wish()
    proven = made_for(spec, "a")
    assert choose_target(wanted, {"wine-1": proven}, "wine-1", None, "wine-new") == "wine-1"


def test_changed_runtime_replaces_a_revision_that_never_was_stable() -> None:
    spec, wanted = wish()
    unproven = made_for(spec, "a", stable_at=None, role=RevisionRole.FAILED)
    assert choose_target(wanted, {"wine-1": unproven}, None, None, "wine-new") is None
    assert choose_target(wanted, {"wine-1": unproven}, None, None, "wine-1") == "wine-1"


def test_missing_runtime_leaves_the_revision_that_is_there() -> None:
    spec, wanted = wish()
    unproven = made_for(spec, "a", stable_at=None, role=RevisionRole.CANARY)
    assert choose_target(wanted, {"wine-1": unproven}, None, "wine-1", None) == "wine-1"


def test_candidate_that_was_stable_and_replaced_does_not_come_back() -> None:
    spec = spec_of("a")
    stable = made_for(spec, "a")
    was = made_for(spec, "e", "wine-2", role=RevisionRole.RETIRED, retraining_run="wine-run-1")
    run = run_of(phase="Accepted", candidate="e")
    assert choose_wanted(spec, stable, (run,), {"wine-1": stable, "wine-2": was}).model_uri == uri("a")


def test_candidate_marked_stable_before_the_status_says_so_is_still_wanted() -> None:
    spec = spec_of("a")
    stable = made_for(spec, "a", role=RevisionRole.RETIRED)
    candidate = made_for(spec, "e", "wine-2", retraining_run="wine-run-1")
    run = run_of(phase="Accepted", candidate="e")
    assert choose_wanted(spec, stable, (run,), {"wine-1": stable, "wine-2": candidate}).model_uri == uri("e")
