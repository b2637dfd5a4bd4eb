"""`spec.experiment`: a long-running comparison of variants with the stable revision."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from perennial_api.base import Model, Rule
from perennial_api.durations import Duration
from perennial_api.modeldeployment.model import ModelSource
from perennial_api.modelroute import GATEWAY_HEADERS
from perennial_api.types import AtLeast, Bool, Float, Int, KeyedBy, Name, PositiveDuration

__all__ = [
    "ABTest",
    "Bandit",
    "BanditAlgorithm",
    "Experiment",
    "ExperimentType",
    "Reward",
    "RouteType",
    "Shadow",
    "Variant",
    "Winner",
]

_FULL_PERCENT = 100


class ExperimentType(StrEnum):
    """What is compared, and how."""

    AB_TEST = "ABTest"
    BANDIT = "Bandit"
    SHADOW = "Shadow"


class RouteType(StrEnum):
    """By what a client is told from another."""

    HEADER = "Header"
    COOKIE = "Cookie"
    RANDOM = "Random"


class Reward(StrEnum):
    """What counts as a success of an arm."""

    FEEDBACK = "Feedback"
    NO_ERROR = "NoError"


class Variant(Model):
    """One model beside the stable revision."""

    name: Name
    """Name of the variant; stable is taken."""
    model: ModelSource
    """The model bundle that the variant serves."""
    weight: Annotated[Int, Field(ge=1, le=99)] | None = None
    """Its share in percent, 1 to 99, for type ABTest; the stable revision has the rest."""


class Winner(Model):
    """The rule that ends an A/B test early."""

    reward: Reward = Reward.FEEDBACK
    """Feedback takes the variant whose predictions are proved right more often; NoError the one that fails less."""
    confidence: Annotated[Float, Field(ge=0.5, lt=1)] = 0.99
    """How sure the rule must be, a probability from 0.5 to below 1, held however often it looks."""
    min_samples: Annotated[Int, Field(ge=1, le=1_000_000_000)] = 200
    """How many requests (labels for Feedback) each arm must have."""
    promote: Bool = False
    """True makes the winner the stable revision; False only reports it."""


def _header_reaches_gateway(test: "ABTest") -> bool:
    name = test.route_by or ""
    return test.route_type is not RouteType.HEADER or not (
        name.startswith("x-envoy-") or name in GATEWAY_HEADERS
    )


class ABTest(Model):
    """Fixed shares; every client keeps its arm."""

    rules = (
        Rule(
            cel="(self.routeType == 'Random') == !has(self.routeBy)",
            message="routeBy names the header or cookie of routeType Header or Cookie; Random has none",
            holds=lambda self: (self.route_type is RouteType.RANDOM) == (self.route_by is None),
        ),
        Rule(
            cel="self.routeType != 'Header' || !has(self.routeBy) || !(self.routeBy.startsWith('x-envoy-')"
            f" || self.routeBy in {list(GATEWAY_HEADERS)})",
            message="routeBy is a header that the gateway drops or sets itself: choose one that your clients send",
            holds=_header_reaches_gateway,
        ),
    )

    route_type: RouteType
    """Header and Cookie keep a client on its arm; Random draws for each request."""
    route_by: (
        Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[a-z0-9][a-z0-9_-]*$")]
        | None
    ) = None
    """Name of the header or cookie that tells clients apart, in lower case."""
    max_duration: Annotated[Duration, AtLeast("1s")] = Duration("14d")
    """When the test ends at the latest."""
    winner: Winner | None = None
    """The rule that ends it early; left out, it runs for maxDuration."""


class BanditAlgorithm(StrEnum):
    """How shares follow rewards."""

    THOMPSON = "Thompson"
    EPSILON_GREEDY = "EpsilonGreedy"


class Bandit(Model):
    """Shares that follow the rewards."""

    algorithm: BanditAlgorithm = BanditAlgorithm.THOMPSON
    """Thompson gives each arm the probability that it is the best; EpsilonGreedy the best arm so far all but
    epsilon."""
    reward: Reward
    """Feedback (a label that proves the prediction right) or NoError (an answer that isn't 5xx)."""
    interval: PositiveDuration = Duration("1m")
    """How often shares are reckoned anew."""
    min_weight: Annotated[Int, Field(ge=0, le=50)] = 5
    """Smallest share of an arm, in percent, unless it is unsafe; all arms' together at most 100."""
    max_step: Annotated[Int, Field(ge=1, le=100)] = 10
    """Most that an arm's share changes at a time, in percentage points."""
    discount: Annotated[Float, Field(gt=0, le=1)] = 0.99
    """What a reward counts one interval later, a factor from above 0 to 1; 1 never forgets."""
    epsilon: Annotated[Float, Field(gt=0, lt=1)] = 0.1
    """Share of the requests that EpsilonGreedy spreads evenly, a fraction between 0 and 1."""
    min_samples: Annotated[Int, Field(ge=1, le=1_000_000_000)] = 200
    """How many rewards each safe arm must have before the bandit can end by stopAt."""
    stop_at: Annotated[Float, Field(gt=0.5, lt=1)] | None = None
    """Probability that one arm is the best at which the bandit ends; left out, it runs for maxDuration."""
    promote: Bool = False
    """True makes the best arm the stable revision when the bandit ends by stopAt; False only reports it."""
    max_duration: Annotated[Duration, AtLeast("1s")] = Duration("14d")
    """When it ends at the latest."""


class Shadow(Model):
    """Copies of requests for one variant; its answers are compared and thrown away."""

    percent: Annotated[Int, Field(ge=1, le=100)] = 100
    """Share of the requests that are copied, in percent, 1 to 100."""
    max_duration: Annotated[Duration, AtLeast("1s")] = Duration("14d")
    """When it ends."""


_MEMBERS = (("ABTest", "abTest"), ("Bandit", "bandit"), ("Shadow", "shadow"))


def _weights_fit(experiment: "Experiment") -> bool:
    weights = [variant.weight for variant in experiment.variants]
    if experiment.type is not ExperimentType.AB_TEST:
        return all(weight is None for weight in weights)
    given = [weight for weight in weights if weight is not None]
    return len(given) == len(weights) and sum(given) < _FULL_PERCENT


def _member_matches(experiment: "Experiment") -> bool:
    members = {
        ExperimentType.AB_TEST: experiment.ab_test,
        ExperimentType.BANDIT: experiment.bandit,
        ExperimentType.SHADOW: experiment.shadow,
    }
    return all((member is not None) == (kind is experiment.type) for kind, member in members.items())


class Experiment(Model):
    """A comparison beside the stable revision. A rollout waits until it ends."""

    rules = (
        Rule(
            cel=" && ".join(f"(self.type == '{kind}') == has(self.{member})" for kind, member in _MEMBERS),
            message="an experiment has the member of its type and no other: abTest for ABTest, bandit for Bandit, shadow for Shadow",
            holds=_member_matches,
        ),
        Rule(
            cel=(
                "self.type == 'ABTest'"
                " ? self.variants.all(v, has(v.weight)) && self.variants.map(v, has(v.weight) ? v.weight : 0).sum() < 100"
                " : self.variants.all(v, !has(v.weight))"
            ),
            message="the variants of an ABTest have weights that sum to less than 100, the stable revision has the rest; those of other types have none",
            holds=_weights_fit,
        ),
        Rule(
            cel="self.type != 'Shadow' || self.variants.size() == 1",
            message="an experiment of type Shadow has exactly one variant: remove the others",
            holds=lambda self: self.type is not ExperimentType.SHADOW or len(self.variants) == 1,
        ),
        Rule(
            cel="!has(self.bandit) || self.bandit.minWeight * (self.variants.size() + 1) <= 100",
            message="bandit.minWeight times the number of arms (the variants and stable) is above 100: lower it",
            holds=lambda self: (
                self.bandit is None or self.bandit.min_weight * (len(self.variants) + 1) <= _FULL_PERCENT
            ),
        ),
        Rule(
            cel="self.variants.all(v, v.name != 'stable')",
            message="a variant can't be called stable: that is the revision it is compared with; rename it",
            holds=lambda self: all(variant.name != "stable" for variant in self.variants),
        ),
    )

    type: ExperimentType
    """ABTest keeps clients on fixed shares, Bandit moves the shares by rewards, Shadow copies requests."""
    variants: Annotated[tuple[Variant, ...], Field(min_length=1, max_length=8), KeyedBy("name")]
    """The models that are compared with the stable revision, 1 to 8."""
    ab_test: ABTest | None = None
    """How type ABTest splits and ends."""
    bandit: Bandit | None = None
    """How type Bandit learns and ends."""
    shadow: Shadow | None = None
    """How much type Shadow copies, and for how long."""
