import asyncio
import threading
import time

import numpy as np
import pytest
from perennial_bundle import Checked, Flag, InvalidInput, Rows
from perennial_server.engine.predictor import Predictor
from perennial_server.errors import ModelError, RequestError, TooBusy, TooLate
from perennial_server.origin import PROBE, Origin

from .conftest import build_settings

DEADLINE_S = 30


def build_rows(*values):
    return Rows(len(values), {"x": list(values)})


class Schema:
    """Takes numbers from 0 on, and flags those above 100."""

    def check(self, rows):
        values = list(rows.columns["x"])
        for index, value in enumerate(values):
            if value < 0:
                raise InvalidInput("x", "OutOfRange", f"row {index} is negative")
        flags = tuple(Flag(i, "x", "OutOfRange", "Passed") for i, value in enumerate(values) if value > 100)
        return Checked(np.array(values), flags)


class Model:
    """A bundle that doubles, raises on 13, and can be held up."""

    def __init__(self):
        self.schema = Schema()
        self.calls = []
        self.threads = set()
        self.goes_on = threading.Event()
        self.goes_on.set()

    def predict(self, frame):
        self.calls.append(frame.tolist())
        self.threads.add(threading.get_ident())
        assert self.goes_on.wait(DEADLINE_S)
        if 13 in frame:
            raise ZeroDivisionError("thirteen")
        return {"predict": frame * 2}


class Log:
    def __init__(self):
        self.batches = []

    def put(self, batch):
        self.batches.append(batch)


@pytest.fixture
def model():
    return Model()


@pytest.fixture
def log():
    return Log()


@pytest.fixture
def build(model, log, metrics):
    built = []

    def build(**settings):
        built.append(Predictor(model, build_settings(**settings), metrics, log))
        return built[-1]

    yield build
    model.goes_on.set()
    for predictor in built:
        predictor.close()


async def ask(predictor, *values, origin=None, **more):
    prediction = await predictor.predict(build_rows(*values), origin or Origin("p"), **more)
    return prediction.outputs["predict"].tolist()


async def ask_all(predictor, *requests):
    """Send requests in one turn of the event loop; return values and errors."""
    return await asyncio.gather(*(ask(predictor, *values) for values in requests), return_exceptions=True)


async def wait_until(condition):
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110  a thread makes it true
            await asyncio.sleep(0.001)


def read(metrics, name, **labels):
    return metrics.registry.get_sample_value(f"perennial_server_{name}", labels)


async def test_requests_of_one_moment_are_one_call_of_the_model(build, model, log, metrics):
    got = await ask_all(build(), (1,), (2, 3), (4,))
    assert got == [[2], [4, 6], [8]]
    assert model.calls == [[1, 2, 3, 4]]
    (batch,) = log.batches
    assert (batch.sizes, batch.rows.columns["x"], batch.outputs["predict"].tolist()) == (
        (1, 2, 1),
        [1, 2, 3, 4],
        [2, 4, 6, 8],
    )
    assert read(metrics, "predictions_total") == 4
    assert read(metrics, "batch_rows_sum") == 4
    assert read(metrics, "predict_duration_seconds_count") == 1


async def test_what_arrives_a_turn_later_is_in_the_same_call(build, model):
    predictor = build()
    first = asyncio.create_task(ask(predictor, 1))
    await asyncio.sleep(0)
    assert await asyncio.gather(first, ask(predictor, 2)) == [[2], [4]]
    assert model.calls == [[1, 2]]


async def test_a_lone_request_goes_at_once(build, model):
    assert await ask(build(), 1) == [2]
    assert model.calls == [[1]]


async def test_a_batch_has_no_more_rows_than_allowed_but_a_request_may(build, model):
    predictor = build(max_batch_rows=3)
    assert await ask_all(predictor, (1,), (2,), (3,), (4, 5), (6, 7, 8, 9)) == [
        [2], [4], [6], [8, 10], [12, 14, 16, 18],
    ]  # fmt: skip
    assert sorted(model.calls) == [[1, 2, 3], [4, 5], [6, 7, 8, 9]]


async def test_requests_are_not_joined_where_nobody_wants_it(build, model):
    await ask_all(build(max_batch_rows=1), (1,), (2,))
    assert sorted(model.calls) == [[1], [2]]


async def test_what_arrives_while_the_model_is_at_work_is_the_next_batch(build, model):
    predictor = build(predict_threads=1)
    model.goes_on.clear()
    first = asyncio.create_task(ask(predictor, 1))
    await wait_until(lambda: model.calls)
    later = [asyncio.create_task(ask(predictor, value)) for value in (2, 3, 4)]
    await asyncio.sleep(0)
    model.goes_on.set()
    assert await asyncio.gather(first, *later) == [[2], [4], [6], [8]]
    assert model.calls == [[1], [2, 3, 4]]


async def test_requests_of_other_layouts_are_calls_of_their_own(build, model):
    predictor = build()
    as_matrix = Rows(1, {"x": [1]}, np.zeros((1, 2)))
    answers = await asyncio.gather(
        ask(predictor, 5), predictor.predict(as_matrix, Origin("m")), ask(predictor, 6)
    )
    assert [answers[0], answers[2]] == [[10], [12]]
    assert answers[1].outputs["predict"].tolist() == [2]
    assert sorted(model.calls) == [[1], [5, 6]]


async def test_rows_that_break_the_schema_are_the_fault_of_their_request_alone(build, model, log):
    got = await ask_all(build(), (1,), (2, -1), (3,), (-5,))
    assert (got[0], got[2]) == ([2], [6])
    assert [(error.status, error.message) for error in (got[1], got[3])] == [
        (400, "x: row 1 is negative (OutOfRange)"),
        (400, "x: row 0 is negative (OutOfRange)"),
    ]
    assert model.calls == [[1, 3]]
    assert [batch.sizes for batch in log.batches] == [(1, 1)]


async def test_rows_on_which_the_model_raises_are_the_fault_of_their_request_alone(build, log, metrics):
    got = await ask_all(build(), (1,), (13,), (3,))
    assert (got[0], got[2]) == ([2], [6])
    assert isinstance(got[1], ModelError)
    assert "ZeroDivisionError: thirteen" in got[1].message
    assert read(metrics, "model_errors_total") == 1
    assert sum(sum(batch.sizes) for batch in log.batches) == 2


async def test_a_schema_that_takes_each_request_but_not_all_of_them_still_answers(build, model):
    def check(rows):
        if rows.n > 1:
            raise InvalidInput("x", "TooMany", "one is enough")
        return Checked(np.array(rows.columns["x"]))

    model.schema.check = check
    assert await ask_all(build(), (1,), (2,)) == [[2], [4]]


async def test_a_check_that_fails_on_one_request_alone_leaves_nobody_waiting(build, model):
    def check(rows):
        if rows.n > 1:
            raise InvalidInput("x", "OutOfRange", "some row is wrong")
        if rows.columns["x"] == [2]:
            raise TypeError("two")
        return Checked(np.array(rows.columns["x"]))

    model.schema.check = check
    async with asyncio.timeout(DEADLINE_S):
        got = await ask_all(build(), (1,), (2,))
    assert got[0] == [2]
    assert isinstance(got[1], TypeError)


async def test_a_model_that_answers_other_rows_than_asked_is_at_fault(build, model):
    model.predict = lambda frame: {"predict": np.zeros(3)}
    got = await ask_all(build(), (1,), (2,))
    assert all(isinstance(error, ModelError) and "3 values for 1 rows" in error.message for error in got)


async def test_columns_of_unequal_length_never_shift_the_rows_of_others(build, model):
    predictor = build()
    bad = Rows(2, {"x": [1, 2], "y": [1]})
    got = await asyncio.gather(
        ask(predictor, 5), predictor.predict(bad, Origin("p")), ask(predictor, 6), return_exceptions=True
    )
    assert (got[0], got[2], got[1].status) == ([10], [12], 400)
    with pytest.raises(RequestError, match="at least one row"):
        await predictor.predict(Rows(0), Origin("p"))


async def test_flags_go_to_their_request_and_are_counted(build, log, metrics):
    predictor = build()
    rows = [build_rows(1), build_rows(2, 200), build_rows(3), build_rows(300, 4)]
    got = await asyncio.gather(*(predictor.predict(part, Origin("p")) for part in rows))
    assert [[flag.row for flag in prediction.flags] for prediction in got] == [[], [1], [], [0]]
    assert [flag.row for flag in log.batches[0].flags] == [2, 4]
    assert read(metrics, "flagged_values_total", column="x", kind="OutOfRange", action="Passed") == 2


async def test_probes_are_answered_apart_and_neither_logged_nor_counted(build, log, metrics):
    predictor = build()
    got = await asyncio.gather(ask(predictor, 1, origin=PROBE), ask(predictor, 2))
    assert got == [[2], [4]]
    assert [batch.sizes for batch in log.batches] == [(1,)]
    assert read(metrics, "predictions_total") == 1


async def test_short_calls_move_to_the_event_loop_and_long_ones_stay_in_threads(build, model):
    predictor = build(inline_below_s=1)
    for value in range(3):
        await ask(predictor, value)
    assert threading.get_ident() in model.threads
    model.threads.clear()
    predictor = build(inline_below_s=0)
    for value in range(3):
        await ask(predictor, value)
    assert threading.get_ident() not in model.threads


async def test_calls_that_wait_for_something_stay_in_threads(build, model):
    def wait(frame):
        model.threads.add(threading.get_ident())
        time.sleep(0.05)
        return {"predict": frame * 2}

    model.predict = wait
    predictor = build(inline_below_s=0.01)
    for value in range(3):
        await ask(predictor, value)
    assert threading.get_ident() not in model.threads


async def test_a_request_that_is_already_late_does_not_reach_the_model(build, model, metrics):
    with pytest.raises(TooLate):
        await ask(build(), 1, deadline_s=time.monotonic() - 1)
    assert model.calls == []
    assert read(metrics, "expired_total") == 1


async def test_a_batch_of_which_all_deadlines_have_passed_is_no_trouble(build):
    troubles = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: troubles.append(context))
    predictor = build()
    with pytest.raises(TooLate):
        await ask(predictor, 1, deadline_s=time.monotonic() - 1)
    assert await ask(predictor, 2) == [4]
    assert troubles == []


async def test_a_deadline_is_kept_even_while_the_model_is_at_work(build, model, metrics):
    predictor = build(predict_threads=1)
    model.goes_on.clear()
    first = asyncio.create_task(ask(predictor, 1))
    await wait_until(lambda: model.calls)
    patient = asyncio.create_task(ask(predictor, 2, deadline_s=time.monotonic() + 1000))
    soon = time.monotonic() + 0.01
    with pytest.raises(TooLate):
        await ask(predictor, 3, deadline_s=soon)
    assert not first.done()
    model.goes_on.set()
    assert await asyncio.gather(first, patient) == [[2], [4]]
    assert model.calls == [[1], [2]]
    assert read(metrics, "expired_total") == 1


async def test_a_request_whose_task_was_cancelled_does_not_reach_the_model(build, model):
    predictor = build()
    gone = asyncio.create_task(ask(predictor, 1))
    await asyncio.sleep(0)
    gone.cancel()
    assert await ask(predictor, 2) == [4]
    assert model.calls == [[2]]


async def test_who_cannot_be_answered_in_time_is_refused_at_the_door(build, model, metrics):
    predictor = build(predict_threads=1, inline_below_s=0)
    model.goes_on.clear()
    threading.Timer(0.05, model.goes_on.set).start()
    await ask(predictor, 1)  # the model is known to be slow now
    model.goes_on.clear()
    first = asyncio.create_task(ask(predictor, 1))
    await wait_until(lambda: len(model.calls) == 2)
    with pytest.raises(TooBusy, match="longer than the server or the deadline allows") as refused:
        predictor.admit(10, deadline_s=time.monotonic() + 0.01)
    assert (refused.value.status, refused.value.retry_after_s) == (429, 1)
    assert read(metrics, "refused_total", reason="Wait") == 1
    predictor.admit(10, deadline_s=time.monotonic() + 1000)
    model.goes_on.set()
    await first
    # Nobody is in front now: a slow model alone is no reason to refuse, or it would never be measured again.
    predictor.admit(10, deadline_s=time.monotonic() + 0.01)


async def test_who_would_wait_too_long_is_refused_at_the_door(build, model, metrics):
    predictor = build(predict_threads=1, inline_below_s=0, max_wait_s=0.001, max_batch_rows=1)
    model.goes_on.clear()
    threading.Timer(0.05, model.goes_on.set).start()
    await ask(predictor, 1)
    predictor.admit(10)
    model.goes_on.clear()
    first = asyncio.create_task(ask(predictor, 1))
    await wait_until(lambda: len(model.calls) == 2)
    # One call is what a request may wait for however long that takes: else a slow model would answer one at a time.
    predictor.admit(10)
    second = asyncio.create_task(ask(predictor, 2))
    await asyncio.sleep(0)
    with pytest.raises(TooBusy, match="would take about"):
        predictor.admit(10)
    assert read(metrics, "refused_total", reason="Wait") == 1
    model.goes_on.set()
    await asyncio.gather(first, second)


async def test_those_let_in_at_their_heads_count_until_they_are_admitted(build, metrics):
    predictor = build(max_in_flight=3)
    predictor.admit(5)
    assert predictor.turn_away() is None
    assert predictor.turn_away() is None
    assert predictor.turn_away() is not None
    await asyncio.sleep(0)  # none of them has become a request
    assert predictor.turn_away() is None
    assert read(metrics, "refused_total", reason="Full") == 1


async def test_heads_of_large_requests_count_as_large(build, model, metrics):
    predictor = build(predict_threads=1, inline_below_s=0, max_wait_s=0.001, max_batch_rows=1)
    model.goes_on.clear()
    threading.Timer(0.05, model.goes_on.set).start()
    await ask(predictor, 1)
    let_in = 0
    while predictor.turn_away() is None:
        let_in += 1
    # One call each, and the second is what one may wait for.
    assert let_in == 2
    assert read(metrics, "refused_total", reason="Wait") == 1


async def test_a_slow_model_with_a_free_thread_makes_nobody_wait(build, model):
    predictor = build(predict_threads=2, inline_below_s=0, max_wait_s=0.001, max_batch_rows=1)
    model.goes_on.clear()
    threading.Timer(0.05, model.goes_on.set).start()
    await ask(predictor, 1)
    model.goes_on.clear()
    first = asyncio.create_task(ask(predictor, 1))
    await wait_until(lambda: len(model.calls) == 2)
    predictor.admit(10)
    second = asyncio.create_task(ask(predictor, 2))
    await wait_until(lambda: len(model.calls) == 3)
    predictor.admit(10)
    waiting = [asyncio.create_task(ask(predictor, 3)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(TooBusy, match="would take about"):
        predictor.admit(10)
    model.goes_on.set()
    await asyncio.gather(first, second, *waiting)


async def test_a_full_server_refuses_and_counts(build, metrics):
    predictor = build(max_in_flight=1)
    predictor.admit(5)
    with pytest.raises(TooBusy, match="busy with 1 requests") as refused:
        predictor.admit(5)
    assert refused.value.retry_after_s == 1
    assert read(metrics, "refused_total", reason="Full") == 1
    predictor.release(5)
    predictor.admit(5)


async def test_a_log_that_fails_takes_no_answer_away(build, log):
    def fail(batch):
        raise OSError("no log")

    log.put = fail
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    predictor = build(max_batch_rows=1)
    assert await ask_all(predictor, (1,), (2,), (3,)) == [[2], [4], [6]]


async def test_a_log_that_fails_takes_no_answer_away_where_requests_were_tried_one_by_one(build, log):
    def fail(batch):
        raise OSError("no log")

    log.put = fail
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    async with asyncio.timeout(DEADLINE_S):
        got = await ask_all(build(), (1,), (13,), (3,))
    assert (got[0], got[2]) == ([2], [6])
