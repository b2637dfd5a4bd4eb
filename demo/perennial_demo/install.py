"""Bring up a cluster with Perennial on it: cluster, images, chart. `make up`, the demo and the e2e suite call it."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from perennial_localcluster import cluster, images

NAMESPACE = "perennial-system"
RELEASE = "perennial"
IMAGES = ("operator", "gateway", "server", "observer", "detectors", "trainer")
REGISTRY = "localhost/perennial"
ROOT = Path(__file__).resolve().parents[2]
HELM_TIMEOUT_S = 300

Report = Callable[[str], None]


def _say(line: str) -> None:
    print(line, flush=True)


def up(
    *,
    images_wanted: Sequence[str] = IMAGES,
    addons: Sequence[str] = (),
    values: Sequence[str] = (),
    report: Report = _say,
) -> dict[str, str]:
    """Bring up the cluster with the chart installed and return the environment that reaches it.

    Parameters
    ----------
    images_wanted
        Folders of ``images/`` to build and load.
    addons
        Optional services of the local cluster, such as ``prometheus``; those that it has stay.
    values
        Values of the chart as ``name=value``.
    report
        Is told each step in a sentence.

    Returns
    -------
    dict[str, str]
        ``KUBECONFIG``, a ``PATH`` that holds kubectl and helm, and what else
        :func:`perennial_localcluster.cluster.build_environment` names.
    """
    cluster.up(wanted_addons=addons)
    environment = cluster.build_environment()
    revision = load_images(images_wanted, report)
    install_chart({**os.environ, **environment}, revision, values, report)
    return environment


def load_images(names: Sequence[str], report: Report = _say) -> str:
    """Build the images that changed, hand them to the cluster, and return a digest that changes with any of them."""
    digest = hashlib.sha256()
    for position, name in enumerate(names, start=1):
        report(f"image {position}/{len(names)}: {name}")
        built = images.build(
            f"{REGISTRY}/{name}:dev", ROOT, containerfile=ROOT / "images" / name / "Containerfile"
        )
        images.load(built.name)
        if name in IMAGES:  # the chart's pods run no other
            digest.update(built.image_id.encode())
    return digest.hexdigest()[:12]


def install_chart(
    environment: dict[str, str], revision: str, values: Sequence[str] = (), report: Report = _say
) -> None:
    """Install or upgrade the chart; pods restart only when an image changed: same tag, new `revision`.

    Raises
    ------
    subprocess.CalledProcessError
        Helm failed; what it said has been printed.
    """
    _clear_interrupted(environment, report)
    report("chart: helm upgrade --install")
    command = [
        "helm", "upgrade", "--install", RELEASE, str(ROOT / "charts" / "perennial"),
        "--namespace", NAMESPACE, "--create-namespace", "--take-ownership",
        "--set", f"image.registry={REGISTRY}", "--set", "image.tag=dev",
        "--set", f"image.revision={revision}",
        *(word for value in values for word in ("--set", value)),
        "--wait", "--timeout", f"{HELM_TIMEOUT_S}s",
    ]  # fmt: skip
    subprocess.run(
        command, env=environment, check=True, timeout=HELM_TIMEOUT_S + 30, stdout=subprocess.DEVNULL
    )


def _clear_interrupted(environment: dict[str, str], report: Report) -> None:
    """Forget a release that was interrupted: Helm refuses to go on from one, and the chart is applied anew anyway."""
    selector = f"owner=helm,name={RELEASE},status in (pending-install,pending-upgrade,pending-rollback)"
    command = ["kubectl", "delete", "secret", "-n", NAMESPACE, "-l", selector, "-o", "name"]
    done = subprocess.run(command, env=environment, check=True, timeout=60, capture_output=True, text=True)
    if "secret/" in done.stdout:  # kubectl prints a sentence where it found none
        report("chart: an earlier installation was interrupted; beginning anew")


def main() -> int:
    """Run `make up`."""
    up()
    _say('Perennial is installed. Use it: eval "$(.venv/bin/perennial-localcluster env)"')
    return 0


if __name__ == "__main__":
    sys.exit(main())
