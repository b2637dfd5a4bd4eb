"""What keeps a monitor from judging is remembered once it has lasted."""

from perennial_observer.errors import DetectorUnavailable
from perennial_observer.monitors.alarms.hindrance import PATIENCE_S, Hindrances
from perennial_observer.monitors.alarms.verdicts import Hindrance
from perennial_observer.monitors.windows.slices import UnknownFeature

PLACE = ("uid-1", "drift")
AWAY = DetectorUnavailable("the sidecar doesn't answer")
WRONG = UnknownFeature("there is no such column")


class Watch:
    """Settles one monitor's hindrance at times of the test's own."""

    def __init__(self) -> None:
        self.now = 0.0
        self.hindrances = Hindrances(lambda: self.now)
        self.held: Hindrance | None = None

    def at(self, now: float, found: DetectorUnavailable | UnknownFeature | None) -> str | None:
        self.now = now
        patience_s = PATIENCE_S if found is AWAY else 0.0
        self.held = self.hindrances.settle(PLACE, self.held, found, patience_s=patience_s)
        return None if self.held is None else self.held.reason


def test_what_may_pass_is_remembered_after_a_while_with_its_beginning():
    watch = Watch()
    assert [watch.at(10.0, AWAY), watch.at(129.0, AWAY)] == [None, None]
    assert watch.at(130.0, AWAY) == "DetectorUnavailable"
    assert watch.held.since == 10.0
    assert watch.at(500.0, None) is None


def test_a_short_absence_is_forgotten():
    watch = Watch()
    watch.at(0.0, AWAY)
    watch.at(60.0, None)
    assert [watch.at(100.0, AWAY), watch.at(200.0, AWAY)] == [None, None]


def test_what_the_user_must_mend_is_remembered_at_once_and_stays_the_same():
    watch = Watch()
    assert watch.at(5.0, WRONG) == "UnknownFeature"
    first = watch.held
    assert watch.at(900.0, WRONG) == "UnknownFeature"
    assert watch.held is first


def test_another_hindrance_takes_the_place_of_the_first():
    watch = Watch()
    watch.at(0.0, AWAY)
    watch.at(130.0, AWAY)
    assert watch.at(140.0, WRONG) == "UnknownFeature"
    assert watch.held.since == 140.0


def test_a_restart_tells_nothing_again():
    before = Watch()
    before.at(0.0, WRONG)
    after = Watch()
    after.held = before.held
    after.at(50.0, WRONG)
    assert after.held is before.held
