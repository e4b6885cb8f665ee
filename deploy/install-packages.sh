#!/bin/bash
# install-packages.sh TIER... - install the Debian packages of deploy/packages-debian.txt that are
# missing. Silent, and needs neither root nor network, when nothing is.
set -euo pipefail
list=$(dirname "${BASH_SOURCE[0]}")/packages-debian.txt

missing=()
for tier in "$@"; do
	while read -r package; do
		status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
		[ "$status" = installed ] || missing+=("$package")
	done < <(awk -v tier="$tier" '$1 == tier { print $2 }' "$list")
done
[ ${#missing[@]} -gt 0 ] || exit 0

if ! command -v apt-get >/dev/null; then
	echo "install-packages.sh: this machine has no apt-get; install the equivalents of:" \
		"${missing[*]}" >&2
	exit 1
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
	if ! command -v sudo >/dev/null; then
		echo "install-packages.sh: run as root, or install first: ${missing[*]}" >&2
		exit 1
	fi
	as_root=(sudo)
fi

echo "Installing ${missing[*]}" >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt() {
	"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Acquire::Retries=3 \
		-o DPkg::Lock::Timeout=120 "$@" </dev/null >>"$log" 2>&1
}
if ! { apt update && apt install --no-install-recommends "${missing[@]}"; }; then
	cat "$log" >&2
	echo "install-packages.sh: apt-get failed" >&2
	exit 1
fi
