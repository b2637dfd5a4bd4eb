from perennial_bundle.sampling import is_sampled
from perennial_observer.ingest.shares import HEARD_S, MAX_REVISIONS, Shares
from perennial_observer.store.rows import DeploymentKey

KEY = DeploymentKey("uid-1", "shop", "wine")
IDS = [f"p{i}" for i in range(500)]


def may_come(shares, key=KEY):
    return {name for name in IDS if shares.may_come(key, name)}


def sample(percent):
    return {name for name in IDS if is_sampled(name, percent)}


def test_before_anything_was_sent_every_prediction_may_come():
    shares = Shares()
    assert may_come(shares) == set(IDS)
    shares.note(DeploymentKey("uid-2", "shop", "wine"), "wine-1", 1, now=0.0)
    assert may_come(shares) == set(IDS)


def test_of_several_revisions_the_one_that_logs_most_counts_while_it_sends():
    shares = Shares()
    shares.note(KEY, "wine-1", 50, now=0.0)
    shares.note(KEY, "wine-2", 10, now=0.0)
    assert may_come(shares) == sample(50)
    shares.note(KEY, "wine-2", 10, now=HEARD_S)
    assert may_come(shares) == sample(10)


def test_revisions_that_are_made_up_are_not_collected():
    shares = Shares()
    for i in range(10 * MAX_REVISIONS):
        shares.note(KEY, f"wine-{i}", 10, now=0.0)
    assert len(shares._heard[KEY.uid]) <= MAX_REVISIONS
