"""Which monitors fire when on the demo's flights, and which of their alarms are false.

Run ``python -m benchmarks.flights_alarms``; ``--weeks 12`` for a shorter look. It plays the demo's year through an observer
in this process (its real HTTP application over ASGI, SQLite in a temporary folder, the real detectors beside it), with the
monitors of ``examples/01-flights.yaml`` and one of each other type that rows suffice for. Rows come in the order of the
demo, labels a day later, and the observer looks once a week, all by the events' own clock. The model is the demo's first
and is never retrained, so an alarm stands for as long as the monitor means it.

Two streams. **The year**: January and February first, of which the reference is, then all that the demo plays. **Winter
again**: half a year of weeks put together from days of January and February, each from the same day of the week, drawn
by lot: nothing can have changed, so all alarms in it are false by construction.
"""

import argparse
import asyncio
import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import perennial_bundle
import yaml
from perennial_api import ModelDeployment
from perennial_api.modeldeployment.monitoring import Monitor
from perennial_demo.flights import EVENT_TIME, FEATURES, LABEL, load_flights
from perennial_demo.models import TRAINING_MONTHS, write_artefacts
from perennial_demo.replay import LABEL_DELAY_S
from perennial_observer.api.app import build_app
from perennial_observer.main import build_observer
from perennial_observer.monitors.windows.history import JudgedWindow, read_windows
from perennial_observer.registry import Registry
from perennial_observer.settings import Settings
from perennial_observer.store.log import find_deployment_id
from perennial_observer.store.rows import DeploymentKey
from perennial_server.prediction_log.reference import render_reference

from benchmarks.flights_facts import DAY_S, Facts, Finding
from benchmarks.ingest import Anybody
from tests.contract.detectors.process import make_python, run_sidecar

ROOT = Path(__file__).parents[1]
KEY = DeploymentKey("00000000-0000-0000-0000-000000000000", "flights", "flights")
REVISION = "flights-00000001"
HEADERS = {"Authorization": "Bearer t"}
START_S = 180
LOOK_EVERY_DAYS = 7
WINTER_AGAIN_WEEKS = 26
LARGEST_ID = 2**63 - 1
LABELS = {"maturity": "2d", "minCoverage": 0.9, "minLabels": 1000}
BESIDE = [
    {"name": "answers", "type": "PredictionDrift", "predictionDrift": {"detector": "KS"}},
    {"name": "quality", "type": "DataQuality"},
    {
        "name": "auc-est",
        "type": "EstimatedPerformance",
        "estimatedPerformance": {"method": "CBPE", "metric": "roc_auc", "min": 0.6},
    },
    {"name": "errors", "type": "Concept", "concept": {"labels": LABELS}},
    {
        "name": "airports",
        "type": "Fairness",
        "fairness": {"metric": "accuracy", "slices": ["ewr", "jfk", "lga"], "labels": LABELS},
    },
]
SLICES = [{"name": code.lower(), "where": f'origin == "{code}"'} for code in ("EWR", "JFK", "LGA")]


@dataclass(frozen=True)
class Alarm:
    """One alarm: from the start of the first of the windows that raised it, to the end of the last that kept it."""

    monitor: str
    start_s: float
    raised_s: float
    end_s: float | None
    statistic: float
    threshold: float
    features: tuple[str, ...]


def build_deployment() -> ModelDeployment:
    """Take the demo's, with the other types' monitors beside its own."""
    documents = yaml.safe_load_all((ROOT / "examples" / "01-flights.yaml").read_text())
    manifest = next(document for document in documents if document["kind"] == "ModelDeployment")
    monitoring = manifest["spec"]["monitoring"]
    monitoring["monitors"] += BESIDE
    monitoring["slices"] = SLICES
    manifest["metadata"]["uid"] = KEY.uid
    manifest["status"] = {"rollout": {"phase": "Healthy", "stable": REVISION}}
    return ModelDeployment.model_validate(manifest)


def draw_winter_again(winter: pd.DataFrame, weeks: int) -> pd.DataFrame:
    """Put weeks together from winter's days, each from the same day of the week; their times go on in 2014."""
    rng = np.random.default_rng(2013)
    days = dict(list(winter.groupby((winter["time_s"] // DAY_S).astype(int))))
    by_weekday = {
        weekday: [n for n, day in days.items() if day["weekday"].mode()[0] == weekday] for weekday in range(7)
    }
    first = int(datetime(2014, 1, 6, tzinfo=UTC).timestamp() // DAY_S)  # a Monday
    drawn = []
    for place in range(7 * weeks):
        number = int(rng.choice(by_weekday[place % 7]))
        later_s = (first + place - number) * DAY_S
        drawn.append(days[number].assign(time_s=days[number]["time_s"] + later_s))
    stream = pd.concat(drawn, ignore_index=True)
    stream[EVENT_TIME] = pd.to_datetime(stream["time_s"], unit="s", utc=True).dt.strftime(
        "%Y-%m-%dT%H:%M:%SZ"
    )
    return stream


def render_day(rows: pd.DataFrame) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Turn a day's flights into a body of the log, one request an airport and hour, and into its labels."""
    rows = rows.sort_values(["time_s", "origin"], kind="stable")
    requests = rows.groupby(["time_s", "origin"], sort=True).size()
    ids = [f"{time_s:.0f}-{origin}" for time_s, origin in requests.index]
    group = {
        "ids": ids,
        "times": [float(time_s) for time_s, _ in requests.index],
        "sizes": requests.tolist(),
        "inputs": {name: _plain(rows[name]) for name in (*FEATURES, EVENT_TIME)},
        "outputs": {"predict": _plain(rows["predict"]), "probability": _plain(rows["probability"])},
    }
    places = [(id_, row) for id_, size in zip(ids, group["sizes"], strict=True) for row in range(size)]
    labels = [
        {"prediction_id": id_, "row": row, "label": label}
        for (id_, row), label in zip(places, rows[LABEL].tolist(), strict=True)
    ]
    return {"revision": REVISION, "groups": [group]}, labels


def _plain(values: "pd.Series[Any]") -> list[Any]:
    return [None if isinstance(x, float) and math.isnan(x) else x for x in values.tolist()]


async def play(
    flights: pd.DataFrame, reference: bytes, deployment: ModelDeployment, socket: Path, name: str
) -> dict[str, list[JudgedWindow]]:
    """Play a stream; return each monitor's windows, the oldest first."""
    with tempfile.TemporaryDirectory() as folder:
        now_s = float(flights["time_s"].iloc[0])
        registry = Registry()
        registry.replace([deployment])
        anybody = Anybody()
        observer = build_observer(
            Settings(
                data_dir=Path(folder), detector_socket=socket, detector_timeout_s=300.0, min_free_bytes=0
            ),
            identity=anybody,
            reports=anybody,
            registry=registry,
            clock=lambda: now_s,
        )
        assert observer.context is not None
        app = httpx.ASGITransport(build_app(observer.context))
        try:
            async with httpx.AsyncClient(
                transport=app, base_url="http://observer", headers=HEADERS, timeout=300.0
            ) as client:

                async def post(path: str, **body: Any) -> None:
                    got = await client.post(path, **body)
                    if got.is_error:
                        raise RuntimeError(f"{path} answered {got.status_code}: {got.text[:300]}")

                feedback = f"/v1/namespaces/{KEY.namespace}/deployments/{KEY.name}/feedback"
                late: list[dict[str, Any]] = []
                await post("/v1/reference", content=reference)
                days = flights.groupby((flights["time_s"] // DAY_S).astype(int))
                for place, (number, rows) in enumerate(days, 1):
                    now_s = (float(number) + 1) * DAY_S
                    body, labels = render_day(rows)
                    await post("/v1/log", json=body)
                    if late:
                        await post(feedback, json={"feedback": late})
                    late = labels  # known LABEL_DELAY_S later
                    if place % LOOK_EVERY_DAYS == 0:
                        await observer.tick()
                        print(f"  {name}: {_date(now_s)}", flush=True)
                now_s += LABEL_DELAY_S
                await post(feedback, json={"feedback": late})
                await observer.tick()
            with observer.store.read() as connection:
                id_ = find_deployment_id(connection, KEY.uid)
                assert id_ is not None
                return {
                    m.name: read_windows(
                        connection, id_, m.name, since=-math.inf, before=LARGEST_ID, limit=1_000
                    )[::-1]
                    for m in deployment.spec.monitoring.monitors
                }
        finally:
            observer.close()


def find_alarms(windows: Sequence[JudgedWindow]) -> list[Alarm]:
    """Find the episodes among a monitor's windows."""
    alarms: dict[str, Alarm] = {}
    for place, window in enumerate(windows):
        breach, verdict = window.verdict["breach_id"], window.verdict
        if breach is None or breach not in alarms:
            # An episode that isn't there any more ended with this window.
            for name, alarm in alarms.items():
                if alarm.end_s is None and name != breach:
                    alarms[name] = Alarm(**{**vars(alarm), "end_s": window.end})
        if breach is not None and breach not in alarms:
            first = next(w for w in windows[max(0, place - 2) : place + 1] if w.breached)
            names = tuple(name for name, _ in verdict.get("features") or ())
            alarms[breach] = Alarm(
                window.monitor, first.start, window.end, None,
                verdict["statistic"], verdict["threshold"], names,
            )  # fmt: skip
    return list(alarms.values())


def _date(time_s: float | None) -> str:
    return "-" if time_s is None else f"{datetime.fromtimestamp(time_s, UTC):%-d %b %Y}"


def render(
    title: str,
    monitors: Sequence[Monitor],
    played: dict[str, list[JudgedWindow]],
    facts: Facts,
    quiet_until_s: float,
) -> str:
    """Write one stream's tables; alarms raised before `quiet_until_s` are false by construction."""
    counts, told = [], []
    for monitor in monitors:
        windows = played[monitor.name]
        alarms = find_alarms(windows)
        judged = [w for w in windows if w.breached is not None]
        findings = [
            (alarm, Finding(False, "") if alarm.raised_s <= quiet_until_s
             else facts.judge(monitor, alarm.features, alarm.start_s, alarm.raised_s))
            for alarm in alarms
        ]  # fmt: skip
        false = sum(not finding.true for _, finding in findings)
        quiet = [w for w in judged if w.end <= quiet_until_s]
        counts.append(
            f"| {monitor.name} ({monitor.type}) | {len(judged)} of {len(windows)} | {sum(bool(w.breached) for w in judged)} "
            f"| {sum(bool(w.breached) for w in quiet)} of {len(quiet)} | {len(alarms)} | {false} |"
        )
        for alarm, finding in findings:
            why = finding.told or "nothing: these are the reference's own days"
            told.append(
                f"| {monitor.name} | {_date(alarm.start_s)} | {_date(alarm.raised_s)} | {_date(alarm.end_s)} "
                f"| {alarm.statistic:.3g} against {alarm.threshold:.3g}"
                f"{': ' + ', '.join(alarm.features[:3]) if alarm.features else ''} | {why} "
                f"| {'true' if finding.true else '**false**'} |"
            )
    return "\n".join(
        [
            f"### {title}", "",
            "| monitor | windows judged | breaches | breaches while nothing had changed | alarms | false |",
            "|---|---:|---:|---:|---:|---:|", *counts, "",
            "| monitor | from | raised | ended | it said | what is known | |",
            "|---|---|---|---|---|---|---|", *told,
        ]
    )  # fmt: skip


def main() -> None:
    """Play both streams and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weeks", type=int, default=53, help="of the year that are played")
    parser.add_argument("--stream", choices=["year", "winter", "both"], default="both")
    parser.add_argument("--model", type=Path, help="the demo's bundle, if it is there already")
    arguments = parser.parse_args()
    flights = load_flights()
    with tempfile.TemporaryDirectory() as scratch, run_sidecar(make_python(), START_S) as socket:
        bundle = perennial_bundle.load(arguments.model or write_artefacts(Path(scratch)).model)
        reference = render_reference(bundle, REVISION, frozenset())
        assert reference is not None
        probability = bundle.model.predict_proba(flights[FEATURES])[:, 1]
        flights = flights.assign(probability=probability, predict=(probability > 0.5).astype(int))
        winter = flights[flights["month"].isin(TRAINING_MONTHS)]
        deployment = build_deployment()
        monitors = deployment.spec.monitoring.monitors
        spring_s = float(flights.loc[flights["month"] == max(TRAINING_MONTHS) + 1, "time_s"].min())
        streams = {
            "year": ("The year", flights[flights["time_s"] < flights["time_s"].iloc[0] + 7 * DAY_S * arguments.weeks], spring_s),
            "winter": ("Winter again", draw_winter_again(winter, min(arguments.weeks, WINTER_AGAIN_WEEKS)), math.inf),
        }  # fmt: skip
        for name, (title, stream, quiet_until_s) in streams.items():
            if arguments.stream in (name, "both"):
                played = asyncio.run(play(stream, reference, deployment, socket, name))
                print(render(title, monitors, played, Facts(winter, stream), quiet_until_s), flush=True)


if __name__ == "__main__":
    main()
