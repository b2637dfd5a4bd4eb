"""Command line of the generator."""

import argparse
import sys
from pathlib import Path

from perennial_api.crds.files import stale_files, write_files


def main() -> int:
    """Write the CRDs, or check that the committed ones are what the models say."""
    parser = argparse.ArgumentParser(prog="python -m perennial_api.crds", description=__doc__)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--write", action="store_true", help="write crds/ and the chart's copy")
    action.add_argument("--check", action="store_true", help="fail if they differ from the models")
    parser.add_argument("--root", type=Path, default=Path(), help="the repository's root (default: here)")
    arguments = parser.parse_args()
    if arguments.write:
        write_files(arguments.root)
        return 0
    stale = stale_files(arguments.root)
    for path in stale:
        print(f"{path} is not what the models say: run `make crds`", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
