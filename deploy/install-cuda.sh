#!/bin/bash
# install-cuda.sh - have NVIDIA's compiler in .cache/cuda, where the build looks for it, if there is
# no nvcc anywhere it looks. Silent, and needs no network, once that has worked. 104 MB are loaded.
#
# Needed to build the CUDA module, never to run it: that takes NVIDIA's driver alone.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
folder=$root/.cache/cuda
wanted=$root/deploy/cuda-toolkit.txt

command -v nvcc >/dev/null && exit 0
[ -x /usr/local/cuda/bin/nvcc ] && exit 0
cmp -s "$wanted" "$folder/installed.txt" && exit 0
log=$(mktemp)
trap 'rm -f "$log"' EXIT
echo "Installing the CUDA compiler into .cache/cuda" >&2
rm -rf "$folder"
# By a pip of its own, into a folder of its own: nothing of the system's Python is touched.
if ! { python3 -m venv "$folder/venv" &&
	"$folder/venv/bin/pip" install --disable-pip-version-check --no-deps --no-compile -q \
		--target "$folder" -r "$wanted" && rm -rf "$folder/venv"; } >"$log" 2>&1; then
	tail -n 5 "$log" >&2
	echo "install-cuda.sh: the compiler could not be installed; is the network there?" >&2
	rm -rf "$folder"
	exit 1
fi
cp "$wanted" "$folder/installed.txt"
