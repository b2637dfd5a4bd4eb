import pytest
from perennial_api.modeldeployment.monitoring import Retention
from perennial_observer.expiry import Due, assess_due
from perennial_observer.settings import Settings
from perennial_observer.store.retention import LogSize

NOW = 1_000_000.0
DAY = 86_400.0
SETTINGS = Settings(retention_s=5 * DAY, max_log_bytes=1_000_000)


def assess(size_bytes=10, oldest=NOW - 1.0, **asked):
    size = LogSize(1, "uid-1", size_bytes, oldest)
    retention = Retention.model_validate(asked) if asked else None
    return assess_due(size, retention, SETTINGS, now=NOW)


def test_nothing_is_due_of_what_is_young_and_small_or_not_there():
    assert assess(maxAge="1d", maxSize="1Ki") is None
    assert assess(oldest=None, size_bytes=10_000_000) is None


@pytest.mark.parametrize(
    ("asked", "days"), [({"maxAge": "2d"}, 2), ({"maxAge": "30d"}, 5), ({}, 5)], ids=["2d", "30d", "gone"]
)
def test_the_shorter_of_what_is_asked_and_what_the_settings_allow_holds(asked, days):
    assert assess(oldest=NOW - days * DAY + 1, **asked) is None
    assert assess(oldest=NOW - days * DAY - 1, **asked) == Due(NOW - days * DAY, 0)


@pytest.mark.parametrize(
    ("asked", "limit"), [({"maxSize": "500k"}, 500_000), ({"maxSize": "1Ti"}, 1_000_000), ({}, 1_000_000)]
)
def test_above_the_smaller_size_so_much_goes_that_a_little_room_is_left(asked, limit):
    assert assess(size_bytes=limit, **asked) is None
    got = assess(size_bytes=limit + 1, **asked)
    assert got is not None
    assert got.excess_bytes == limit + 1 - int(limit * 0.98)
