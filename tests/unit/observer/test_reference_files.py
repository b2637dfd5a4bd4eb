import pytest
from perennial_observer.store.reference_files import is_allowed_reference

ALLOWED = ("s3://references/shop", "file:///data/references/", "s3://")


@pytest.mark.parametrize(
    "uri",
    [
        "s3://references/shop",
        "s3://references/shop/wine.parquet",
        "file:///data/references/wine.parquet",
        "file:///data/references/a%20b/wine.parquet",
    ],
)
def test_what_is_at_or_below_a_prefix_is_allowed(uri):
    assert is_allowed_reference(uri, ALLOWED)


@pytest.mark.parametrize(
    "uri",
    [
        "s3://references/shopping/wine.parquet",
        "s3://references",
        "s3://other/shop/wine.parquet",
        "s3://references/shop/../secret",
        "s3:///references/shop/wine.parquet",
        "S3://references/shop/wine.parquet",
        "file:///data/references.parquet",
        "file:///etc/passwd",
        "file:///data/references/../secret",
        "file:///data/references/%2e%2e/secret",
        "file:///data/references/..\\secret",
        "file:///data/references/a%00b",
        "file://data/references/wine.parquet",
        "file://localhost/data/references/wine.parquet",
        "https://references/shop/wine.parquet",
        "",
    ],
)
def test_everything_else_is_not(uri):
    assert not is_allowed_reference(uri, ALLOWED)


def test_nothing_is_allowed_at_first():
    assert not is_allowed_reference("file:///data/references/wine.parquet", ())
