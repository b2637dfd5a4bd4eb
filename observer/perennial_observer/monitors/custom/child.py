"""The process in which a user's function runs: ``python -m perennial_observer.monitors.custom.child FOLDER FUNCTION``.

It bounds itself before anything of the user's is imported, reads the frames from the folder, and leaves the answer
there. Whoever started it bounds its time and ends it; nothing that happens here reaches the observer's process.
"""

import importlib
import json
import math
import numbers
import resource
import sys
import traceback
from pathlib import Path
from typing import Any

__all__ = ["ANSWER", "FRAMES", "main"]

FRAMES, ANSWER = "frames.json", "answer.json"
MAX_FILE_BYTES = 64 << 20


def main(folder: Path, function: str, memory_bytes: int) -> None:
    """Call the function on the folder's frames and write its answer there."""
    resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_FILE_BYTES, MAX_FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        answer = _describe(_call(folder, function))
    except BaseException as error:  # noqa: BLE001  also SystemExit: the function may raise anything
        answer = {"reason": "CustomFailed", "message": traceback.format_exception_only(error)[-1].strip()}
    (folder / ANSWER).write_text(json.dumps(answer))


def _call(folder: Path, function: str) -> Any:
    module, _, name = function.partition(":")
    called = getattr(importlib.import_module(module), name)
    import pandas as pd

    frames = json.loads((folder / FRAMES).read_bytes())
    return called(pd.DataFrame(frames["window"]), pd.DataFrame(frames["reference"]))


def _describe(value: Any) -> dict[str, Any]:
    """Turn what came back into an answer; numpy's scalars are numbers too, truth values aren't."""
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        value = value.item()
    try:
        number = float(value) if isinstance(value, numbers.Real) and not isinstance(value, bool) else math.nan
    except OverflowError:
        number = math.inf
    if math.isfinite(number):
        return {"value": number}
    return {"reason": "CustomInvalid", "message": f"it returned {value!r:.100}, not a finite number"}


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
