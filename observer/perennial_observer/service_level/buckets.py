"""How counts are kept: by the minute for the short windows, by the hour for the long ones. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from perennial_observer.service_level.counting import News, Tally

__all__ = ["HOURS", "MINUTES", "Resolution", "spread"]


@dataclass(frozen=True)
class Resolution:
    """Buckets of one width, and how long they are kept: 360 rows of minutes and 720 of hours for a deployment."""

    width_s: int
    kept_s: int

    def start_of(self, at: float) -> int:
        """Return the start of the bucket that holds this time."""
        return int(at // self.width_s) * self.width_s


MINUTES = Resolution(width_s=60, kept_s=6 * 3600)
HOURS = Resolution(width_s=3600, kept_s=30 * 86_400)


def spread(news: News, resolution: Resolution, *, now: float) -> Iterator[tuple[int, Tally]]:
    """Share what a router has counted since it last answered out evenly over that time, by bucket.

    Mostly that is one bucket or two. After a time without answers nobody knows when what happened: a peak would page for
    what is long over, nothing at all would forgive it. What falls before the buckets that are kept is left out.

    Examples
    --------
    >>> list(spread(News(90.0, Tally(requests=10)), MINUTES, now=150.0))
    [(60, Tally(requests=5, failed=0, slow=0)), (120, Tally(requests=5, failed=0, slow=0))]
    """
    oldest = now - resolution.kept_s
    length_s = now - news.since
    if length_s <= 0:
        yield resolution.start_of(now), news.tally
        return
    start = resolution.start_of(max(news.since, oldest))
    given = _share(news.tally, (max(news.since, start) - news.since) / length_s)
    while start < now:
        end = start + resolution.width_s
        reached = _share(news.tally, (min(end, now) - news.since) / length_s)
        part = reached.since(given)
        if part != Tally():
            yield start, part
        start, given = end, reached


def _share(tally: Tally, share: float) -> Tally:
    """Return the first `share` of them; the differences of rising shares add up to the whole."""
    return Tally(
        requests=round(tally.requests * share),
        failed=round(tally.failed * share),
        slow=round(tally.slow * share),
    )
