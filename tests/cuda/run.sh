#!/bin/bash
# run.sh - the tests of the CUDA module, on a machine with a GPU, from a build that may have been
# made on another one.
#
#   tests/cuda/run.sh collect BUILD     beside BUILD's tests, in BUILD/tests/cuda/lib: the shared
#                                       libraries they need that the other machine may lack
#   tests/cuda/run.sh [BUILD] [TEST...] run all tests, or those named; one table, exit status 0 when
#                                       none failed
#
# GH_CUDA_TOOL is put before each test: compute-sanitizer, say.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

collect() {
	local folder=$1/tests/cuda/lib
	rm -rf "$folder"
	mkdir -p "$folder"
	find "$1/tests/cuda" "$1/cli" -maxdepth 1 -type f -perm -u+x -exec ldd {} + |
		awk '/=> \// && !/\/(libc|libm|libdl|librt|libpthread|ld-linux[^\/]*)\.so/ { print $3 }' | sort -u |
		grep -v "^$(cd "$1" && pwd)/" | xargs -r cp -Lt "$folder"
}

if [ "${1:-}" = collect ]; then
	collect "${2:?collect needs a build folder}"
	exit
fi
build=$(cd "${1:-$here/../../build}" && pwd) || exit 2
shift
export LD_LIBRARY_PATH=$build/kernels:$build/tests/cuda/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
tests=("$@")
[ ${#tests[@]} -gt 0 ] || mapfile -t tests < <(cd "$build/tests/cuda" && find . -maxdepth 1 -type f -name 'test_cuda_*' | sed 's/^..//' | sort)

log=$(mktemp)
trap 'rm -f "$log"' EXIT
failed=0 table=
for name in "${tests[@]}"; do
	name=test_cuda_${name#test_cuda_}
	began=$(date +%s%N)
	# shellcheck disable=SC2086
	${GH_CUDA_TOOL:-} "$build/tests/cuda/$name" >"$log" 2>&1
	status=$?
	seconds=$((($(date +%s%N) - began) / 10000000))
	good=$(grep -c '^ok' "$log")
	bad=$(grep -c '^not ok' "$log")
	case $status in
	0) verdict=passed ;;
	77) verdict=skipped ;;
	*) verdict=FAILED failed=1 ;;
	esac
	[ "$verdict" != FAILED ] || grep -v '^ok' "$log" | head -n 40
	table+=$(printf '%-20s %-8s %6d ok %4d not ok %5d.%02d s' "$name" "$verdict" "$good" "$bad" \
		$((seconds / 100)) $((seconds % 100)))$'\n'
done
nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>/dev/null
printf '%s' "$table"
exit $failed
