"""What an answer of Prometheus is worth; pain 2 is that others take an empty vector or NaN for a number."""

import json

import pytest
from perennial.cluster.prometheus import MOST_BYTES, read_answer, render_query


def answer(kind: str, result: object) -> bytes:
    return json.dumps({"status": "success", "data": {"resultType": kind, "result": result}}).encode()


def vector(*values: str) -> bytes:
    return answer("vector", [{"metric": {"pod": str(i)}, "value": [1.0, v]} for i, v in enumerate(values)])


@pytest.mark.parametrize(
    ("body", "want"),
    [
        (answer("scalar", [1.0, "0.93"]), 0.93),
        (vector("-2"), -2.0),
        (vector("1e3"), 1000.0),
        (vector("0"), 0.0),
    ],
)
def test_scalar_and_vector_of_one_series_are_numbers(body: bytes, want: float) -> None:
    got = read_answer(200, body)
    assert (got.value, got.reason) == (want, "")


@pytest.mark.parametrize(
    ("status", "body", "want"),
    [
        (200, vector(), "NoSeries"),
        (200, vector("1", "2"), "SeveralSeries"),
        (200, vector("NaN"), "NotANumber"),
        (200, answer("scalar", [1.0, "NaN"]), "NotANumber"),
        (200, vector("+Inf"), "Infinite"),
        (200, vector("-Inf"), "Infinite"),
        (200, vector("many"), "NotANumber"),
        (200, answer("scalar", [1.0, 10**400]), "NotANumber"),
        (200, answer("matrix", []), "NotANumber"),
        (200, answer("string", [1.0, "x"]), "NotANumber"),
        (400, b'{"status":"error","errorType":"bad_data","error":"unexpected end of input"}', "QueryError"),
        (503, b'{"status":"error","errorType":"timeout","error":"query timed out"}', "QueryError"),
        (200, b"<html>sign in</html>", "BadAnswer"),
        (200, b"\xff\xfe", "BadAnswer"),
        (302, b"", "BadAnswer"),
        (500, answer("scalar", [1.0, "1"]), "BadAnswer"),
        (200, b"[]", "BadAnswer"),
        (200, b"{}", "BadAnswer"),
        (200, b'{"status":"success"}', "BadAnswer"),
        (
            200,
            b'{"status":"success","data":{"resultType":"vector","result":[{"histogram":[1,{}]}]}}',
            "BadAnswer",
        ),
        (200, b" " * (MOST_BYTES + 1), "AnswerTooLarge"),
    ],
)
def test_pain_2_everything_else_is_no_number_and_says_why(status: int, body: bytes, want: str) -> None:
    got = read_answer(status, body)
    assert (got.value, got.reason) == (None, want)
    assert got.message


def test_prometheus_own_words_are_passed_on() -> None:
    got = read_answer(400, b'{"status":"error","error":"parse error: unexpected\\nend"}')
    assert got.message == "Prometheus refuses the query: parse error: unexpected end"


def test_names_replace_double_braces_and_leave_those_of_promql() -> None:
    got = render_query(
        'sum(rate(sales{revision="{{revision}}"}[5m])) / sum(rate(sales{revision="{{stable}}"}[5m]))',
        {"revision": "wine-2", "stable": "wine-1"},
    )
    assert got == 'sum(rate(sales{revision="wine-2"}[5m])) / sum(rate(sales{revision="wine-1"}[5m]))'
