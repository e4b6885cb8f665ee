#!/bin/bash
# python.sh - make .cache/venv with the packages of tests/requirements.txt. Silent, and needs no
# network, once that has worked. Without network the tests that need it are skipped.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$root/.cache/venv
wanted=$root/tests/requirements.txt

cmp -s "$wanted" "$venv/installed.txt" && exit 0
log=$(mktemp)
trap 'rm -f "$log"' EXIT
echo "Installing Python packages into .cache/venv" >&2
if ! { rm -rf "$venv" && python3 -m venv "$venv" &&
	"$venv/bin/pip" install --disable-pip-version-check -q -r "$wanted"; } >"$log" 2>&1; then
	tail -n 5 "$log" >&2
	echo "python.sh: no packages; tests that need them are skipped" >&2
	rm -rf "$venv"
	exit 0
fi
cp "$wanted" "$venv/installed.txt"
