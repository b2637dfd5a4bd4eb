"""How long one router takes from a changed ModelRoute until Envoy serves it, with a thousand models on it.

`python -m benchmarks.weight_changes --models 1000 --changes 60` starts a real Envoy and the router agent, without
Kubernetes, and prints the distribution for changes of a weight, of a salt and of endpoints. The API server's part is
measured by `benchmarks/weight_changes_cluster.py`.
"""

import argparse
import asyncio
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

from perennial_gateway.model import Backend, Endpoint, Route, RouteKey, Stickiness

from tests.integration.gateway.harness import GatewayPod, free_port


def build_model(number: int) -> Route:
    """Return a route of two revisions with two pods each."""
    name = f"model-{number:04d}"
    endpoints = tuple(Endpoint(f"10.{number // 200}.{number % 200}.{i}", 3000) for i in (1, 2))
    backends = (Backend(f"{name}-b", 5, endpoints), Backend(f"{name}-a", 95, endpoints))
    return Route(RouteKey("shop", name), f"uid-{number}", 1, backends)


def change_weight(route: Route) -> Route:
    """Move ten percent."""
    first, second = route.backends
    weight = (first.weight_percent + 10) % 100
    return replace(
        route, backends=(replace(first, weight_percent=weight), replace(second, weight_percent=100 - weight))
    )


def change_salt(route: Route) -> Route:
    """Draw all clients anew."""
    return replace(route, sticky=Stickiness("x-user", f"attempt-{route.generation}"))


def change_endpoints(route: Route) -> Route:
    """Take one pod of the first revision away, or bring it back."""
    first, second = route.backends
    endpoints = second.endpoints if len(first.endpoints) == 1 else second.endpoints[:1]
    return replace(route, backends=(replace(first, endpoints=endpoints), second))


async def measure(
    pod: GatewayPod, routes: dict[RouteKey, Route], change: Callable[[Route], Route], changes: int
) -> list[float]:
    """Return how long each change of one route took, in ms."""
    took_ms = []
    keys = list(routes)
    for i in range(changes):
        key = keys[i * 7 % len(keys)]
        route = change(routes[key])
        routes[key] = replace(route, generation=route.generation + 1)
        started = time.perf_counter()
        pod.source.set(*routes.values())
        await pod.until(lambda key=key: pod.agent.status(key).generation == routes[key].generation, f"{key}")
        took_ms.append(1000 * (time.perf_counter() - started))
    return took_ms


def report(what: str, took_ms: list[float]) -> str:
    """Return one line: median, 95 %, longest."""
    ordered = sorted(took_ms)
    return (
        f"{what:<10} n={len(ordered)} median={statistics.median(ordered):.0f} ms "
        f"p95={ordered[int(0.95 * (len(ordered) - 1))]:.0f} ms longest={ordered[-1]:.0f} ms"
    )


async def main(models: int, changes: int) -> None:
    """Start a router, load it, and measure each kind of change."""
    routes = {route.key: route for route in map(build_model, range(models))}
    async with GatewayPod(free_port(), apply_timeout_s=60.0, cluster_grace_s=5.0) as pod:
        print(f"{models} models applied in {await pod.apply(*routes.values()):.0f} ms")
        for what, change in (
            ("weight", change_weight),
            ("salt", change_salt),
            ("endpoints", change_endpoints),
        ):
            print(report(what, await measure(pod, routes, change, changes)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=1000)
    parser.add_argument("--changes", type=int, default=60)
    arguments = parser.parse_args()
    asyncio.run(main(arguments.models, arguments.changes))
