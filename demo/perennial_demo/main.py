"""``make demo``: the main job on real data, from nothing to a report, without a question asked."""

import asyncio
import os
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from perennial_localcluster.errors import LocalClusterError
from rich.console import Console

from perennial_demo import install
from perennial_demo.cluster import Cluster, GatewayAccess
from perennial_demo.errors import DemoError
from perennial_demo.preparing import apply_example, explain_not_ready, is_ready, prepare_models
from perennial_demo.report import Report, render_next_commands, render_text
from perennial_demo.running import Demo, say
from perennial_demo.settings import DemoSettings

READY_TIMEOUT_S = 180.0


async def wait_until_ready(cluster: Cluster, namespace: str, name: str, poll_s: float) -> None:
    """Wait until the first model answers through the gateway.

    Raises
    ------
    DemoError
        With the conditions, when it takes too long.
    """
    deadline = time.monotonic() + READY_TIMEOUT_S
    while not is_ready(seen := await cluster.observe(namespace, name)):
        if time.monotonic() > deadline:
            raise DemoError(
                f"{namespace}/{name} isn't Ready after {READY_TIMEOUT_S:.0f} s: {explain_not_ready(seen)}"
            )
        await asyncio.sleep(poll_s)


async def run_demo(
    environment: dict[str, str], settings: DemoSettings, console: Console
) -> tuple[Report, str]:
    """Do everything after the installation; return the report and what to try next."""
    cluster = Cluster({**os.environ, **environment})
    with tempfile.TemporaryDirectory(prefix="perennial-demo-") as scratch:
        models = await prepare_models(cluster, Path(scratch), partial(say, console))
        namespace, name = await apply_example(cluster, models, partial(say, console))
        await wait_until_ready(cluster, namespace, name, settings.poll_s)
        async with GatewayAccess(cluster, install.NAMESPACE) as url:
            say(console, f"replay: flights of 2013 from March on, through {url}/{namespace}/{name}")
            demo = Demo(cluster, namespace, name, url=url, models=models, settings=settings, console=console)
            return await demo.run(), render_next_commands(namespace, name)


def main() -> int:
    """Run the demo; 0 only if it kept all its promises."""
    console = Console()
    settings = DemoSettings()
    try:
        environment = install.up(report=partial(say, console))
        report, following = asyncio.run(run_demo(environment, settings, console))
    except (DemoError, LocalClusterError) as error:
        say(console, f"The demo can't go on: {error}")
        return 1
    settings.report_dir.mkdir(parents=True, exist_ok=True)
    text = render_text(report)
    (settings.report_dir / "report.json").write_text(report.to_json(), encoding="utf-8")
    (settings.report_dir / "report.txt").write_text(text + "\n", encoding="utf-8")
    for part in (text, f"\nThe same as JSON: {settings.report_dir / 'report.json'}", following):
        say(console, part)
    return 0 if report.passed else 1


if __name__ == "__main__":
    sys.exit(main())
