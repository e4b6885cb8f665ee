#!/bin/bash
# run.sh - install what is missing, build in build/, and run every test that a newcomer needs to
# trust the build. Closes with one line of counts; exit status 0 when nothing failed.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

deploy/install-packages.sh build test
tests/python.sh

if [ -f build/build.ninja ] && meson setup --reconfigure build >/dev/null 2>&1; then
	:
else
	rm -rf build
	meson setup build
fi
ninja -C build

result=0
meson test -C build --no-rebuild --no-suite long --no-suite bench --print-errorlogs || result=$?
python3 tests/count.py build/meson-logs/testlog.json || result=1
exit "$result"
