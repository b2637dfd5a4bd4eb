"""Good and bad experiments."""

from collections.abc import Mapping
from typing import Any

from tests.contract.crds.table import (
    DROP,
    FULL,
    MINIMAL,
    OTHER_DIGEST,
    PVC,
    Case,
    bad_deployment,
    with_changes,
)

OTHER = {"uri": f"perennial://sha256:{OTHER_DIGEST}"}
VARIANTS = "spec/experiment/variants"
WINNER = "spec/experiment/abTest/winner"
BANDIT = "spec/experiment/bandit"


def _with_experiment(experiment: Mapping[str, Any], base: Mapping[str, Any] = FULL) -> dict[str, Any]:
    return with_changes(base, {"spec/experiment": dict(experiment)})


AB_TEST = _with_experiment(
    {
        "type": "ABTest",
        "variants": [
            {"name": "forest", "weight": 30, "model": OTHER},
            {"name": "linear", "weight": 20, "model": PVC},
        ],
        "abTest": {
            "routeType": "Header",
            "routeBy": "x-user-id",
            "maxDuration": "7d",
            "winner": {"reward": "Feedback", "confidence": 0.95, "minSamples": 500, "promote": True},
        },
    }
)
BANDITS = _with_experiment(
    {
        "type": "Bandit",
        "variants": [{"name": "forest", "model": OTHER}, {"name": "linear", "model": OTHER}],
        "bandit": {
            "algorithm": "EpsilonGreedy",
            "reward": "Feedback",
            "interval": "30s",
            "minWeight": 10,
            "maxStep": 5,
            "discount": 1,
            "epsilon": 0.2,
            "minSamples": 50,
            "stopAt": 0.95,
            "promote": True,
            "maxDuration": "1d",
        },
    }
)
SHADOW = _with_experiment(
    {
        "type": "Shadow",
        "variants": [{"name": "forest", "model": OTHER}],
        "shadow": {"percent": 10, "maxDuration": "1h"},
    }
)
# Without log, monitors and what needs them.
UNLOGGED = with_changes(MINIMAL, {"spec/logger": {"mode": "None"}})


def _without_log(experiment: Mapping[str, Any]) -> dict[str, Any]:
    return with_changes(UNLOGGED, {"spec/experiment": experiment["spec"]["experiment"]})


GOOD_EXPERIMENTS = (
    Case("every field of an A/B test", AB_TEST),
    Case("every field of a bandit", BANDITS),
    Case("every field of a shadow", SHADOW),
    Case(
        "an A/B test by cookie",
        with_changes(AB_TEST, {"spec/experiment/abTest": {"routeType": "Cookie", "routeBy": "arm"}}),
    ),
    Case(
        "an A/B test by request", with_changes(AB_TEST, {"spec/experiment/abTest": {"routeType": "Random"}})
    ),
    Case("the least of a bandit", with_changes(BANDITS, {BANDIT: {"reward": "NoError"}})),
    Case("the least of a shadow", with_changes(SHADOW, {"spec/experiment/shadow": {}})),
    Case(
        "an A/B test of errors without log",
        _without_log(with_changes(AB_TEST, {WINNER: {"reward": "NoError"}})),
    ),
    Case(
        "a bandit of errors without log", _without_log(with_changes(BANDITS, {f"{BANDIT}/reward": "NoError"}))
    ),
)


def _bad(name: str, base: Mapping[str, Any], changes: Mapping[str, Any], says: str = "") -> Case:
    return bad_deployment(name, changes, says, base)


BAD_EXPERIMENTS = (
    _bad("another experiment", AB_TEST, {"spec/experiment/type": "Interleaving"}),
    _bad("an experiment of nothing", AB_TEST, {VARIANTS: []}),
    _bad("an A/B test without its member", AB_TEST, {"spec/experiment/abTest": DROP}, "abTest for ABTest"),
    _bad("an A/B test with a shadow", AB_TEST, {"spec/experiment/shadow": {}}, "abTest for ABTest"),
    _bad("a bandit that is an A/B test", BANDITS, {"spec/experiment/type": "ABTest"}, "abTest for ABTest"),
    _bad("a variant twice", AB_TEST, {f"{VARIANTS}/1/name": "forest"}),
    _bad("a variant of no model", AB_TEST, {f"{VARIANTS}/0/model": DROP}),
    _bad("a variant off an unpinned volume", AB_TEST, {f"{VARIANTS}/1/model/sha256": DROP}, "needs sha256"),
    _bad("a variant called stable", AB_TEST, {f"{VARIANTS}/0/name": "stable"}, "can't be called stable"),
    _bad("too many variants", BANDITS, {VARIANTS: [{"name": f"v{n}", "model": OTHER} for n in range(9)]}),
    _bad("weights that leave stable nothing", AB_TEST, {f"{VARIANTS}/0/weight": 80}, "sum to less than 100"),
    _bad("a variant without weight", AB_TEST, {f"{VARIANTS}/0/weight": DROP}, "sum to less than 100"),
    _bad("a variant of no weight", AB_TEST, {f"{VARIANTS}/0/weight": 0}),
    _bad(
        "a bandit's arm with a weight",
        BANDITS,
        {f"{VARIANTS}/0/weight": 10},
        "those of other types have none",
    ),
    _bad("a shadow with a weight", SHADOW, {f"{VARIANTS}/0/weight": 10}, "those of other types have none"),
    _bad(
        "two shadows",
        SHADOW,
        {f"{VARIANTS}": [{"name": n, "model": OTHER} for n in "ab"]},
        "exactly one variant",
    ),
    _bad("a header that nobody named", AB_TEST, {"spec/experiment/abTest/routeBy": DROP}, "Random has none"),
    _bad(
        "a name for requests at random",
        AB_TEST,
        {"spec/experiment/abTest/routeType": "Random"},
        "Random has none",
    ),
    _bad(
        "a header that the gateway sets",
        AB_TEST,
        {"spec/experiment/abTest/routeBy": "x-model-revision"},
        "routeBy is a header that the gateway drops",
    ),
    _bad("a header in capitals", AB_TEST, {"spec/experiment/abTest/routeBy": "X-User-Id"}),
    _bad("another split", AB_TEST, {"spec/experiment/abTest/routeType": "Country"}),
    _bad("a test of no time", AB_TEST, {"spec/experiment/abTest/maxDuration": "0s"}, "at least 1s"),
    _bad("a coin's confidence", AB_TEST, {f"{WINNER}/confidence": 0.4}),
    _bad("all confidence", AB_TEST, {f"{WINNER}/confidence": 1}),
    _bad("a winner of nothing", AB_TEST, {f"{WINNER}/minSamples": 0}),
    _bad("another prize", AB_TEST, {f"{WINNER}/reward": "Clicks"}),
    _bad("a bandit without reward", BANDITS, {f"{BANDIT}/reward": DROP}),
    _bad("another bandit", BANDITS, {f"{BANDIT}/algorithm": "UCB"}),
    _bad("a bandit in a hurry", BANDITS, {f"{BANDIT}/interval": "0s"}, "at least 1s"),
    _bad("floors over 100", BANDITS, {f"{BANDIT}/minWeight": 34}, "times the number of arms"),
    _bad("a negative floor", BANDITS, {f"{BANDIT}/minWeight": -1}),
    _bad("a bandit that stands still", BANDITS, {f"{BANDIT}/maxStep": 0}),
    _bad("a discount of all", BANDITS, {f"{BANDIT}/discount": 0}),
    _bad("a discount that grows", BANDITS, {f"{BANDIT}/discount": 1.01}),
    _bad("only chance", BANDITS, {f"{BANDIT}/epsilon": 1}),
    _bad("an end at even odds", BANDITS, {f"{BANDIT}/stopAt": 0.5}),
    _bad("a bandit of no time", BANDITS, {f"{BANDIT}/maxDuration": "0s"}, "at least 1s"),
    _bad("a shadow of nothing", SHADOW, {"spec/experiment/shadow/percent": 0}),
    _bad("a shadow of no time", SHADOW, {"spec/experiment/shadow/maxDuration": "0s"}, "at least 1s"),
    Case("labels of an A/B test without log", _without_log(AB_TEST), "set logger.mode to All"),
    Case("labels of a bandit without log", _without_log(BANDITS), "set logger.mode to All"),
    Case("a shadow without log", _without_log(SHADOW), "set logger.mode to All"),
)
