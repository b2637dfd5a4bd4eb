"""The demo while it runs: requests flow, the cluster is looked at, the view is drawn; one event loop, no locks."""

import asyncio
import json
import time
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from rich.console import Console
from rich.live import Live

from perennial_demo.auc import AucPair, AucTrack
from perennial_demo.cluster import Cluster, Snapshot
from perennial_demo.errors import DemoError
from perennial_demo.flights import LABEL, load_flights
from perennial_demo.preparing import Models
from perennial_demo.replay import HOUR_S, Bodies, Clock, LateLabels, Request, Schedule, build_requests
from perennial_demo.report import BadSpell, Report, build_report
from perennial_demo.settings import DemoSettings
from perennial_demo.story import DAY_S, Chapter, Story, step
from perennial_demo.traffic import Traffic
from perennial_demo.view import Scene, render_line, render_scene

FIRST_LIVE_MONTH = 3
ROLLING_DAYS = 14
TICK_S = 0.05
PLAIN_LINE_S = 10.0
MAX_MISSES = 10


def say(console: Console, line: str) -> None:
    """Print a line as it is; it also goes well above the live view."""
    console.print(line, highlight=False, markup=False, soft_wrap=True)


@dataclass
class Replay:
    """The prepared stream: what is asked, what is true, what the first model would have said."""

    requests: list[Request]
    bodies: Bodies
    truth: "np.ndarray[tuple[int], np.dtype[np.int64]]"
    months: "pd.Series[int]"
    track: AucTrack

    @property
    def start_s(self) -> float:
        """Event time of the first request."""
        return self.requests[0].time_s


def prepare_replay(models: Models) -> Replay:
    """Cut the flights after the training months into requests, and score them by the first model."""
    flights = load_flights()
    live = flights[flights["month"] >= FIRST_LIVE_MONTH]
    frame, requests = build_requests(live, "time_s", "carrier")
    truth = frame[LABEL].to_numpy(dtype=np.int64)
    never = models.first.model.predict_proba(frame[list(models.first.schema.feature_names)])[:, 1]
    track = AucTrack(truth, frame["time_s"].to_numpy(dtype=np.float64), never)
    return Replay(requests, Bodies(frame, models.first.schema), truth, frame["month"], track)


@dataclass
class Stage:
    """What the concurrent parts of the demo share; one event loop, so without locks."""

    clock: Clock
    story: Story
    seen: Snapshot = field(default_factory=Snapshot)
    horizon_s: float = 0.0
    spell_from: int | None = None
    spell: BadSpell = field(default_factory=lambda: BadSpell(0, 0))


class Demo:
    """The replay against one deployment.

    Parameters
    ----------
    cluster, namespace, name
        The deployment.
    url
        The gateway, without a path.
    """

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        name: str,
        *,
        url: str,
        models: Models,
        settings: DemoSettings,
        console: Console,
    ) -> None:
        self._cluster, self._namespace, self._name = cluster, namespace, name
        self._models, self._settings, self._console = models, settings, console
        self._replay = prepare_replay(models)
        self._labels = LateLabels(settings.label_delay_h * HOUR_S)
        self._traffic = Traffic(
            f"{url}/{namespace}/{name}",
            name,
            bodies=self._replay.bodies,
            truth=self._replay.truth,
            labels=self._labels,
            track=self._replay.track,
            concurrency=settings.concurrency,
            timeout_s=settings.request_timeout_s,
        )
        start_s = self._replay.start_s
        self._stage = Stage(
            clock=Clock(start_s, settings.hours_per_s),
            story=Story(Chapter.WATCH, time.monotonic(), start_s),
            horizon_s=start_s + settings.lead_days * DAY_S,
        )

    async def run(self) -> Report:
        """Replay until the story ends, and report."""
        began = time.monotonic()
        async with self._traffic:
            tasks = [asyncio.create_task(part()) for part in (self._play, self._look, self._draw)]
            done, others = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            for task in done:
                task.result()
            await self._traffic.drain()
        return self._report(time.monotonic() - began)

    async def _play(self) -> None:
        """Let event time flow and send what is due, until the story ends or the year does."""
        stage, schedule = self._stage, Schedule(self._replay.requests)
        last = time.monotonic()
        while stage.story.chapter is not Chapter.END:
            now = time.monotonic()
            stage.clock.hours_per_s = self._settings.hours_per_s * stage.story.pace
            event_s = stage.clock.advance(now - last, at_most_s=stage.horizon_s)
            last = now
            for request in schedule.due(event_s):
                await self._traffic.send(request)
            await self._traffic.send_labels(event_s)
            if schedule.is_done:
                self._give_up(f"the year ended while: {stage.story.chapter.value}")
            await asyncio.sleep(TICK_S)

    async def _look(self) -> None:
        """Look at the cluster again and again, and let the story follow."""
        misses = 0
        while True:
            try:
                self._stage.seen = await self._cluster.observe(self._namespace, self._name)
                misses = 0
            except DemoError as error:
                misses += 1
                if misses >= MAX_MISSES:
                    self._give_up(f"the cluster doesn't answer: {error}")
                await asyncio.sleep(self._settings.poll_s)
                continue
            await self._follow()
            await asyncio.sleep(self._settings.poll_s)

    async def _follow(self) -> None:
        """Take the latest look into account."""
        stage, ledger = self._stage, self._traffic.ledger
        before = stage.story
        stage.story = step(
            before,
            stage.seen,
            wall_s=time.monotonic(),
            event_s=stage.clock.now_s,
            bad_digest=self._models.bad.digest,
            compare_days=self._settings.compare_days,
            chapter_timeout_s=self._settings.chapter_timeout_s,
        )
        report = stage.seen.report
        if report is not None and report.status.log.watermark is not None:
            known_s = report.status.log.watermark.timestamp()
            stage.horizon_s = max(stage.horizon_s, known_s + self._settings.lead_days * DAY_S)
        if stage.spell_from is not None and stage.story.bad is not None:
            of_bad = ledger.requests[stage.story.bad.metadata.name]
            if before.chapter is Chapter.BAD or of_bad != stage.spell.of_bad:
                stage.spell = BadSpell(ledger.total - stage.spell_from, of_bad)
        if stage.story.chapter is not before.chapter:
            await self._turn(stage.story.chapter)

    async def _turn(self, chapter: Chapter) -> None:
        """Do what opens a chapter."""
        say(self._console, f"── {chapter.value}")
        if chapter is Chapter.BAD:
            self._stage.spell_from = self._traffic.ledger.total
            patch = json.dumps({"spec": {"model": {"uri": self._models.bad_uri}}})
            await self._cluster.kubectl(
                "patch", "modeldeployment", self._name, "-n", self._namespace, "--type=merge", "-p", patch
            )

    async def _draw(self) -> None:
        """Keep the live view up to date, or print a plain line now and then where there is no terminal."""
        sent, at = self._traffic.ledger.total, time.monotonic()
        pause_s = self._settings.poll_s if self._console.is_terminal else PLAIN_LINE_S
        with Live(console=self._console, auto_refresh=False, transient=True) as live:
            while True:
                await asyncio.sleep(pause_s)
                now, total = time.monotonic(), self._traffic.ledger.total
                scene = self._scene((total - sent) / (now - at))
                sent, at = total, now
                if self._console.is_terminal:
                    live.update(render_scene(scene), refresh=True)
                else:
                    say(self._console, render_line(scene))

    def _scene(self, requests_per_s: float) -> Scene:
        stage, track = self._stage, self._replay.track
        known_s = stage.clock.now_s - self._labels.delay_s
        return Scene(
            story=stage.story,
            seen=stage.seen,
            ledger=self._traffic.ledger,
            event_s=stage.clock.now_s,
            requests_per_s=requests_per_s,
            is_held=stage.clock.now_s >= stage.horizon_s,
            rolling=track.between(known_s - ROLLING_DAYS * DAY_S, known_s),
            since_promotion=self._since_promotion(known_s),
        )

    def _since_promotion(self, until_s: float) -> AucPair | None:
        story = self._stage.story
        if story.promoted_event_s is None or story.candidate is None:
            return None
        return self._replay.track.between(
            story.promoted_event_s, until_s, frozenset({story.candidate.metadata.name})
        )

    def _report(self, seconds: float) -> Report:
        stage, track = self._stage, self._replay.track
        now_s = stage.clock.now_s
        months = []
        for month, rows in self._replay.months.groupby(self._replay.months):
            pair = track.between(track.time_s[rows.index[0]], track.time_s[rows.index[-1]] + 1)
            if pair is not None:
                months.append((f"2013-{month:02d}", pair))
        return build_report(
            stage.story,
            self._traffic.ledger,
            stage.spell,
            seconds=seconds,
            from_s=self._replay.start_s,
            until_s=now_s,
            since_promotion=self._since_promotion(now_s),
            months=months,
        )

    def _give_up(self, why: str) -> None:
        self._stage.story = replace(self._stage.story, chapter=Chapter.END, failure=why)
