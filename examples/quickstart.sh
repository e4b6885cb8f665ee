#!/bin/bash
# quickstart.sh - from a clone to a streamed answer through both nodes, on a machine without a GPU.
#
# Installs what is missing, builds, fetches a small real chat model (93 MB, once), starts a network
# node and an inference node on this machine, registers the one with the other, asks a question, runs
# a round of proofs of compute, and takes everything down again. Nothing is left running; later runs
# need no network.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export HOME=${HOME:-$(getent passwd "$(id -u)" | cut -d: -f6)}

MODEL=HuggingFaceTB/SmolLM2-135M-Instruct
QUESTION=${1:-"What is the capital of France? Answer in one sentence."}
STARTUP=120 # seconds that anything may take to come up

step() { printf '\n== %s\n' "$*"; }
die() {
	echo "quickstart.sh: $*" >&2
	for log in "$state"/*.log; do
		[ -s "$log" ] && { echo "--- $(basename "$log")" >&2; tail -n 20 "$log" >&2; }
	done
	exit 1
}

step "Packages, build, model"
deploy/install-packages.sh build
if [ ! -f build/build.ninja ] || ! meson setup --reconfigure build >/dev/null 2>&1; then
	rm -rf build
	said=$(meson setup build 2>&1) || {
		echo "$said" >&2
		exit 1
	}
fi
ninja -C build cli/gonkahost | tail -n 1
gonkahost=$PWD/build/cli/gonkahost
snapshot=$(examples/fetch_model.sh)
"$gonkahost" model inspect "$snapshot"

state=$(mktemp -d)
pids=()
cleanup() {
	for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
	for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
	rm -rf "$state"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# The port that the guides name, or any free one when it is taken.
port() {
	if (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; then echo 0; else echo "$1"; fi
}
# start NAME ARGUMENT... - run a node; its ports are the line that it prints.
start() {
	local name=$1
	shift
	"$gonkahost" "$name" "$@" >"$state/$name.out" 2>"$state/$name.log" &
	pids+=($!)
	for _ in $(seq $((STARTUP * 10))); do
		[ -s "$state/$name.out" ] && return
		kill -0 "${pids[-1]}" 2>/dev/null || die "$name did not start"
		sleep 0.1
	done
	die "$name did not start within $STARTUP s"
}
port_of() { sed -nE "s/.*\"$2\":([0-9]+).*/\1/p" "$state/$1.out"; }

step "Network node and inference node"
start network-node --allow-unsigned --data-dir "$state/dapi" --public-port "$(port 8000)" \
	--callback-port "$(port 9100)" --admin-port "$(port 9200)"
start inference-node --data-dir "$state/proofs" --port "$(port 8080)" --inference-port "$(port 5000)"
public=$(port_of network-node public_port)
admin=$(port_of network-node admin_port)
management=$(port_of inference-node port)
inference=$(port_of inference-node inference_port)
echo "public API $public, admin API $admin; inference node $management and $inference"

step "Register the inference node"
set -x
curl -sS -X POST "http://localhost:$admin/admin/v1/nodes" \
   -H "Content-Type: application/json" \
   -d '{
    "id": "node1",
    "host": "127.0.0.1",
    "inference_port": '"$inference"',
    "poc_port": '"$management"',
    "max_concurrent": 500,
    "models": {
     "'"$MODEL"'": {
      "args": [
       "--quantization", "fp8"
      ]
     }
    }
   }'
{ set +x; } 2>/dev/null

step "Wait until it serves the model"
waited=0
until curl -sS "http://localhost:$public/v1/models" | grep -q "\"id\":\"$MODEL\",\"object\""; do
	waited=$((waited + 1))
	[ "$waited" -lt $((STARTUP * 5)) ] || die "the node did not come up within $STARTUP s"
	sleep 0.2
done
"$gonkahost" nodes list --admin "http://localhost:$admin"

step "Ask: $QUESTION"
"$gonkahost" chat --url "http://localhost:$public" --name "$MODEL" --max-tokens 64 --temperature 0 \
	--message "$QUESTION" || die "no answer"

step "A round of proofs of compute over all nodes, with the smallest parameters"
"$gonkahost" poc round --network-node "http://localhost:$admin" --params inttest --seconds 3 ||
	die "not every node is found honest"

step "Remove the node"
set -x
curl -sS -X DELETE "http://localhost:$admin/admin/v1/nodes/node1" -H "Content-Type: application/json"
{ set +x; } 2>/dev/null
