"""The smallest ModelDeployments and runtimes that the tests change one thing of."""

import copy
from typing import Any

API = "perennial.dev/v1alpha1"
ECHO_BODY = {"inputs": [{"name": "x", "datatype": "FP64", "shape": [1], "data": [1.0]}]}


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return `base` with `changes` merged in, maps by key and everything else replaced."""
    out = copy.deepcopy(base)
    for key, value in changes.items():
        out[key] = (
            merged(out[key], value) if isinstance(value, dict) and isinstance(out.get(key), dict) else value
        )
    return out


def echo_runtime(name: str, image: str, **env: str) -> dict[str, Any]:
    """Return a ClusterModelRuntime of the tiny test server that behaves as `env` says."""
    return {
        "apiVersion": API,
        "kind": "ClusterModelRuntime",
        "metadata": {"name": name},
        "spec": {
            "role": "Server",
            "image": image,
            "formats": ["skops"],
            "env": [{"name": key, "value": value} for key, value in env.items()],
        },
    }


def deployment(
    name: str, namespace: str, uri: str, runtime: str = "bentoml-skops", **spec: Any
) -> dict[str, Any]:
    """Return a ModelDeployment with pods small enough that two cores hold the whole suite."""
    base = {
        "model": {"uri": uri},
        "server": {
            "runtime": runtime,
            "minReplicas": 1,
            "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}},
        },
    }
    return {
        "apiVersion": API,
        "kind": "ModelDeployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": merged(base, spec),
    }


def canary(
    *weights: int,
    pause: str = "3s",
    min_samples: int = 30,
    bake: str = "3s",
    scale_down_delay: str = "2s",
    **analysis: Any,
) -> dict[str, Any]:
    """Return a Canary rollout that goes through `weights`, pausing and judging errors at each."""
    steps: list[dict[str, Any]] = []
    for weight in weights:
        steps += [{"setWeight": weight}, {"pause": {"duration": pause}}]
    base = {
        "interval": "1s",
        "initialDelay": "0s",
        "minSamples": min_samples,
        "bake": bake,
        "progressDeadline": "5m",
        "metrics": [{"name": "errors", "type": "ErrorRate", "maxRatio": 1.0, "maxRate": 0.05}],
    }
    return {
        "type": "Canary",
        "canary": {"steps": steps},
        "analysis": merged(base, analysis),
        "scaleDownDelay": scale_down_delay,
    }
