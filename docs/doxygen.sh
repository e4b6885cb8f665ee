#!/bin/bash
# doxygen.sh OUTPUT VERSION - document the public headers into OUTPUT; any warning is a failure.
set -euo pipefail
output=$(mkdir -p "$1" && cd "$1" && pwd)
cd "$(dirname "${BASH_SOURCE[0]}")/.."
{
	cat docs/Doxyfile
	echo "OUTPUT_DIRECTORY = \"$output\""
	echo "PROJECT_NUMBER = \"$2\""
} | doxygen -
