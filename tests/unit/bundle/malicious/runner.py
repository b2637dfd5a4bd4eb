"""Opens spoiled bundles as a server does, in a process of its own that notes whatever it shouldn't do.

Arguments: the directory of the cases, and of the sound bundles. Prints one line of JSON for each case.
"""

import json
import resource
import signal
import sys
import tempfile
import traceback
from pathlib import Path

import perennial_bundle

CASE_TIMEOUT_S = 120
FORBIDDEN = ("os.system", "os.exec", "os.fork", "os.posix_spawn", "pty.", "subprocess.", "socket.", "ctypes.",
             "pickle.", "webbrowser.")  # fmt: skip
OWN = (
    "sklearn",
    "scipy",
    "numpy",
    "pandas",
    "skops",
    "pyarrow",
    "onnxruntime",
    "perennial_bundle",
    "encodings",
)
noted = []
is_noting = False


def note(event, arguments):
    """Keep what happened, if it is something that opening a model never does."""
    if not is_noting:
        return
    if event.startswith(FORBIDDEN):
        noted.append(f"{event} {arguments!r:.200}")
    elif event == "import" and str(arguments[0]).split(".")[0] not in OWN:
        noted.append(f"import {arguments[0]}")
    elif event == "exec" and getattr(arguments[0], "co_filename", "<").startswith("<"):
        noted.append(f"exec {arguments[0]!r:.200}")
    elif event == "open" and str(arguments[0]).startswith("/etc/"):
        noted.append(f"open {arguments[0]}")


def open_whole(root):
    """Take the road of a server: unpack, check, load, read the reference, predict."""
    with tempfile.TemporaryDirectory() as scratch:
        directory = root / "bundle"
        if (root / "bundle.tar").exists():
            directory = Path(scratch) / "bundle"
            with (root / "bundle.tar").open("rb") as file:
                perennial_bundle.unpack(file, directory)
        bundle = perennial_bundle.load(directory)
        _ = bundle.scorer
        inputs = bundle.reference().inputs
        try:
            bundle.predict(inputs)
        except perennial_bundle.BundleError:
            raise
        except Exception as error:
            raise perennial_bundle.ModelLoadFailed(f"it can't predict its own reference: {error}") from error


def main():
    global is_noting  # noqa: PLW0603  the hook can't be taken away again
    cases, good = (Path(argument) for argument in sys.argv[1:])
    for path in sorted(good.iterdir()):
        if path.is_dir():
            bundle = perennial_bundle.load(path)
            bundle.predict(bundle.reference().inputs)
    sys.addaudithook(note)
    for root in sorted(cases.iterdir()):
        noted.clear()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        result = {"name": root.name, "reason": None, "message": ""}
        signal.alarm(CASE_TIMEOUT_S)
        is_noting = True
        try:
            open_whole(root)
        except perennial_bundle.BundleError as error:
            result |= {"reason": error.reason, "message": str(error)}
        except Exception:  # noqa: BLE001  a server would crash with it
            result |= {"reason": "not a BundleError", "message": traceback.format_exc()}
        is_noting = False
        signal.alarm(0)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        print(json.dumps(result | {"noted": list(noted), "grown_mib": grown // 1024}), flush=True)


if __name__ == "__main__":
    main()
