#!/bin/bash
# run.sh [FILE] - every benchmark, one after the other, on a machine with nothing else to do. Prints one
# table, row by row as docs/performance.md has it, and appends each measurement with its circumstances to
# FILE (build/bench.jsonl), a JSON object a line. BUILD names another build folder, THREADS a number of
# threads (all cores).
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
build=${BUILD:-build}
file=${1:-$build/bench.jsonl}
threads=${THREADS:-0}
model=HuggingFaceTB/SmolLM2-135M-Instruct

programs=()
for source in tests/bench/bench_*.c; do
	programs+=("tests/bench/$(basename "$source" .c)")
done
ninja -C "$build" "${programs[@]}" >/dev/null || ninja -C "$build" "${programs[@]}" || exit 1

load=$(cut -d ' ' -f 1 /proc/loadavg) # a busy machine can be told from it afterwards
raw=$(mktemp)
trap 'rm -f "$raw"' EXIT
failed=0
# bench NAME ARGUMENT... - its lines behind the command, a tab between; also to standard error.
bench() {
	local command="bench_$*" name=$1 line
	shift
	echo "# $command" >&2
	if ! "$build/tests/bench/bench_$name" "$@" | while IFS= read -r line; do
		echo "$line" >&2
		printf '%s\t%s\n' "$command" "$line" >>"$raw"
	done; then
		echo "run.sh: $command failed" >&2
		failed=1
	fi
}

bench device "$threads"
if snapshot=$(examples/fetch_model.sh); then
	for dtype in bf16 f16 f32 fp8 fp8-w8a16; do
		bench forward "$model" "$dtype" "$threads"
	done
	bench tokenizer "$snapshot"
else
	echo "run.sh: without $model bench_forward is left out" >&2
	failed=1
fi
golden=../shared/golden/qwen2.5
[ -d "$golden" ] && bench tokenizer "$golden"
bench poc
bench serve
bench http

revision=$(git describe --always --dirty 2>/dev/null || echo unknown)
python3 - "$raw" "$file" "$revision" "$load" <<'PYTHON' || failed=1
import datetime
import json
import os
import sys

raw, file, revision, load = sys.argv[1:]
date = datetime.date.today().isoformat()
with open("/proc/cpuinfo", encoding="utf-8") as info:
    cpu = next((line.split(":", 1)[1].strip() for line in info if line.startswith("model name")),
               "unknown")
cores = len(os.sched_getaffinity(0))


def rate(value, unit):
    return "%.4g %s" % (value, unit)


def of_device(r, seen):
    if r["bench"] == "decode":
        yield ("matrices of a layer, %s, weights %s%s, %d rows" %
               (r["model"], r["weight"], ", inputs quantised" * r["quantise"], r["m"]),
               rate(r["gb_s"], "GB/s"), rate(r["ceiling_gb_s"], "GB/s"), r["ratio"])
    elif r["bench"] == "prefill":
        ceiling = r["sgemm_gflop_s"]
        yield ("%d x %d x %d, weights %s%s" % (r["m"], r["n"], r["k"], r["weight"],
                                               ", inputs quantised" * r["quantise"]),
               rate(r["gflop_s"], "GFLOP/s"), rate(ceiling, "GFLOP/s") if ceiling else None,
               r["ratio"] if ceiling else None)
    elif r["bench"] == "attention":
        yield ("attention, %d sequences, %d rows, context %d, %s" %
               (r["sequences"], r["rows"], r["context"], r["dtype"]),
               rate(r["gflop_s"], "GFLOP/s"), None, None)
    elif r["bench"] == "sample":
        yield ("sampling, %s, vocabulary %d, spread %g" % (r["what"], r["vocab"], r["spread"]),
               rate(r["ms"], "ms"), None, None)


def of_forward(r, seen):
    if r["bench"] == "load":
        yield "load, %s" % r["numerics"], rate(r["seconds"], "s"), None, None
    elif r["bench"] == "decode":
        read = seen.get("read", {}).get("gb_s")
        yield ("decode, batch %d: weights read" % r["batch"], rate(r["gb_s"], "GB/s"),
               rate(read, "GB/s") if read else None, r["of_read"] if read else None)
        one = seen.get("decode")
        yield ("decode, batch %d" % r["batch"], rate(r["tok_s"], "tok/s"),
               rate(one["tok_s"], "tok/s at batch 1") if one else None,
               r["tok_s"] / one["tok_s"] if one else None)
    elif r["bench"] == "prefill":
        yield ("prefill, %d tokens" % r["tokens"],
               "%.4g tok/s, %.4g GFLOP/s" % (r["tok_s"], r["gflop_s"]), None, None)


def of_tokenizer(r, seen):
    if r["bench"] == "load":
        yield "tokenizer of %d tokens: load" % r["vocab"], rate(r["ms"], "ms"), None, None
    else:
        yield "tokenizer: encode, %s" % r["text"], rate(r["mb_s"], "MB/s"), None, None


def of_serve(r, seen):
    yield "%s: a request" % r["bench"], rate(r["request_us"], "us"), None, None
    yield "%s: a token" % r["bench"], rate(r["token_us"], "us"), None, None
    engine = seen.get("engine")
    if r["bench"] == "server" and engine:
        yield ("server over engine: a request", rate(r["request_us"] - engine["request_us"], "us"),
               None, None)
        yield ("server over engine: a streamed token",
               rate(r["token_us"] - engine["token_us"], "us"), None, None)


def of_http(r, seen):
    if r["bench"] == "client":
        yield "HTTP client and server: a call", rate(r["client_and_server_us"], "us"), None, None
    else:
        yield ("HTTP server: %s" % ("a request" if r["bench"] == "requests" else "an event"),
               rate(r["server_us"], "us"), None, None)


def of_poc(r, seen):
    if r["bench"] == "draw":
        yield "PCG64: a draw", rate(r["ns"], "ns"), None, None
    elif r["bench"] == "normals":
        draw = seen["draw"]["ns"]
        yield ("normal numbers, %s, %d threads" % (r["how"], r["threads"]), rate(r["ns"], "ns"),
               "%s a draw" % rate(draw, "ns"), draw / r["ns"])
        if r["how"] == "segments" and r["threads"] == 1:
            seen["one thread"] = r
        elif r["how"] == "segments":
            yield ("the same, %d threads over one" % r["threads"], None, None,
                   seen["one thread"]["ns"] / r["ns"])
    elif r["bench"] == "numpy":
        yield ("normal numbers, segments, 1 thread over NumPy's default_rng",
               rate(seen["one thread"]["ns"], "ns"), rate(r["ns"], "ns"), r["times"])
    elif r["bench"] == "proofs":
        yield ("proofs of %s by %d, %s, %d threads" % (r["set"], r["batch"], r["how"], r["threads"]),
               "%s, %s" % (rate(r["nonces_s"], "nonces/s"), rate(r["gflop_s"], "GFLOP/s")),
               rate(r["ceiling_gflop_s"], "GFLOP/s"), r["ratio"])
    elif r["bench"] == "naive":
        yield ("proofs of %s over %s, one thread" % (r["set"], r["how"]), None,
               rate(r["nonces_s"], "nonces/s"), r["times"])
    else:
        yield "permutation of %d" % r["count"], rate(r["us"], "us"), None, None


rows_of = {"bench_device": of_device, "bench_forward": of_forward, "bench_http": of_http,
           "bench_poc": of_poc, "bench_serve": of_serve, "bench_tokenizer": of_tokenizer}

print("%s, %d cores, load %s before; revision %s\n" % (cpu, cores, load, revision))
print("| date | command | what | figure | ceiling of the same run | ratio |")
print("| --- | --- | --- | --- | --- | --- |")
seen, last = {}, None
with open(raw, encoding="utf-8") as lines, open(file, "a", encoding="utf-8") as out:
    for line in lines:
        command, _, text = line.rstrip("\n").partition("\t")
        result = json.loads(text)
        if command != last:
            seen, last = {}, command
        json.dump({"date": date, "cpu": cpu, "cores": cores, "revision": revision,
                   "load": float(load), "command": command, "result": result}, out)
        out.write("\n")
        if result["bench"] == "read":
            rows = [("memory read", rate(result["gb_s"], "GB/s"), None, None)]
        else:
            rows = rows_of[command.split()[0]](result, seen)
        for what, figure, ceiling, ratio in rows:
            print("| %s | `%s` | %s | %s | %s | %s |" %
                  (date, command.replace(os.path.expanduser("~") + "/", "~/"), what, figure or "",
                   ceiling or "",
                   "%.2f" % ratio if ratio is not None else ""))
        seen.setdefault(result["bench"], result)
PYTHON
exit $failed
