import pytest
from perennial_api.durations import Duration, parse_duration_s
from perennial_api.errors import InvalidDurationError


@pytest.mark.parametrize(
    ("text", "want_s"),
    [
        ("0s", 0),
        ("15s", 15),
        ("1h30m", 5_400),
        ("1d12h", 129_600),
        ("180d", 15_552_000),
        ("500ms", 0.5),
        ("1s500ms", 1.5),
        ("9999d99999h99999m99999s99999ms", 9999 * 86_400 + 99_999 * (3600 + 60 + 1 + 0.001)),
    ],
)
def test_duration_is_read_in_seconds(text, want_s):
    assert parse_duration_s(text) == pytest.approx(want_s)


@pytest.mark.parametrize("text", ["", "5", "s", "1.5h", "-5m", "5m1h", "5 m", "1w", "1h1h", "٣s", "1h\n"])
def test_what_is_no_duration_is_refused_with_an_example(text):
    with pytest.raises(InvalidDurationError, match="such as 1h30m"):
        parse_duration_s(text)


def test_duration_keeps_its_spelling_and_knows_its_seconds():
    got = Duration("90m")
    assert (got, got.seconds) == ("90m", 5_400)
