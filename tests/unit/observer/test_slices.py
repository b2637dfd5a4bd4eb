import pytest
from perennial_api.where import parse_where
from perennial_observer.monitors.slices import choose_rows

ROWS = [
    {"age": 20, "country": "FR", "new": True},
    {"age": 40.5, "country": "DE", "new": False},
    {"age": None, "country": "IT"},
    {"country": None, "age": 30},
]


@pytest.mark.parametrize(
    ("where", "want"),
    [
        ("age < 30", [0]),
        ("age != 20", [1, 3]),
        ("20 <= age <= 30", [0, 3]),
        ('country in ["FR", "IT"]', [0, 2]),
        ('country not in ["FR", "IT"]', [1, 3]),
        ("missing(age)", [2]),
        ("missing(new)", [2, 3]),
        ("new", [0]),
        ("not new", [1, 2, 3]),
        ('age == "20"', []),
        ("country < 3", []),
        ('(age < 30 or country == "DE") and not missing(country)', [0, 1]),
    ],
)
def test_rows_belong_by_what_is_known_of_them(where, want):
    assert choose_rows(parse_where(where), ROWS).nonzero()[0].tolist() == want


def test_no_rows_are_no_rows():
    assert choose_rows(parse_where("age < 30"), []).shape == (0,)
