from collections.abc import Iterator
from contextlib import suppress
from threading import Event

import pytest
from perennial_api.modeldeployment.monitoring import Custom
from perennial_observer.monitors.custom import monitor as custom
from perennial_observer.monitors.custom.call import Answer, read_answer
from perennial_observer.monitors.custom.monitor import (
    Asked,
    CustomCalls,
    CustomLimits,
    NotYetJudged,
    assess_answer,
    build_columns,
    is_allowed_function,
    is_allowed_url,
)
from perennial_observer.store.rows import LoggedRow

ROWS = [
    LoggedRow(1, 10.0, {"age": 20, "country": "FR"}, {"predict": 1}, label=0, has_label=True),
    LoggedRow(2, 11.0, {"age": None}, {"predict": 0}),
]
SPEC = Custom.model_validate({"entryPoint": "shop.checks:margin", "max": 3.0})
WAIT_S = 30.0


@pytest.mark.parametrize(
    ("url", "want"),
    [
        ("http://checks.shop:8080/wine", True),
        ("http://checks.shop:8080/wine/margin", True),
        ("http://CHECKS.shop:8080/wine?of=red", True),
        ("http://checks.shop:8080/winery", False),
        ("http://checks.shop:8080/", False),
        ("http://checks.shop:8080/wine/../secrets", False),
        ("http://checks.shop:8080/wine/%2e%2e/secrets", False),
        ("http://checks.shop:8080/wine/..%5csecrets", False),
        ("http://checks.shop/wine", False),
        ("https://checks.shop:8080/wine", False),
        ("http://checks.shop:8080.evil.com/wine", False),
        ("http://checks.shop:8080@evil.com/wine", False),
        ("http://other.shop", True),
        ("http://other.shop/any", True),
        ("http://other.shop.evil.com/", False),
    ],
)
def test_only_allowed_addresses_and_what_is_below_them(url, want):
    assert is_allowed_url(url, ("http://checks.shop:8080/wine/", "http://other.shop")) is want


@pytest.mark.parametrize(
    ("function", "want"),
    [
        ("shop.checks:margin", True),
        ("shop:margin", True),
        ("shopping:margin", False),
        ("os:abort", False),
        ("other.checks:margin", True),
        ("other:margin", False),
    ],
)
def test_only_allowed_packages_and_what_is_below_them(function, want):
    assert is_allowed_function(function, ("shop", "other.checks")) is want


@pytest.mark.parametrize(
    ("body", "want"),
    [
        (b'{"value": 1.5}', Answer(1.5)),
        (b'{"value": 2, "unit": "EUR"}', Answer(2.0)),
        (
            b'{"reason": "CustomFailed", "message": "KeyError:\\n age"}',
            Answer(None, "CustomFailed", "KeyError: age"),
        ),
    ],
)
def test_an_answer_is_a_number_or_says_what_went_wrong(body, want):
    assert read_answer(body) == want


@pytest.mark.parametrize(
    "body",
    [
        b"1.5",
        b"high",
        b"",
        b'{"value": NaN}',
        b'{"value": 1e999}',
        b'{"value": "1.5"}',
        b'{"value": true}',
        b'{"value": null}',
        b'{"values": 1}',
        b'{"value": 1}' + b" " * (64 << 10),
    ],
)
def test_nonsense_is_no_number(body):
    got = read_answer(body)
    assert (got.value, got.reason) == (None, "CustomInvalid")


def test_a_reason_of_somebody_elses_is_not_repeated():
    assert read_answer(b'{"reason": "WithinBound", "message": "fine"}').reason == "CustomFailed"


@pytest.mark.parametrize(
    ("value", "breached", "threshold", "says"),
    [
        (5.0, False, 3.0, "the value is 5, within min and max, the nearer is 3"),
        (9.0, False, 10.0, "the value is 9, within min and max, the nearer is 10"),
        (2.5, True, 3.0, "the value is 2.5, below min 3"),
        (11.0, True, 10.0, "the value is 11, above max 10"),
    ],
)
def test_bounds_decide(value, breached, threshold, says):
    spec = Custom.model_validate({"url": "http://checks.shop", "min": 3.0, "max": 10.0})
    got = assess_answer(Answer(value), spec, 100)
    assert (got.breached, got.statistic, got.threshold, got.message) == (breached, value, threshold, says)


def test_no_number_is_a_failure_and_no_breach():
    got = assess_answer(Answer(None, "CustomFailed", "ValueError: no"), SPEC, 100)
    assert (got.breached, got.failed, got.reason, got.message) == (
        None,
        True,
        "CustomFailed",
        "ValueError: no",
    )


def test_a_window_is_laid_out_by_column():
    assert build_columns(ROWS) == {
        "age": [20, None],
        "country": ["FR", None],
        "__output__predict": [1, 0],
        "__label__": [0, None],
        "__event_time__": [10.0, 11.0],
    }


class Slow:
    """Stands for the user's function: answers when it is let go, and counts how often it was asked."""

    def __init__(self) -> None:
        self.go, self.asked = Event(), 0

    def __call__(self, *_: object) -> Answer:
        self.asked += 1
        assert self.go.wait(WAIT_S)
        return Answer(2.0)


@pytest.fixture
def slow(monkeypatch) -> Iterator[Slow]:
    function = Slow()
    monkeypatch.setattr(custom, "_ask", function)
    yield function
    function.go.set()


@pytest.fixture
def calls(slow) -> Iterator[CustomCalls]:
    calls = CustomCalls(CustomLimits(modules=("shop",)))
    yield calls
    # What hasn't begun would ask the next test's function.
    slow.go.set()
    calls._pool.shutdown()


def finish(calls: CustomCalls) -> None:
    for _, future in calls._waiting.values():
        future.result(WAIT_S)


def test_nobody_waits_for_an_answer_which_a_later_look_finds(slow, calls):
    asked = Asked({}, ROWS, None)
    for _ in range(3):
        with pytest.raises(NotYetJudged):
            calls.ask("mine", SPEC, asked)
    slow.go.set()
    finish(calls)
    assert calls.ask("mine", SPEC, asked) == Answer(2.0)
    assert slow.asked == 1


def test_an_answer_about_another_window_is_not_taken_for_this_ones(slow, calls):
    slow.go.set()
    with pytest.raises(NotYetJudged):
        calls.ask("mine", SPEC, Asked({}, ROWS[:1], None))
    finish(calls)
    with pytest.raises(NotYetJudged):
        calls.ask("mine", SPEC, Asked({}, ROWS, None))
    finish(calls)
    assert calls.ask("mine", SPEC, Asked({}, ROWS, None)) == Answer(2.0)
    assert slow.asked == 2


def test_at_most_two_are_asked_at_once(slow, calls):
    for monitor in ("first", "second", "third"):
        with pytest.raises(NotYetJudged):
            calls.ask(monitor, SPEC, Asked({}, ROWS, None))
    assert set(calls._waiting) == {"first", "second"}
    slow.go.set()
    finish(calls)
    with pytest.raises(NotYetJudged):
        calls.ask("third", SPEC, Asked({}, ROWS, None))
    finish(calls)
    assert calls.ask("third", SPEC, Asked({}, ROWS, None)) == Answer(2.0)


def look(calls: CustomCalls, *monitors: str) -> None:
    """Ask about the next window of each monitor, once there is an answer about the one before."""
    for monitor in monitors:
        with suppress(NotYetJudged):
            calls.ask(monitor, SPEC, Asked({}, ROWS, None))
            calls.ask(monitor, SPEC, Asked({}, ROWS, None))
    calls.end_look()


def test_who_found_no_room_comes_before_those_who_had_it(slow, calls):
    everybody = ("first", "second", "third", "fourth", "fifth")
    look(calls, *everybody)
    served = [set(calls._waiting)]
    for _ in range(2):
        slow.go.set()
        finish(calls)
        slow.go.clear()
        look(calls, *everybody)
        served.append({name for name, (_, future) in calls._waiting.items() if not future.done()})
    assert served == [{"first", "second"}, {"third", "fourth"}, {"fifth", "first"}]


def test_who_comes_no_more_keeps_nobody_waiting(slow, calls):
    look(calls, "first", "second", "gone", "gone-too", "last")
    slow.go.set()
    finish(calls)
    look(calls, "last")
    slow.go.clear()
    look(calls, "last")
    assert "last" in calls._waiting


@pytest.mark.parametrize(
    ("spec", "reason", "setting"),
    [
        ({"entryPoint": "os:abort"}, "ModuleNotAllowed", "observer.customModules"),
        ({"url": "http://metadata.internal/"}, "AddressNotAllowed", "observer.customUrls"),
    ],
)
def test_what_the_installation_does_not_allow_is_never_asked(slow, calls, spec, reason, setting):
    got = calls.ask("mine", Custom.model_validate({**spec, "max": 1.0}), Asked({}, ROWS, None))
    assert (got.value, got.reason) == (None, reason)
    assert setting in got.message
    assert slow.asked == 0
