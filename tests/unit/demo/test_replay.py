import numpy as np
import pandas as pd
from perennial_demo.flights import EVENT_TIME, FEATURES, LABEL
from perennial_demo.replay import RollingAuc, build_requests


def make_flights() -> pd.DataFrame:
    hours = [3600.0, 3600.0, 3600.0, 7200.0]
    frame = pd.DataFrame({name: [1.0, 2.0, np.nan, 4.0] for name in FEATURES})
    frame = frame.assign(
        origin=["EWR", "JFK", "EWR", "EWR"], carrier="AA", dest="LAX", distance=10, hour=1, weekday=2
    )
    return frame.assign(
        **{EVENT_TIME: "2013-03-01T01:00:00Z", LABEL: [0, 1, 1, 0], "time_s": hours, "month": 3}
    )


def test_one_request_holds_the_flights_of_an_airport_and_hour_in_time_order() -> None:
    requests = list(build_requests(make_flights(), np.array([0.1, 0.2, 0.3, 0.4])))
    assert [request.labels for request in requests] == [(0, 1), (1,), (0,)]
    assert [request.time_s for request in requests] == [3600.0, 3600.0, 7200.0]
    assert requests[0].first_scores == (0.1, 0.3)


def test_missing_weather_is_sent_as_null() -> None:
    request = next(build_requests(make_flights(), np.zeros(4)))
    tensors = {tensor["name"]: tensor for tensor in request.body["inputs"]}
    assert tensors["temp"]["data"] == [1.0, None]
    assert tensors["temp"]["shape"] == [2]


def test_auc_needs_rows_and_both_classes_and_forgets_old_ones() -> None:
    auc = RollingAuc(size=600)
    for _ in range(600):
        auc.add(0, 0.1, 0.9)
    assert auc.compute() is None
    for index in range(600):
        auc.add(index % 2, float(index % 2), 1.0 - index % 2)
    assert auc.compute() == (1.0, 0.0)
