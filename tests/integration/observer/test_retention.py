"""What leaves the log, on a real database through the real housekeeping."""

import pytest
from perennial_observer.store import tables as t
from perennial_observer.store.log import register_deployment, write_feedback, write_log
from perennial_observer.store.references import write_reference
from perennial_observer.store.retention import ROWS_PER_STEP, read_log_sizes
from perennial_observer.store.rows import DeploymentKey, LabelRow, PredictionRow, RejectedRow, ShadowRow
from perennial_observer.store.scores import write_scores
from perennial_observer.store.sizes import SCORE_BYTES, row_bytes
from sqlalchemy import event, func, insert, select

from .conftest import KEY, OTHER, deployment, run_observer

HOUR = 3600.0
DAY = 24 * HOUR
GONE = DeploymentKey(uid="uid-3", namespace="shop", name="gone")
TABLES = (t.prediction, t.feedback, t.rejected_row, t.shadow_row)


def sum_bytes(deployment_id):
    """Sum over all rows of a deployment's log and their scores, in SQL."""
    scores = (
        select(SCORE_BYTES * func.count())
        .select_from(t.outlier_score.join(t.prediction))
        .where(t.prediction.c.deployment_id == deployment_id)
    )
    return scores.scalar_subquery() + sum(
        select(func.coalesce(func.sum(row_bytes(table)), 0))
        .where(table.c.deployment_id == deployment_id)
        .scalar_subquery()
        for table in TABLES
    )


async def expire(running):
    """Take the lease, where there is one, and do what is due."""
    await running.observer.share()
    await running.observer.expiry.run()


class Log:
    """Fills the log of a running observer at a time of the test's own."""

    def __init__(self, observer) -> None:
        self.observer = observer

    def write(self, work):
        return self.observer.store.writer.submit(work, 0).result(60)

    def add(self, key, names, now, *, text="{}"):
        rows = [PredictionRow(name, 0, "wine-1", now, text, '{"predict":1}') for name in names]
        misfit = RejectedRow(f"odd-{names[0]}", 0, "wine-1", "WrongType", text)
        copy = ShadowRow(names[0], 0, "wine-2", '{"predict":0}')
        self.write(lambda c: write_log(c, key, rows, [misfit], [copy], now=now, max_rejected=100))
        labels = [LabelRow(name, 0, "1") for name in names]
        self.write(
            lambda c: write_feedback(
                c, register_deployment(c, key), labels, now=now, max_pending=10, may_come=lambda _: True
            )
        )

    def score(self, key, monitor):
        p, d = t.prediction.c, t.deployment.c
        mine = select(p.id).join(t.deployment).where(d.uid == key.uid)
        self.write(lambda c: write_scores(c, monitor, [(id_, 0.5) for id_ in c.scalars(mine)]))

    def names(self, key):
        d = t.deployment.c
        with self.observer.store.read() as connection:
            return [
                set(
                    connection.execute(
                        select(table.c.prediction_id).join(t.deployment).where(d.uid == key.uid)
                    ).scalars()
                )
                for table in TABLES
            ]

    def sizes(self):
        """What is kept of the sizes, and what they are."""
        d = t.deployment.c
        with self.observer.store.read() as connection:
            rows = connection.execute(select(d.log_bytes, sum_bytes(d.id)).order_by(d.id)).all()
        return [row[0] for row in rows], [row[1] for row in rows]


def asking(**retention):
    return deployment({"monitoring": {"retention": retention}})


@pytest.fixture
def clock():
    return [1_000_000.0]


def follow(running, clock):
    """Let the housekeeping's own clock go with the test's."""
    running.observer.expiry.monotonic = lambda: clock[0]


async def test_of_rows_that_do_not_fit_the_latest_are_kept(on_each, cluster):
    async with run_observer(on_each, cluster, deployment({})) as running:
        log = Log(running.observer)

        def reject(now, *names):
            misfits = [RejectedRow(name, 0, "wine-1", "WrongType", '{"x":1}') for name in names]
            return log.write(lambda c: write_log(c, KEY, [], misfits, now=now, max_rejected=3))

        assert [reject(1.0, "a", "b").rejected, reject(2.0, "c", "d").rejected] == [2, 2]
        assert log.names(KEY)[2] == {"b", "c", "d"}
        assert reject(3.0, *"efghi").rejected == 5
        assert log.names(KEY)[2] == {"g", "h", "i"}
        kept, measured = log.sizes()
        assert kept == measured


async def test_each_deployment_keeps_what_its_own_age_says(on_each, cluster, clock):
    narrow = on_each.model_copy(update={"retention_s": 10 * DAY})
    both = (asking(maxAge="2h"), deployment({}, key=OTHER))
    async with run_observer(narrow, cluster, *both, clock=lambda: clock[0]) as running:
        follow(running, clock)
        log = Log(running.observer)
        start = clock[0]
        for key in (KEY, OTHER, GONE):
            log.add(key, ["a", "b"], start)
            log.add(key, ["c"], start + 1.5 * HOUR)
        clock[0] = start + 2 * HOUR + 1
        await expire(running)
        assert log.names(KEY) == [{"c"}, {"c"}, {"odd-c"}, {"c"}]
        assert log.names(OTHER)[0] == log.names(GONE)[0] == {"a", "b", "c"}
        kept, real = log.sizes()
        assert kept == real
        assert kept[0] < kept[1]
        clock[0] = start + 10 * DAY + HOUR
        await expire(running)
        assert log.names(OTHER)[0] == log.names(GONE)[0] == {"c"}


async def test_scores_of_rows_count_once_and_go_with_the_rows_in_the_size(on_each, cluster, clock):
    async with run_observer(on_each, cluster, asking(maxSize="20k"), clock=lambda: clock[0]) as running:
        log = Log(running.observer)
        for i in range(10):
            log.add(KEY, [f"p{i}"], clock[0] + i)
        log.add(OTHER, ["other"], clock[0])
        before, _ = log.sizes()
        for monitor in [f"monitor-{i}" for i in range(20)] * 2:
            log.score(KEY, monitor)
        scored, real = log.sizes()
        assert scored == real == [before[0] + 10 * 20 * SCORE_BYTES, before[1]]
        await expire(running)
        # No more went than had to.
        kept, real = log.sizes()
        assert kept == real
        assert 16_000 < kept[0] <= 19_600
        assert "p9" in log.names(KEY)[0]
        clock[0] += 400 * DAY
        log.observer.expiry.monotonic = lambda: clock[0]
        await expire(running)
        assert log.sizes() == ([0, 0], [0, 0])


async def test_a_clock_that_jumps_ahead_makes_nothing_old_for_an_hour(settings, cluster, clock):
    async with run_observer(settings, cluster, asking(maxAge="1d"), clock=lambda: clock[0]) as running:
        steady = 0.0
        expiry = running.observer.expiry
        expiry.monotonic = lambda: steady
        log = Log(running.observer)
        log.add(KEY, ["a"], clock[0])
        await expiry.run()
        clock[0] += 365 * DAY
        await expiry.run()
        assert log.names(KEY)[0] == {"a"}
        steady += HOUR - 1
        clock[0] += HOUR - 1
        await expiry.run()
        assert log.names(KEY)[0] == {"a"}
        steady += 2
        clock[0] += 2
        await expiry.run()
        assert log.names(KEY)[0] == set()


async def test_above_its_size_the_oldest_go_first_whatever_table_they_are_in(on_each, cluster, clock):
    async with run_observer(on_each, cluster, asking(maxSize="1M"), clock=lambda: clock[0]) as running:
        log = Log(running.observer)
        text = '{"x":"' + "a" * 10_000 + '"}'
        for i in range(100):
            log.add(KEY, [f"p{i}"], clock[0] + i, text=text)
        log.add(OTHER, ["other"], clock[0], text=text)
        before, real = log.sizes()
        assert before == real
        await expire(running)
        after, real = log.sizes()
        assert after == real
        assert 950_000 < after[0] <= 980_000
        # The cut may go through the rows of one moment, no further.
        left = [{int(name.rpartition("p")[2]) for name in names} for names in log.names(KEY)]
        first = min(map(min, left))
        assert 40 < first < 60
        for numbers in left:
            assert numbers in (set(range(first, 100)), set(range(first + 1, 100)))
        assert log.names(OTHER)[0] == {"other"}
        await expire(running)
        assert log.sizes()[0] == after


async def test_a_large_log_goes_in_small_steps_that_let_others_write(settings, cluster, clock):
    async with run_observer(settings, cluster, asking(maxAge="1h"), clock=lambda: clock[0]) as running:
        log = Log(running.observer)
        names = [f"p{i}" for i in range(2 * ROWS_PER_STEP + 10)]
        log.add(KEY, names, clock[0])
        writer, jobs = running.observer.store.writer, []
        submit = writer.submit

        def spy(work, size_bytes):
            def counted(connection):
                found = select(func.count()).select_from(t.prediction)
                earlier = connection.execute(found).scalar_one()
                result = work(connection)
                jobs.append(earlier - connection.execute(found).scalar_one())
                return result

            return submit(counted, size_bytes)

        writer.submit = spy
        clock[0] += HOUR + 1
        await expire(running)
        assert sum(jobs) == len(names)
        assert 0 < max(jobs) <= ROWS_PER_STEP
        assert log.names(KEY) == [set()] * 4
        assert log.sizes()[0] == [0]


async def test_sizes_are_asked_for_at_once_and_not_of_deployments_that_have_nothing(on_each, cluster, clock):
    async with run_observer(on_each, cluster, deployment({}), clock=lambda: clock[0]) as running:
        log = Log(running.observer)
        for i in range(20):
            gone = DeploymentKey(f"gone-{i}", "shop", "gone")
            log.write(lambda c, gone=gone: register_deployment(c, gone))
        log.add(OTHER, ["b"], clock[0] + 5.0)
        log.add(KEY, ["a"], clock[0])
        log.add(KEY, ["c"], clock[0] - 5.0)
        statements = []
        with running.observer.store.read() as connection:
            event.listen(connection, "before_cursor_execute", lambda *given: statements.append(given[2]))
            got = read_log_sizes(connection)
        assert {(size.uid, size.oldest) for size in got} == {
            (KEY.uid, clock[0] - 5.0),
            (OTHER.uid, clock[0] + 5.0),
        }
        assert len(statements) == 1


async def test_verdicts_stay_for_a_time_of_their_own_but_no_shorter_than_rows(on_each, cluster, clock):
    longer = on_each.model_copy(update={"retention_s": 2 * DAY, "window_retention_s": DAY})
    async with run_observer(longer, cluster, deployment({}), clock=lambda: clock[0]) as running:
        log = Log(running.observer)
        now = clock[0]

        def add_windows(connection):
            common = {
                "deployment_id": register_deployment(connection, KEY),
                "monitor": "drift",
                "revision": "wine-1",
                "start_event": 0.0,
                "samples": 1,
                "verdict": "{}",
            }
            rows = [
                common | {"end_event": age, "end_id": 1, "evaluated_at": now - age * DAY}
                for age in (1.5, 2.5)
            ]
            connection.execute(insert(t.window), rows)

        log.write(add_windows)
        await expire(running)
        with running.observer.store.read() as connection:
            assert connection.execute(select(t.window.c.end_event)).scalars().all() == [1.5]


async def test_a_reference_stays_while_rows_need_it_or_it_is_among_the_latest(on_each, cluster, clock):
    few = on_each.model_copy(update={"references_kept": 2})
    async with run_observer(few, cluster, deployment({}), clock=lambda: clock[0]) as running:
        follow(running, clock)
        log = Log(running.observer)
        log.add(KEY, ["a"], clock[0])
        log.add(GONE, ["a"], clock[0])
        for key in (KEY, GONE):
            for i in (1, 2, 3, 4):
                log.write(
                    lambda c, key=key, i=i: write_reference(c, key, f"wine-{i}", b"{}", now=clock[0] + i)
                )

        def held(key):
            query = select(t.reference.c.revision).join(t.deployment).where(t.deployment.c.uid == key.uid)
            with running.observer.store.read() as connection:
                return set(connection.execute(query).scalars())

        await expire(running)
        assert held(KEY) == held(GONE) == {f"wine-{i}" for i in (1, 2, 3, 4)}
        clock[0] += HOUR + 10
        await expire(running)
        assert held(KEY) == {"wine-1", "wine-3", "wine-4"}
        assert held(GONE) == {"wine-1"}
