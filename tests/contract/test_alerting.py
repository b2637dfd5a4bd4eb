"""What the alert rules and dashboards ask for, observer and gateway export: every metric, and every label."""

import importlib.util
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType

import pytest
from perennial_api.monitorreport import MonitorState
from perennial_gateway.admin import EnvoyCounters
from perennial_gateway.clients import ClientCounter
from perennial_gateway.metrics import render_metrics
from perennial_gateway.prediction_log.collector import build_collector
from perennial_gateway.prediction_log.tensors import Unreadable
from perennial_gateway.settings import AgentSettings
from perennial_observer.gauges import MonitorGauges
from perennial_observer.metrics import Metrics
from perennial_observer.registry import Registry
from perennial_observer.service_level.judging import ServiceLevels
from perennial_observer.service_level.metrics import BudgetMetrics
from perennial_observer.settings import Settings
from perennial_observer.store.store import Store
from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).resolve().parents[2]
# Names that aren't metrics: PromQL's own words, functions and the labels of a grouping.
WORDS = {
    "by",
    "without",
    "absent",
    "clamp_min",
    "and",
    "or",
    "unless",
    "offset",
    "max",
    "min",
    "sum",
    "rate",
    "increase",
    "topk",
    "time",
}
TEXTS = re.compile(r'"[^"]*"')
NAMES = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
SELECTOR = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\{([^}]*)\}")
MATCHER = re.compile(r"\s*([a-zA-Z_]\w*)\s*(?:=~|!~|!=|=)\s*\"[^\"]*\"\s*(?:,|$)")


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("alerting", ROOT / "scripts" / "alerting.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ALERTING = load()


def expressions() -> Iterator[str]:
    for group in ALERTING.build_rules()["groups"]:
        for rule in group["rules"]:
            yield rule["expr"]
    for dashboard in (ALERTING.build_fleet(), ALERTING.build_model()):
        for panel in dashboard["panels"]:
            for target in panel["targets"]:
                yield target["expr"]
        for variable in dashboard["templating"]["list"]:
            found = (
                re.fullmatch(r"label_values\((.*), \w+\)", variable["query"]["query"])
                if variable["type"] == "query"
                else None
            )
            if found:
                yield found[1]


def routers(directory: Path) -> dict[str, set[str]]:
    """Names in the exposition of a gateway pod, with their labels."""
    log = build_collector(AgentSettings(name="a", pod_address="10.0.0.1"))
    log.counts.dropped["QueueFull"] += 1
    counters = EnvoyCounters("epoch", {}, 0, 0)
    clients = ClientCounter(directory / "clients", 10)
    text = render_metrics([], counters, {}, clients=clients, log=log, ready=True).decode()
    return {
        sample.name: set(sample.labels)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> dict[str, set[str]]:
    """Names in the exposition, with their labels."""
    store = Store.open(Settings(data_dir=tmp_path_factory.mktemp("data")))
    try:
        metrics = Metrics(store, dict)
        metrics.registry.register(BudgetMetrics(Registry(), ServiceLevels(store, lambda: 0.0)))
        found: dict[str, set[str]] = {}
        for family in (*metrics.registry.collect(), *MonitorGauges().families()):
            name = f"{family.name}_total" if family.type == "counter" else family.name
            found[name] = set(getattr(family, "_labelnames", ()))
        for counter in (metrics.log_rows, metrics.labels, metrics.looks, metrics.webhooks):
            (family,) = counter.collect()
            found[f"{family.name}_total"] = set(counter._labelnames)
        return found | routers(tmp_path_factory.mktemp("router"))
    finally:
        store.close()


def strip(expression: str) -> str:
    """Leave names of metrics only: no texts, matchers, ranges, groupings and modifiers."""
    bare = TEXTS.sub("", expression)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\b(?:by|without) \([^)]*\)|\boffset \w+", " ", bare)
    return re.sub(r"\b\d[\w.]*", " ", bare)


@pytest.mark.parametrize("expression", sorted(set(expressions())))
def test_every_metric_that_is_asked_for_is_exported(exported, expression):
    names = set(NAMES.findall(strip(expression))) - WORDS
    assert names
    assert names <= set(exported)


@pytest.mark.parametrize("expression", sorted(set(expressions())))
def test_every_label_that_is_asked_for_is_the_metrics_own(exported, expression):
    for name, inner in SELECTOR.findall(expression):
        assert MATCHER.sub("", inner) == "", f"{inner} isn't a list of matchers"
        assert set(MATCHER.findall(inner)) <= exported[name]
    metrics = [name for name in NAMES.findall(strip(expression)) if name in exported]
    for grouping in re.findall(r"\b(?:by|without) \(([^)]*)\)", expression):
        labels = {label.strip() for label in grouping.split(",")}
        assert any(labels <= exported[name] for name in metrics)


@pytest.mark.parametrize("expression", sorted(set(expressions())))
def test_brackets_match(expression):
    bare, before = TEXTS.sub("", expression), None
    bare = re.sub(r"[^()\[\]{}]", "", bare)
    while bare != before:
        bare, before = re.sub(r"\(\)|\[\]|\{\}", "", bare), bare
    assert bare == ""


def test_the_states_that_are_asked_for_are_states():
    asked = {state for text in expressions() for state in re.findall(r'state="(\w+)"', text)}
    assert asked
    assert asked <= {state.value for state in MonitorState}


def rule(alert: str) -> dict[str, str]:
    rules = [rule for group in ALERTING.build_rules()["groups"] for rule in group["rules"]]
    (found,) = (rule for rule in rules if rule["alert"] == alert)
    return found


def test_what_stands_on_the_monitors_gauges_outlives_a_restart_of_the_observer():
    for group in ALERTING.build_rules()["groups"]:
        for one in group["rules"]:
            is_gauge = re.search(r"perennial_monitor_|perennial_label_coverage", one["expr"]) is not None
            assert ("keep_firing_for" in one) == is_gauge, one["alert"]


def test_only_accepted_rows_count_as_recorded():
    (panel,) = (p for p in ALERTING.build_fleet()["panels"] if p["title"] == "Predictions recorded")
    for expression in (rule("PerennialLogStopped")["expr"], panel["targets"][0]["expr"]):
        assert set(re.findall(r"perennial_log_rows_total(\{[^}]*\})?", expression)) == {'{result="accepted"}'}


def test_late_rows_are_held_against_those_that_were_recorded():
    late, recorded = re.findall(r"perennial_log_rows_total(\{[^}]*\})", rule("PerennialRowsLate")["expr"])
    assert (late, recorded) == ('{result="late"}', '{result="accepted"}')


def test_performance_of_one_monitor_does_not_hide_behind_anothers():
    (panel,) = (p for p in ALERTING.build_model()["panels"] if p["title"] == "Performance")
    assert all("by (monitor, " in target["expr"] for target in panel["targets"])


def test_every_metric_of_the_error_budget_is_shown(exported):
    asked = " ".join(expressions())
    budget = {name for name in exported if name.startswith("perennial_error_budget")}
    assert budget
    assert all(name in asked for name in budget)


def test_an_observer_that_is_down_and_one_that_is_stuck_are_alarms():
    assert rule("PerennialObserverDown")["expr"].startswith("absent(")
    assert rule("PerennialLooksStopped")["labels"] == {"severity": "critical"}


Scene = Mapping[str, float | Mapping[str, float]]
OF_ONE_SERIES = re.compile(r"increase\((\w+)\[15m\]\)")
OVER_REASONS = re.compile(r'sum without \(reason\) \(increase\((\w+)(?:\{reason!="(\w+)"\})?\[15m\]\)\)')
NO_SERIES = "nothing"


def fires(expression: str, scene: Scene) -> bool:
    """Tell whether the rule fires for one pod whose metrics have grown so in 15 minutes.

    A metric with reasons has a number for each, and matches others only once they are summed; a sum over none has no
    series, so nothing compared with it is there. What is left has the same precedence in Python.
    """

    def add_up(found: re.Match[str]) -> str:
        reasons = scene[found[1]]
        assert isinstance(reasons, Mapping)
        grown = [number for reason, number in reasons.items() if reason != found[2]]
        return str(sum(grown)) if grown else NO_SERIES

    def look_up(found: re.Match[str]) -> str:
        number = scene[found[1]]
        assert not isinstance(number, Mapping), f"{found[1]} has a series for each reason"
        return str(number)

    numbers = OF_ONE_SERIES.sub(look_up, OVER_REASONS.sub(add_up, expression))
    sides = [side for side in numbers.split(" or ") if NO_SERIES not in side]
    return any(eval(side, {"__builtins__": {}, "clamp_min": max}) for side in sides)


def log_of(
    dropped: Mapping[str, float], *, offered: float = 10_000, taken: float = 10_000, left_out: float = 0
) -> Scene:
    what = "perennial_router_log"
    return {
        f"{what}_offered_total": offered,
        f"{what}_taken_total": taken,
        f"{what}_left_out_total": left_out,
        f"{what}_dropped_total": dropped,
    }


@pytest.mark.parametrize(
    ("scene", "want"),
    [
        pytest.param(log_of({}), False, id="nothing was ever dropped"),
        pytest.param(log_of({"QueueFull": 0}), False, id="nothing has been dropped for long"),
        pytest.param(log_of({}, offered=0, taken=0), False, id="no requests"),
        pytest.param(log_of({"QueueFull": 90}), False, id="fewer than one in a hundred dropped"),
        pytest.param(
            log_of({"QueueFull": 60, "Shutdown": 50}), True, id="more than one in a hundred dropped"
        ),
        pytest.param(log_of({}, left_out=9_900), False, id="one percent chosen, nothing dropped"),
        pytest.param(log_of({"QueueFull": 100}, left_out=9_900), True, id="one percent chosen, all dropped"),
        pytest.param(log_of({"QueueFull": 0}, left_out=10_005), False, id="more left out than yet offered"),
        pytest.param(log_of({}, taken=9_800), True, id="never dropped, but not taken from Envoy"),
        pytest.param(log_of({}, taken=9_950, left_out=9_900), False, id="nearly all taken from Envoy"),
        pytest.param(log_of({"Unreadable": 5_000}), False, id="only bodies that aren't of the protocol"),
        pytest.param(log_of({"Unreadable": 5_000, "QueueFull": 200}), True, id="others beside such bodies"),
    ],
)
def test_lost_log_is_an_alarm_by_what_should_have_been_logged(scene: Scene, want: bool):
    assert fires(rule("PerennialGatewayLogLost")["expr"], scene) is want


def test_reason_that_is_no_loss_is_the_gateways_word_for_bodies_that_are_not_of_the_protocol():
    assert re.findall(r'reason!="(\w+)"', rule("PerennialGatewayLogLost")["expr"]) == [Unreadable.__name__]


@pytest.mark.parametrize(
    ("taken", "dropped", "want"),
    [
        (1_000, {}, False),
        (1_000, {"limit": 0}, False),
        (980, {}, True),
        (1_000, {"limit": 9}, False),
        (1_000, {"limit": 20}, True),
    ],
)
def test_uncounted_clients_are_an_alarm(taken: float, dropped: Mapping[str, float], want: bool):
    what = "perennial_router_clients"
    scene = {
        f"{what}_offered_total": 1_000.0,
        f"{what}_taken_total": taken,
        f"{what}_dropped_total": dropped,
    }
    assert fires(rule("PerennialClientsLost")["expr"], scene) is want


def test_the_files_in_the_chart_are_those_that_are_generated():
    for path, want in ALERTING.render_files().items():
        assert path.read_text() == want, "run `make docs`"


def test_every_rule_says_who_and_how_severe():
    rules = [rule for group in ALERTING.build_rules()["groups"] for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert set(rule["annotations"]) == {"summary", "description"}


def test_panels_of_a_dashboard_do_not_overlap():
    for path in (ROOT / "charts" / "perennial" / "files" / "dashboards").glob("*.json"):
        cells: set[tuple[int, int]] = set()
        for panel in json.loads(path.read_text())["panels"]:
            place = panel["gridPos"]
            own = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            assert place["x"] + place["w"] <= 24
            assert not own & cells
            cells |= own
