"""Which model is wanted: the spec's, a candidate's, or the stable revision's."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from perennial.rollout import lineage
from perennial.rollout.lineage import (
    Wanted,
    choose_again,
    choose_target,
    choose_wanted,
    hash_inputs,
    hash_model,
)
from perennial.rollout.machine import find_stable
from perennial.rollout.observed import RevisionView
from perennial_api.modeldeployment.resource import ModelDeploymentSpec
from perennial_api.modeldeployment.status import RolloutPhase, RolloutStatus
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


def private_spec(secret: str, **parts: object) -> ModelDeploymentSpec:
    model = {"uri": "s3://models/wine.tar", "sha256": "a" * 64, "secretRef": {"name": secret}}
    return ModelDeploymentSpec.model_validate({"model": model, **parts})


def test_edit_of_anything_else_keeps_the_secret_of_the_stable_revisions_store() -> None:
    spec = private_spec("wine-s3")
    first = choose_wanted(spec, None, (), {})
    assert first.secret == "wine-s3"
    stable = made_for(spec, "a", model_uri=first.model_uri, inputs_hash=first.inputs_hash, secret="wine-s3")
    assert choose_wanted(spec, stable, (), {"wine-1": stable}).inputs_hash == first.inputs_hash
    edited = private_spec("wine-s3", server={"resources": {"requests": {"cpu": "2"}}})
    got = choose_wanted(edited, stable, (), {"wine-1": stable})
    assert (got.model_uri, got.secret) == ("s3://models/wine.tar", "wine-s3")
    assert got.inputs_hash != first.inputs_hash


def test_another_secret_is_another_wish() -> None:
    spec = private_spec("wine-s3")
    stable = made_for(spec, "a", model_uri=spec.model.uri, secret="wine-s3")
    got = choose_wanted(private_spec("new-s3"), stable, (), {"wine-1": stable})
    assert got.secret == "new-s3"
    assert choose_target(got, {"wine-1": stable}, "wine-1", None, "wine-x") is None


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
    tenth = spec_of("a", logger={"percent": 10})
    assert hash_inputs(plain, uri("a"), digest("a")) != hash_inputs(tenth, uri("a"), digest("a"))


def test_logging_everything_is_hashed_as_it_was_before_there_was_a_share(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lineage, "digest_of", lambda wish: wish)
    got: Any = hash_inputs(spec_of("a"), uri("a"), digest("a"))
    assert got["logger"] == {"mode": "All", "exclude": []}


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


def consumed(view: RevisionView, spec: ModelDeploymentSpec) -> RevisionView:
    """Return a revision that was chosen, by undo or as a winner, while this spec was in force."""
    return replace(
        view,
        consumed_model_hash=hash_model(spec.model),
        consumed_inputs_hash=hash_inputs(spec, view.model_uri, view.digest),
    )


def test_undo_holds_while_the_specs_model_stays_what_it_was() -> None:
    old, new = spec_of("a"), spec_of("b")
    back = consumed(made_for(old, "a"), new)
    left = made_for(new, "b", "wine-2", role=RevisionRole.RETIRED)
    revisions = {"wine-1": back, "wine-2": left}
    wanted = choose_wanted(new, back, (), revisions)
    assert choose_target(wanted, revisions, "wine-1", None, "wine-x") == "wine-1"


def test_edit_of_anything_else_rebases_on_what_undo_chose() -> None:
    old, new = spec_of("a"), spec_of("b")
    back = consumed(made_for(old, "a"), new)
    edited = spec_of("b", logger={"mode": "None"})
    wanted = choose_wanted(edited, back, (), {"wine-1": back})
    assert wanted.model_uri == uri("a")
    assert wanted.model_hash == hash_model(new.model)
    assert choose_target(wanted, {"wine-1": back}, "wine-1", None, "wine-x") is None


def test_undo_ends_when_the_specs_model_changes() -> None:
    back = consumed(made_for(spec_of("a"), "a"), spec_of("b"))
    assert choose_wanted(spec_of("c"), back, (), {"wine-1": back}).model_uri == uri("c")


def test_return_of_the_spec_to_the_undone_revisions_own_model_finds_that_revision() -> None:
    back = consumed(made_for(spec_of("a"), "a"), spec_of("b"))
    wanted = choose_wanted(spec_of("a"), back, (), {"wine-1": back})
    assert choose_target(wanted, {"wine-1": back}, "wine-1", None, "wine-x") == "wine-1"


def test_undo_from_a_retrained_candidate_does_not_bring_it_back() -> None:
    spec = spec_of("a")
    first = consumed(made_for(spec, "a", role=RevisionRole.RETIRED), spec)
    candidate = made_for(spec, "e", "wine-2", retraining_run="wine-run-1")
    run = run_of(phase="Accepted", candidate="e")
    revisions = {"wine-1": first, "wine-2": candidate}
    assert choose_wanted(spec, candidate, (run,), revisions, first).model_uri == uri("a")
    stable = replace(first, role=RevisionRole.STABLE)
    replaced = replace(candidate, role=RevisionRole.RETIRED)
    after = choose_wanted(spec, stable, (run,), {"wine-1": stable, "wine-2": replaced})
    assert after.model_uri == uri("a")


def variant_of(spec: ModelDeploymentSpec, **changes: object) -> RevisionView:
    base: dict[str, object] = {
        "origin": Origin.EXPERIMENT,
        "role": RevisionRole.VARIANT,
        "stable_at": None,
    }
    return made_for(spec, "f", "wine-v", **base | changes)


def test_variant_with_the_very_model_of_the_spec_is_no_target() -> None:
    spec = spec_of("f")
    wanted = choose_wanted(spec, None, (), {})
    assert choose_target(wanted, {"wine-v": variant_of(spec)}, None, None, None) is None


def test_variant_is_never_stable_by_accident() -> None:
    assert find_stable(None, {"wine-v": variant_of(spec_of("a"))}) is None


def test_winner_of_an_experiment_is_what_is_asked_for_until_it_is_replaced() -> None:
    spec = spec_of("a")
    revisions = {"wine-1": made_for(spec, "a"), "wine-v": consumed(variant_of(spec), spec)}
    status = RolloutStatus(phase=RolloutPhase.HEALTHY, stable="wine-1")
    chosen = choose_again(status, revisions, "wine-1", "wine-v")
    assert chosen is not None
    wanted = choose_wanted(spec, revisions["wine-1"], (), revisions, chosen)
    assert choose_target(wanted, revisions, "wine-1", None, "wine-x") == "wine-v"
    replaced = replace(chosen, role=RevisionRole.RETIRED, stable_at=NOW)
    assert choose_again(status, {**revisions, "wine-v": replaced}, "wine-1", "wine-v") is None


def test_winner_that_is_stable_stays_and_an_edit_makes_an_ordinary_revision_of_it() -> None:
    spec = spec_of("a")
    winner = consumed(variant_of(spec, role=RevisionRole.STABLE, stable_at=NOW), spec)
    wanted = choose_wanted(spec, winner, (), {"wine-v": winner})
    assert choose_target(wanted, {"wine-v": winner}, "wine-v", None, "wine-x") == "wine-v"
    edited = choose_wanted(spec_of("a", logger={"mode": "None"}), winner, (), {"wine-v": winner})
    assert (edited.model_uri, edited.origin) == (uri("f"), Origin.SPEC)


def test_choice_on_trial_outlives_a_lost_status() -> None:
    spec = spec_of("a")
    on_trial = consumed(variant_of(spec, role=RevisionRole.CANARY), spec)
    revisions = {"wine-1": made_for(spec, "a"), "wine-v": on_trial}
    assert choose_again(None, revisions, "wine-1", None) == on_trial
