import json

import numpy as np
import pandas as pd
from perennial_bundle import Column, Schema
from perennial_demo.replay import HOUR_S, Bodies, Clock, LateLabels, Request, Schedule, build_requests


def frame_of(*rows):
    return pd.DataFrame(rows, columns=["time_s", "carrier", "x"])


SCHEMA = Schema(
    inputs=(
        Column(name="carrier", datatype="BYTES"),
        Column(name="x", datatype="FP64", allow_missing=True),
    ),
    outputs=(Column(name="predict", datatype="INT64", role="Output"),),
)


def test_rows_of_one_hour_and_carrier_are_one_request():
    frame, requests = build_requests(
        frame_of((0.0, "AA", 1), (0.0, "UA", 2), (0.0, "AA", 3), (HOUR_S, "AA", 4)), "time_s", "carrier"
    )
    assert [(r.first, r.last, r.time_s) for r in requests] == [(0, 2, 0.0), (2, 3, 0.0), (3, 4, HOUR_S)]
    assert frame["x"].tolist() == [1, 3, 2, 4]


def test_every_row_is_asked_exactly_once_in_time_order():
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(
        {"time_s": rng.integers(0, 50, 400) * HOUR_S, "carrier": rng.choice(list("ABC"), 400)}
    )
    _, requests = build_requests(rows, "time_s", "carrier")
    assert [row for r in requests for row in range(r.first, r.last)] == list(range(400))
    assert (np.diff([r.time_s for r in requests]) >= 0).all()


def test_body_is_what_the_schema_takes():
    frame, requests = build_requests(frame_of((0.0, "AA", 1.5), (0.0, "AA", None)), "time_s", "carrier")
    body = json.loads(Bodies(frame, SCHEMA).build(requests[0]))
    assert [tensor["shape"] for tensor in body["inputs"]] == [[2], [2]]
    got = SCHEMA.validate({tensor["name"]: tensor["data"] for tensor in body["inputs"]})
    assert got["carrier"].tolist() == ["AA", "AA"]
    assert got["x"].isna().tolist() == [False, True]


def test_clock_turns_wall_seconds_into_hours():
    clock = Clock(now_s=0.0, hours_per_s=10.0)
    assert clock.advance(0.5, at_most_s=1e9) == 5 * HOUR_S


def test_clock_waits_for_those_it_must_not_outrun():
    clock = Clock(now_s=0.0, hours_per_s=10.0)
    assert clock.advance(1.0, at_most_s=3 * HOUR_S) == 3 * HOUR_S
    assert clock.advance(1.0, at_most_s=3 * HOUR_S) == 3 * HOUR_S
    assert clock.advance(1.0, at_most_s=100 * HOUR_S) == 13 * HOUR_S


def test_clock_never_goes_back():
    clock = Clock(now_s=10 * HOUR_S, hours_per_s=1.0)
    assert clock.advance(1.0, at_most_s=2 * HOUR_S) == 10 * HOUR_S


def test_schedule_gives_out_each_request_once_when_its_hour_has_come():
    requests = [Request(i, i + 1, i * HOUR_S) for i in range(5)]
    schedule = Schedule(requests)
    assert list(schedule.due(1.5 * HOUR_S)) == requests[:2]
    assert list(schedule.due(1.9 * HOUR_S)) == []
    assert not schedule.is_done
    assert list(schedule.due(100 * HOUR_S)) == requests[2:]
    assert schedule.is_done


def test_labels_become_known_after_their_delay():
    labels = LateLabels(delay_s=24 * HOUR_S)
    labels.learn(Request(2, 4, 0.0), "p1", np.array([0, 0, 1, 0]))
    assert labels.due(23 * HOUR_S, at_most=10) == []
    got = labels.due(24 * HOUR_S, at_most=10)
    assert [(one.prediction_id, one.row, one.value) for one in got] == [("p1", 0, 1), ("p1", 1, 0)]
    assert len(labels) == 0


def test_labels_are_given_out_in_bounded_portions():
    labels = LateLabels(delay_s=0.0)
    truth = np.zeros(40, dtype=np.int64)
    for i in range(10):
        labels.learn(Request(4 * i, 4 * i + 4, 0.0), f"p{i}", truth)
    assert len(labels.due(1.0, at_most=10)) == 12
    assert len(labels) == 28
