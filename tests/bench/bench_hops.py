#!/usr/bin/env python3
"""What the two hops cost: time to the first byte of a streamed answer at the worker itself, through the
inference node, and through both nodes, medians of interleaved requests over kept connections.

    GONKAHOST=build/cli/gonkahost tests/bench/bench_hops.py
"""
import glob
import http.client
import json
import os
import socket
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "protocol"))
import house  # noqa: E402  pylint: disable=wrong-import-position

ROUNDS, WARM = 400, 40
BODY = json.dumps({"model": house.TINY, "stream": True, "max_tokens": 1, "temperature": 0,
                   "messages": [{"role": "user", "content": "Hi"}]})


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("worker")
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


def first_byte(connection):
    """Seconds from the request to the first byte of the body."""
    begun = time.perf_counter()
    connection.request("POST", "/v1/chat/completions", BODY, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    answer.read(1)
    taken = time.perf_counter() - begun
    answer.read()
    return taken


def main():
    with house.Folder() as folder, house.NetworkNode(folder, "--allow-unsigned") as network_node, \
            house.InferenceNode() as inference_node:
        network_node.register("n", inference_node, house.TINY)
        network_node.await_model(house.TINY)
        worker = inference_node.children()[0]
        with open(f"/proc/{worker}/cmdline", "rb") as arguments:
            words = arguments.read().decode().split("\0")
        path = words[words.index("--unix-socket") + 1]
        assert glob.glob(path)
        ways = {"worker": UnixConnection(path),
                "inference node": http.client.HTTPConnection("127.0.0.1", inference_node.inference),
                "both nodes": http.client.HTTPConnection("127.0.0.1", network_node.public)}
        times = {name: [] for name in ways}
        for count in range(WARM + ROUNDS):
            for name, connection in ways.items():
                taken = first_byte(connection)
                if count >= WARM:
                    times[name].append(taken)
        medians = {name: statistics.median(values) * 1e6 for name, values in times.items()}
        print(json.dumps({"bench": "hops", "first_byte_us": {k: round(v) for k, v in
                                                            medians.items()},
                          "hops_us": round(medians["both nodes"] - medians["worker"])}))


main()
