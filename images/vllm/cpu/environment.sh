#!/usr/bin/env bash
# usage: environment.sh
# Makes the environment of the engine tests in the cache, where it is missing, and prints its folder. The folder's name
# is the content of what it is made from.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${SPECDEC_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/specdec}
key=$(cat "$here/requirements.txt" "$here/cuda_stand_ins.py" "$here/install.sh" | sha256sum | cut -c1-12)
"$here/install.sh" "$cache/engine/$key" >&2
echo "$cache/engine/$key"
