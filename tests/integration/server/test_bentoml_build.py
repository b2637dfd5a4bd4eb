"""What a BentoML user does with our service: build a Bento of it, and serve that."""

import subprocess
import sys

import httpx

from .conftest import DEADLINE_S, INFER, Process, build_environment, build_request, find_port

SERVICE = """\
from perennial_server.service import build_service

Flights = build_service()
"""
BENTOFILE = """\
service: "service:Flights"
name: flights
include: ["service.py", "bundle/*"]
python:
  lock_packages: false
"""


def run_bentoml(arguments, environment, directory):
    done = subprocess.run(
        [sys.executable, "-m", "bentoml", *arguments],
        env=environment,
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=4 * DEADLINE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_bento_of_the_service_is_built_and_served_without_a_network(bundle, tmp_path):
    project = tmp_path / "project"
    (project / "bundle").mkdir(parents=True)
    (project / "service.py").write_text(SERVICE)
    (project / "bentofile.yaml").write_text(BENTOFILE)
    for file in bundle.path.iterdir():
        (project / "bundle" / file.name).write_bytes(file.read_bytes())
    port = find_port()
    # BentoML looks for uv even where there is nothing to lock, and would install it.
    uv = tmp_path / "bin" / "uv"
    uv.parent.mkdir()
    uv.write_text("#!/bin/sh\necho uv was called >&2\nexit 1\n")
    uv.chmod(0o755)
    environment = build_environment(tmp_path, f"file://{project}/bundle", port)
    environment["PATH"] = f"{uv.parent}:{environment['PATH']}"
    tag = run_bentoml(["build", "--output", "tag"], environment, project).strip().removeprefix("__tag__:")
    assert tag.startswith("flights:")
    built = run_bentoml(["get", tag, "--output", "path"], environment, project).strip()
    packed = f"{built}/src/bundle"
    environment |= {"PERENNIAL_BUNDLE_URI": f"file://{packed}"}
    arguments = [sys.executable, "-m", "bentoml", "serve", tag, "--host", "127.0.0.1", "--port", str(port)]
    server = Process(arguments, environment, port, tmp_path / "bento.log")
    try:
        server.wait_up("/v2/health/ready")
        answer = httpx.post(server.url + INFER, json=build_request(), timeout=DEADLINE_S)
        assert answer.status_code == 200
        rows = {tensor["name"]: tensor["data"] for tensor in build_request()["inputs"]}
        native = httpx.post(server.url + "/predict", json={"rows": rows}, timeout=DEADLINE_S)
        outputs = {output["name"]: output["data"] for output in answer.json()["outputs"]}
        assert native.json()["predict"] == outputs["predict"]
    finally:
        server.popen.terminate()  # its workers end with it, and would outlive it if it were killed
        try:
            server.popen.wait(DEADLINE_S)
        finally:
            server.stop()
