"""Command line of both containers of a gateway pod: `run`, `run-envoy`, `drain`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal

from aiohttp import web

from perennial_gateway.admin import EnvoyAdmin
from perennial_gateway.agent import Agent
from perennial_gateway.applier import Applier, load_last_good
from perennial_gateway.clients import ClientCounter
from perennial_gateway.drain import drain
from perennial_gateway.kube_source import connect
from perennial_gateway.peers import Knowledge, Peers
from perennial_gateway.prediction_log.collector import build_collector
from perennial_gateway.publisher import Publisher
from perennial_gateway.run_envoy import run_envoy
from perennial_gateway.server import Facts, build_app
from perennial_gateway.settings import AgentSettings, DrainSettings, EnvoySettings


def main() -> None:
    """Run one of the commands."""
    parser = argparse.ArgumentParser(prog="perennial-router-agent", description=__doc__)
    parser.add_argument(
        "command",
        choices=["run", "run-envoy", "drain"],
        help="run: the router agent; run-envoy: Envoy itself; drain: Envoy's preStop hook",
    )
    command = parser.parse_args().command
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    if command == "run-envoy":
        run_envoy(EnvoySettings())
    elif command == "drain":
        asyncio.run(drain(DrainSettings()))
    else:
        asyncio.run(run_agent(AgentSettings()))


async def run_agent(settings: AgentSettings) -> None:
    """Run the agent until it is told to stop."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with EnvoyAdmin(settings.admin_socket) as admin, connect(settings) as (source, keys):
        publisher = Publisher(settings, admin)
        applier = Applier(publisher, load_last_good(settings.last_good_path))
        clients = ClientCounter(settings.clients_path, settings.most_clients)
        log = build_collector(settings)
        agent = Agent(settings, source, publisher, applier, followers=(clients, log))

        def knowledge() -> Knowledge:
            snapshot = source.snapshot()
            if snapshot is None:
                return Knowledge(watching=False, digest="")
            return Knowledge(watching=source.silent_s() < settings.stale_after_s, digest=snapshot.digest())

        peers = Peers(
            settings.peers_host, settings.agent_port, knowledge, source.silent_s, settings.stale_after_s
        )
        facts = Facts(
            pod=settings.pod_name,
            agent=agent,
            admin=admin,
            clients=clients,
            log=log,
            watch_failures=source.watch_failures,
            knowledge=knowledge,
            is_outdated=lambda: peers.newer,
            read_keys=keys.read,
        )
        runner = web.AppRunner(build_app(facts), access_log=None)
        await runner.setup()
        await web.TCPSite(runner, settings.agent_address, settings.agent_port).start()
        try:
            async with asyncio.TaskGroup() as group:
                jobs = (
                    source.run(),
                    agent.run(),
                    clients.run(settings.clients_socket),
                    log.run(settings.capture_socket),
                    peers.run(),
                )
                tasks = [group.create_task(job) for job in jobs]
                await stop.wait()
                for task in tasks:
                    task.cancel()
        finally:
            await runner.cleanup()


if __name__ == "__main__":
    main()
