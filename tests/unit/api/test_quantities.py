from decimal import Decimal

import pytest
from perennial_api.errors import InvalidQuantityError
from perennial_api.quantities import parse_quantity


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("250m", "0.25"),
        ("2", "2"),
        (".5", "0.5"),
        ("512Mi", 512 * 2**20),
        ("1G", 10**9),
        ("1e3", 1000),
        ("1.5Ki", 1536),
    ],
)
def test_quantity_is_read_in_its_base_unit(text, want):
    assert parse_quantity(text) == Decimal(want)


@pytest.mark.parametrize("text", ["", "much", "-1", "1 Gi", "1gi", "1KI", "1e99"])
def test_what_is_no_quantity_is_refused_with_an_example(text):
    with pytest.raises(InvalidQuantityError, match="such as 250m"):
        parse_quantity(text)
