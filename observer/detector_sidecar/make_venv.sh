#!/bin/sh
# Makes (once per lock) the environment of the detector sidecar outside the repository and prints its path.
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
cache="${XDG_CACHE_HOME:-$HOME/.cache}/perennial/detectors-venv"
key=$(cat "$here/requirements.lock" | sha256sum | cut -c1-16)
venv="$cache/$key"
uv=$(command -v uv || printf '%s' "${XDG_CACHE_HOME:-$HOME/.cache}/perennial/tools/bin/uv")  # scripts/bootstrap fetched it
if [ ! -e "$venv/.complete" ]; then
    mkdir -p "$cache"
    building=$(mktemp -d "$cache/.building-XXXXXX")
    trap 'rm -rf "$building"' EXIT
    "$uv" venv --quiet --clear --relocatable --python 3.11 "$building"
    # --no-deps: the lock is complete, and overrides.txt departs from alibi-detect's own bounds on purpose.
    "$uv" pip install --quiet --python "$building/bin/python" --require-hashes --no-deps -r "$here/requirements.lock"
    touch "$building/.complete"
    rm -rf "$venv"
    mv "$building" "$venv"
fi
printf '%s\n' "$venv"
