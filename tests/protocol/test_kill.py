"""kill -9: of the network node right after it acknowledged, of a worker in the middle of a stream."""
import os
import random
import signal
import sys
import time

import house

NETWORK_ROUNDS = int(os.environ.get("GH_KILL_ROUNDS", "100"))
WORKER_ROUNDS = int(os.environ.get("GH_KILL_WORKER_ROUNDS", "20"))


def record(node, port):
    return {"id": node, "host": "10.9.8.7", "inference_port": port, "poc_port": port,
            "max_concurrent": 3, "models": {"m": {"args": []}}}


def network_node_keeps_its_word():
    rng = random.Random(11)
    wanted, numbers = {}, {}
    with house.Folder() as folder:
        for count in range(NETWORK_ROUNDS):
            with house.NetworkNode(folder) as network_node:
                listed = {i: n["node"]["inference_port"] for i, n in network_node.nodes().items()}
                assert listed == wanted, (count, listed, wanted)
                for node, entry in network_node.nodes().items():
                    assert numbers.setdefault(node, entry["node"]["node_num"]) == \
                        entry["node"]["node_num"], node
                node = f"node{rng.randrange(8)}"
                if node in wanted and rng.random() < 0.5:
                    status, text = house.call(network_node.admin, "DELETE",
                                              f"/admin/v1/nodes/{node}")
                    assert (status, text.strip()) == (200, "true"), text
                    del wanted[node], numbers[node]
                else:
                    port = 1000 + count
                    status, text = house.call(network_node.admin, "POST", "/admin/v1/nodes",
                                              record(node, port))
                    assert status == 200, text
                    wanted[node] = port
                network_node.kill()
    print(f"ok 1 - {NETWORK_ROUNDS} times the registry is what was acknowledged")


def worker_is_replaced():
    request = {"model": house.TINY, "max_tokens": 400, "temperature": 0, "ignore_eos": True,
               "messages": [{"role": "user", "content": "go on"}]}
    with house.InferenceNode() as inference_node:
        def up():
            begun = time.monotonic()
            status, text = house.call(inference_node.management, "POST", "/api/v1/inference/up",
                                      {"model": house.TINY, "dtype": "float16",
                                       "additional_args": []})
            assert (status, text) == (200, '{"status":"OK"}'), text
            return time.monotonic() - begun
        load = up()
        for count in range(WORKER_ROUNDS):
            stream = house.Stream(inference_node.inference, request)
            events = stream.events()
            for _ in range(3):
                next(events)
            workers = inference_node.children()
            assert len(workers) == 1, workers
            os.kill(workers[0], signal.SIGKILL)
            killed = time.monotonic()
            try:
                for _ in events:
                    pass
                raise SystemExit(f"round {count}: the stream passed for whole")
            except (AssertionError, OSError, ValueError, house.http.client.HTTPException):
                pass
            waited = time.monotonic() - killed
            assert waited < 2, f"round {count}: the client waited {waited:.1f} s for its error"
            house.until("the node serves again", lambda: house.call(
                inference_node.inference, "GET", "/health")[0] == 200, load + 5)
            stream.close()
        print(f"ok 2 - {WORKER_ROUNDS} killed workers were replaced")


network_node_keeps_its_word()
worker_is_replaced()
print("1..2")
sys.exit(0)
