"""A plan is a function of sets, and carrying it out leaves nothing to do."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from perennial.manifests.names import revision_name, server_account, trainer_account
from perennial.manifests.plan import Verb, build_plan, key_of

OWNER = "uid-of-wine"
KINDS = ["ServiceAccount", "ModelRevision", "Service", "Deployment", "ModelRoute", "RetrainingRun", "Job"]
names = st.from_regex(r"\A[a-z]([-a-z0-9]{0,38}[a-z0-9])?\Z")


def child(kind: str, name: str, owner: str, value: int) -> dict[str, Any]:
    metadata = {"name": name, "ownerReferences": [{"uid": owner}]}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, "spec": {"value": value}}


children = st.lists(
    st.builds(
        child,
        st.sampled_from(KINDS),
        st.sampled_from("abc"),
        st.sampled_from([OWNER, "other"]),
        st.integers(0, 2),
    ),
    max_size=12,
    unique_by=lambda c: (c["kind"], c["metadata"]["name"]),
)


def stored(manifest: dict[str, Any]) -> dict[str, Any]:
    metadata = {**manifest["metadata"], "uid": "u", "resourceVersion": "1"}
    return {**manifest, "metadata": metadata}


@given(children, children, st.randoms())
def test_plan_is_deterministic_and_its_execution_leaves_nothing_to_do(
    asked: list[dict[str, Any]], there: list[dict[str, Any]], random: Any
) -> None:
    asked = [a | {"metadata": {**a["metadata"], "ownerReferences": [{"uid": OWNER}]}} for a in asked]
    observed = {key_of(c): stored(c) for c in there}
    plan = build_plan(asked, observed, frozenset({OWNER}))
    shuffled, items = list(asked), list(observed.items())
    random.shuffle(shuffled)
    random.shuffle(items)
    assert build_plan(shuffled, dict(items), frozenset({OWNER})) == plan
    for write in plan.writes:
        if write.verb is Verb.DELETE:
            assert observed.pop(write.key)["metadata"]["ownerReferences"] == [{"uid": OWNER}]
        else:
            observed[write.key] = stored(dict(write.body))
    assert build_plan(asked, observed, frozenset({OWNER})).writes == ()


@given(names, st.lists(st.text(max_size=20), max_size=4))
def test_names_of_children_are_dns_labels(name: str, parts: list[str]) -> None:
    for got in (revision_name(name, *parts), server_account(name), trainer_account(name)):
        assert len(got) <= 63
        assert got == got.lower()
    assert revision_name(name, *parts) == revision_name(name, *parts)
