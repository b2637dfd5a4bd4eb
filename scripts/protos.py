"""Generate the modules of `inference.proto`, or check that they are as it says.

`python scripts/protos.py --write` rewrites them, `--check` fails on a difference. The messages get a descriptor pool
of their own: a service that also holds another copy of the protocol, tritonclient's say, could load only one of them
into the process's common pool.
"""

from __future__ import annotations

import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parents[1] / "model_servers"
PROTO = "perennial_server/rpc/inference.proto"
COMMON_POOL = "_descriptor_pool.Default()"
OWN_POOL = "_descriptor_pool.DescriptorPool()"


def render_modules() -> dict[Path, str]:
    """Return the generated modules by path.

    Raises
    ------
    RuntimeError
        protoc refuses the file; it has said why on stderr.
    """
    with tempfile.TemporaryDirectory() as directory:
        include = [f"-I{ROOT}", f"-I{files('grpc_tools') / '_proto'}"]
        code = protoc.main(
            ["protoc", *include, f"--python_out={directory}", f"--pyi_out={directory}", str(ROOT / PROTO)]
        )
        if code:
            raise RuntimeError(f"{PROTO}: protoc ended with {code}")
        module = Path(PROTO).with_name("inference_pb2.py")
        text = {path: (Path(directory) / path).read_text() for path in (module, module.with_suffix(".pyi"))}
    if text[module].count(COMMON_POOL) != 1:
        raise RuntimeError(
            f"{module}: protoc no longer writes {COMMON_POOL} once; see what has taken its place"
        )
    text[module] = text[module].replace(COMMON_POOL, OWN_POOL)
    return {ROOT / path: generated for path, generated in text.items()}


def main() -> int:
    """Write or check, as the one argument says."""
    stale = {p: t for p, t in render_modules().items() if not p.exists() or p.read_text() != t}
    if sys.argv[1:] == ["--write"]:
        for path, text in stale.items():
            path.write_text(text)
        return 0
    for path in stale:
        print(f"{path.name} isn't what {PROTO} says; run: python scripts/protos.py --write")
    return 1 if stale else 0


if __name__ == "__main__":
    raise SystemExit(main())
