"""A network node's day: a model is served, stopped for a round of proofs, and served again. It stays
loaded meanwhile where there is room, and gives way where there is none."""
import json
import os
import time

import house

UP = {"model": house.TINY, "dtype": "float16", "additional_args": ["--max-model-len", "512"]}
CHAT = {"model": house.TINY, "max_tokens": 24, "temperature": 0, "ignore_eos": True,
        "messages": [{"role": "user", "content": "what is one and one"}]}
LONG = {"model": house.TINY, "max_tokens": 450, "n": 128, "temperature": 1, "ignore_eos": True,
        "messages": [{"role": "user", "content": "go on"}]}
SMALL = {"dim": 128, "n_layers": 16, "n_heads": 16, "n_kv_heads": 16, "vocab_size": 128,
         "ffn_dim_multiplier": 16.0, "multiple_of": 1024, "norm_eps": 1e-5, "rope_theta": 500000,
         "use_scaled_rope": False, "seq_len": 4}
HUGE = dict(SMALL, dim=65536, n_layers=1024, n_heads=512, n_kv_heads=512, ffn_dim_multiplier=95.0)


def order(node, path, body=None):
    """As an existing network node sends it: no Content-Type."""
    status, text = house.call(node.management, "POST", "/api/v1" + path, body, headers={})
    assert status == 200, (path, status, text)
    return json.loads(text)


def state(node):
    return json.loads(house.call(node.management, "GET", "/api/v1/state")[1])["state"]


def proofs(node):
    status, text = house.call(node.management, "GET", "/api/v1/pow/status")
    assert status == 200, text
    return json.loads(text)


def parked(node):
    return json.loads(house.call(node.management, "GET", "/health")[1])["workers"]["parked"]


def init(block_hash="AB" * 32, **more):
    return {"node_id": 1, "node_count": 2, "block_hash": block_hash, "block_height": 1200,
            "public_key": "02" + "ab" * 32, "batch_size": 100, "r_target": 1.4013564660458173,
            "fraud_threshold": 1e-7, "params": SMALL, "url": "http://127.0.0.1:9/x", **more}


def answer(node):
    status, text = house.call(node.inference, "POST", "/v1/chat/completions", CHAT)
    assert status == 200, text
    return json.loads(text)["choices"][0]["message"]["content"]


def up(node):
    """Seconds that it took."""
    began = time.monotonic()
    assert order(node, "/inference/up", UP) == {"status": "OK"}
    return time.monotonic() - began


def seconds_of(pid):
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def a_day():
    with house.InferenceNode() as node:
        up(node)
        workers, said = node.children(), answer(node)
        assert len(workers) == 1, workers
        for epoch in range(2):
            assert order(node, "/stop") == {"status": "OK"}
            assert state(node) == "STOPPED" and node.children() == workers and parked(node) == 1
            assert house.call(node.inference, "POST", "/v1/chat/completions", CHAT) == \
                (503, "vLLM backend not ready")
            spent = seconds_of(workers[0])
            order(node, "/pow/init/generate", init(f"{epoch:064d}"))
            house.until("proofs are found", lambda: proofs(node)["hits"])
            assert state(node) == "POW" and set(workers) < set(node.children())
            order(node, "/pow/init/validate", init(f"{epoch:064d}", node_count=3))
            assert order(node, "/stop") == {"status": "OK"}
            assert node.children() == workers and parked(node) == 1
            assert seconds_of(workers[0]) - spent < house.roomy(0.5), "what is parked computes"
            took = up(node)
            assert took < house.roomy(2), f"it took {took:.2f} s to serve again"
            assert node.children() == workers and parked(node) == 0
            assert answer(node) == said
        assert order(node, "/inference/down") == {"status": "OK"}
        assert node.children() == []
    house.until("workers end with their node", lambda: not os.path.exists(f"/proc/{workers[0]}/exe"))


def requests_at_a_stop():
    """Who is being answered sees what the end of a worker looks like, and the model has no part of it
    left when it serves again."""
    with house.InferenceNode() as node:
        up(node)
        workers = node.children()
        said = answer(node)
        stream = house.Stream(node.inference, LONG)
        events = stream.events()
        next(events)  # and nobody reads on, so that it does not end by itself
        began = time.monotonic()
        assert order(node, "/stop") == {"status": "OK"}
        assert time.monotonic() - began < 15
        try:
            for _ in events:
                pass
            raise SystemExit("the stream passed for whole")
        except (AssertionError, OSError, ValueError, house.http.client.HTTPException) as problem:
            print(f"# {problem!r}")
        stream.close()
        up(node)
        assert node.children() == workers
        house.until("nothing runs", lambda: house.metric(node.inference, "vllm:num_requests_running") == 0)
        assert answer(node) == said


def no_room():
    """Proofs go before a model that is parked."""
    with house.InferenceNode("--proof-budget", "100TiB") as node:
        up(node)
        workers = node.children()
        order(node, "/stop")
        assert node.children() == workers
        order(node, "/pow/init/generate", init(params=HUGE))
        house.until("the model gives way", lambda: not set(workers) & set(node.children()))
        house.until("it stops", lambda: state(node) == "STOPPED")
        assert "one nonce needs" in proofs(node)["problem"]
        assert parked(node) == 0
        up(node)
        assert answer(node)


def folder_of(pid):
    with open(f"/proc/{pid}/cmdline") as cmdline:
        arguments = cmdline.read().split("\0")
    return os.path.dirname(arguments[arguments.index("--unix-socket") + 1])


def left_behind():
    """What a node that was killed leaves is removed by the next one, and nothing of one that lives."""
    with house.InferenceNode() as living:
        up(living)
        with house.InferenceNode() as node:
            up(node)
            order(node, "/stop")
            order(node, "/pow/init", init())
            workers = node.children()
            assert len(workers) == 2, workers
            left = folder_of(workers[0])
            assert left == folder_of(workers[1]) != folder_of(living.children()[0])
            node.kill()
            house.until("workers end with their node", lambda: not any(
                os.path.exists(f"/proc/{pid}/exe") for pid in workers))
        assert len(os.listdir(left)) == 3, os.listdir(left)
        with house.InferenceNode():
            assert not os.path.exists(left), left
        assert answer(living)
        kept = folder_of(living.children()[0])
    assert not os.path.exists(kept), kept


def main():
    tests = (a_day, requests_at_a_stop, no_room, left_behind)
    print(f"1..{len(tests)}")
    for number, test in enumerate(tests, 1):
        test()
        print(f"ok {number} - {test.__name__}", flush=True)


main()
