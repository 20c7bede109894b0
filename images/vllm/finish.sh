#!/bin/sh
# The last step of the image: install the plugin's wheel beside vLLM, make the patches, write the byte code. In the CPU
# variant also what surrounds a process there, and the test rig.
set -eu
python=python3
if [ -x /opt/vllm/bin/python ]; then
  python=/opt/vllm/bin/python
  apt-get update -qq
  apt-get install -qq -y --no-install-recommends libnuma1 >/dev/null
  rm -rf /var/lib/apt/lists/*
fi
# Some distributions let pip touch their Python only when told so; here it is the image's own.
export PIP_BREAK_SYSTEM_PACKAGES=1
"$python" -m pip install --disable-pip-version-check --no-cache-dir --no-index --no-deps /build/wheel/*.whl
"$python" -m specdec_vllm.patches apply
site=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
vllm=$("$python" -c 'import importlib.util; print(importlib.util.find_spec("vllm").submodule_search_locations[0])')

if [ "$python" != python3 ]; then
  cp -r /build/rig/specdec_rig.py "$site"
  mkdir -p "$site/specdec_rig-0.0.0.dist-info"
  cp /build/rig/entry_points.txt "$site/specdec_rig-0.0.0.dist-info/"
  printf 'Metadata-Version: 2.1\nName: specdec_rig\nVersion: 0.0.0\n' >"$site/specdec_rig-0.0.0.dist-info/METADATA"
  # One thread, not pinned to a core: a container's share of the CPU is not a set of cores.
  cat >/opt/vllm/bin/vllm <<'WRAPPER'
#!/bin/sh
export LD_PRELOAD=/opt/vllm/lib/libiomp5.so OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
export VLLM_CPU_OMP_THREADS_BIND="${VLLM_CPU_OMP_THREADS_BIND:-nobind}" HF_HUB_OFFLINE=1 CUDA_VISIBLE_DEVICES=
exec /opt/vllm/bin/python -m vllm.entrypoints.cli.main "$@"
WRAPPER
  chmod 0755 /opt/vllm/bin/vllm
fi
"$python" -m compileall -q "$vllm" "$site/specdec_vllm" >/dev/null || true
mkdir -p /var/cache/specdec
chmod 1777 /var/cache/specdec
