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
# Replayed months pass in minutes, so verdicts are due in seconds.
SETTINGS = (
    "--set-string", "observer.settings.tick_s=1",
    "--set-string", "observer.settings.report_interval_s=2",
)  # fmt: skip

Report = Callable[[str], None]


def _say(line: str) -> None:
    print(line, flush=True)


def up(*, images_wanted: Sequence[str] = IMAGES, report: Report = _say) -> dict[str, str]:
    """Bring up the cluster with the chart installed and return the environment that reaches it.

    Parameters
    ----------
    images_wanted
        Folders of ``images/`` to build and load.
    report
        Is told each step in a sentence.

    Returns
    -------
    dict[str, str]
        ``KUBECONFIG`` and a ``PATH`` that holds kubectl and helm.
    """
    cluster.up()
    environment = cluster.build_environment()
    load_images(images_wanted, report)
    install_chart({**os.environ, **environment}, report)
    return environment


def load_images(names: Sequence[str], report: Report = _say) -> None:
    """Build the images that changed and hand them to the cluster."""
    for position, name in enumerate(names, start=1):
        report(f"image {position}/{len(names)}: {name}")
        built = images.build(
            f"{REGISTRY}/{name}:dev", ROOT, containerfile=ROOT / "images" / name / "Containerfile"
        )
        images.load(built.name)


def install_chart(environment: dict[str, str], report: Report = _say) -> None:
    """Install or upgrade the chart; pods restart only where an image changed.

    Raises
    ------
    subprocess.CalledProcessError
        Helm failed; what it said has been printed.
    """
    report("chart: helm upgrade --install")
    command = [
        "helm", "upgrade", "--install", RELEASE, str(ROOT / "charts" / "perennial"),
        "--namespace", NAMESPACE, "--create-namespace", "--take-ownership",
        "--set", f"image.registry={REGISTRY}", "--set", "image.tag=dev",
        "--set", f"image.revision={image_revision()}",
        *SETTINGS,
        "--wait", "--timeout", f"{HELM_TIMEOUT_S}s",
    ]  # fmt: skip
    subprocess.run(
        command, env=environment, check=True, timeout=HELM_TIMEOUT_S + 30, stdout=subprocess.DEVNULL
    )


def image_revision() -> str:
    """Return a digest of what the images are built from: same tag, new content, so pods must be told."""
    digest = hashlib.sha256()
    for folder in ("api", "operator", "gateway", "bundle", "observer", "locks", "images"):
        for file in sorted((ROOT / folder).rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts and ".venv" not in file.parts:
                digest.update(str(file.relative_to(ROOT)).encode())
                digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def main() -> int:
    """Run `make up`."""
    up()
    _say('Perennial is installed. Use it: eval "$(.venv/bin/perennial-localcluster env)"')
    return 0


if __name__ == "__main__":
    sys.exit(main())
