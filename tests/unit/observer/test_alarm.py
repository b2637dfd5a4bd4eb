import pytest
from perennial_observer.monitors.alarms.rule import AlarmRule, AlarmState, name_breach, step_alarm
from perennial_observer.monitors.alarms.verdicts import Assessment, Tally

RULE = AlarmRule(breaches=2, of=3, consecutive=3)


def run(pattern: str, rule: AlarmRule = RULE) -> list[str | None]:
    """Feed windows, x a breach and . a quiet one; return the breach id after each."""
    state, ids = AlarmState(), []
    for start, sign in enumerate(pattern):
        state = step_alarm(state, rule, window_start=float(start), breached=sign == "x", name="drift/uid/rev")
        ids.append(state.breach_id)
    return ids


@pytest.mark.parametrize(
    ("pattern", "want"),
    [("x..x..x..", "........."), ("x.x", "..A"), ("xx", ".A"), ("...xx", "....A"), ("x..x.x", ".....A")],
)
def test_two_of_three_raise_an_alarm(pattern, want):
    assert "".join("A" if breach else "." for breach in run(pattern)) == want


@pytest.mark.parametrize(
    ("pattern", "want"),
    [("xx...", ".AAA."), ("xx..x...", ".AAAAAA."), ("xx...x", ".AAA.."), ("xx...xx", ".AAA..A")],
)
def test_three_quiet_windows_in_a_row_clear_it(pattern, want):
    assert "".join("A" if breach else "." for breach in run(pattern)) == want


def test_an_episode_keeps_its_name_and_the_next_has_another():
    ids = run("xxxx...xx")
    assert len(set(ids[1:6])) == 1
    assert ids[8] is not None
    assert ids[8] != ids[1]


def test_the_name_comes_from_the_first_breach_so_that_a_restart_gives_the_same():
    assert run("x.x")[2] == name_breach("drift/uid/rev", 0.0)
    assert run("..xx")[3] == name_breach("drift/uid/rev", 2.0)


def test_one_of_one_alarms_at_once():
    assert run("x", AlarmRule(1, 1, 1))[0] is not None
    assert run("x.", AlarmRule(1, 1, 1))[1] is None


def test_windows_are_tallied_by_what_came_of_them():
    tally = Tally()
    for breached, failed in [(True, False), (False, False), (False, False), (None, False), (None, True)]:
        tally = tally.count(Assessment(breached=breached, failed=failed, reason="R", message="", samples=1))
    assert tally == Tally(passed=2, breached=1, insufficient=1, failed=1)
