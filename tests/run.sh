#!/bin/bash
# run.sh - install what is missing, build in build/, and run every test that a newcomer needs to
# trust the build. Closes with one line of counts; exit status 0 when nothing failed.
#
# The first run downloads packages, the client library of tests/requirements.txt and a small real
# model (93 MB). Later runs need no network. A machine that never had one skips what needs the last
# two.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export HOME=${HOME:-$(getent passwd "$(id -u)" | cut -d: -f6)}

deploy/install-packages.sh build test
tests/python.sh
examples/fetch_model.sh >/dev/null ||
	echo "run.sh: no real model; tests that need it are skipped" >&2

# A build folder that cannot be brought up to date (of a moved tree, say) is made anew.
if [ ! -f build/build.ninja ] || ! meson setup --reconfigure -Dtests=enabled build >/dev/null 2>&1; then
	rm -rf build
	meson setup -Dtests=enabled build
fi
ninja -C build

result=0
meson test -C build --no-rebuild --no-suite long --no-suite bench --print-errorlogs || result=$?
python3 tests/count.py build/meson-logs/testlog.json || result=1
exit "$result"
