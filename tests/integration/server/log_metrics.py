"""The log's counters, read from a server's ``/metrics``."""

import httpx
from prometheus_client.parser import text_string_to_metric_families

from .conftest import wait_for

PREFIX = "perennial_server_log_"


def read_log_metrics(server, to):
    """What became of requests on their way to one outlet; the dropped ones by reason."""
    got = {"taken": 0, "sent": 0, "left_out": 0, "dropped": {}}
    for family in text_string_to_metric_families(httpx.get(f"{server.url}/metrics", timeout=60).text):
        for sample in family.samples:
            if sample.labels.get("to") != to or not sample.name.endswith("_total"):
                continue
            name = sample.name.removeprefix(PREFIX).removesuffix("_total")
            if name == "dropped":
                got["dropped"][sample.labels["reason"]] = sample.value
            else:
                got[name] = sample.value
    return got


def read_settled(server, n, to="Observer"):
    """Wait until each of n requests has met its fate, and return the fates."""

    def check():
        got = read_log_metrics(server, to)
        lost = sum(got["dropped"].values())
        return got["taken"] == n and got["sent"] + got["left_out"] + lost == n and got

    return wait_for(check, f"the fates of {n} requests")
