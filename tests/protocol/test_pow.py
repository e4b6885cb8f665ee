"""Proofs of compute, an inference node driven as existing network nodes drive it: orders without a
Content-Type, bodies ignored, callbacks that answer late, badly or not at all, processes that are killed."""
import http.server
import json
import os
import signal
import sqlite3
import subprocess
import tempfile
import threading
import time

import house

HASH, KEY = "0123456789ABCDEF" * 4, "02" + "ab" * 32
R_TARGET = 1.4013564660458173
SMALL = {"dim": 128, "n_layers": 16, "n_heads": 16, "n_kv_heads": 16, "vocab_size": 128,
         "ffn_dim_multiplier": 16.0, "multiple_of": 1024, "norm_eps": 1e-5, "rope_theta": 500000,
         "use_scaled_rope": False, "seq_len": 4}


class Receiver(http.server.ThreadingHTTPServer):
    """Where a network node takes callbacks: `answer` says how."""
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock, self.answer = threading.Lock(), 200
        self.generated, self.validated, self.refused = [], [], 0
        threading.Thread(target=self.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server_port}/v1/poc-batches"

    def nonces(self, block_hash=HASH):
        with self.lock:
            return [n for b in self.generated if b["block_hash"] == block_hash for n in b["nonces"]]


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server = self.server
        assert self.headers["Content-Type"] == "application/json"
        if server.answer == "hang":
            time.sleep(30)
            return
        with server.lock:
            if server.answer >= 400:
                server.refused += 1
            else:
                kind = server.generated if self.path.endswith("/generated") else server.validated
                kind.append(json.loads(body))
        self.send_response(server.answer)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def order(node, path, body=None, status=200):
    """As an existing network node sends it: no Content-Type."""
    got, text = house.call(node.management, "POST", "/api/v1" + path, body, headers={})
    assert got == status, (path, got, text)
    return json.loads(text)


def get(node, path, status=200):
    got, text = house.call(node.management, "GET", "/api/v1" + path)
    assert got == status, (path, got, text)
    return json.loads(text)


def init(url, **more):
    return {"node_id": 1, "node_count": 2, "block_hash": HASH, "block_height": 1200,
            "public_key": KEY, "batch_size": 100, "r_target": R_TARGET, "fraud_threshold": 1e-7,
            "params": SMALL, "url": url, **more}


def built(node):
    house.until("the network is built", lambda: get(node, "/pow/status")["is_model_initialized"])


def known(nonces, block_hash=HASH, key=KEY):
    """Distances by the command."""
    out = subprocess.run([house.GONKAHOST, "poc", "generate", "--params", "inttest", "--json",
                          "--block-hash", block_hash, "--public-key", key, "--nonces",
                          ",".join(map(str, nonces))], capture_output=True, text=True, check=True)
    return json.loads(out.stdout)["dist"]


def a_round():
    receiver = Receiver()
    with house.InferenceNode() as node:
        assert get(node, "/state") == {"state": "STOPPED"}
        assert get(node, "/pow/status") == {"status": "NOT_LOADED"}
        assert order(node, "/pow/stop") == {"status": "OK", "pow_status": "PoW is not running"}
        order(node, "/pow/phase/generate", status=400)
        order(node, "/pow/validate", {"public_key": KEY, "block_hash": HASH, "block_height": 1200,
                                      "nonces": [1], "dist": [1.0], "node_id": 0}, status=400)
        order(node, "/pow/init/generate", init(receiver.url, node_id=-1), status=400)
        assert get(node, "/state") == {"state": "STOPPED"}
        began = time.monotonic()
        answer = order(node, "/pow/init/generate", init(receiver.url))
        assert answer["status"] == "OK" and answer["pow_status"]["status"] == "GENERATING", answer
        assert time.monotonic() - began < 10
        assert get(node, "/state")["state"] == "POW"
        conflict = house.call(node.management, "POST", "/api/v1/inference/up",
                              {"model": "m", "dtype": "auto"})
        assert conflict[0] == 409 and "Cannot run INFERENCE" in conflict[1], conflict
        assert house.call(node.inference, "GET", "/control/proofs/status")[0] != 200
        built(node)
        house.until("proofs come", lambda: receiver.nonces())
        again = order(node, "/pow/init/generate", init(receiver.url))
        assert again["pow_status"] == {"status": "GENERATING", "is_model_initialized": True}, again

        # Another node_count keeps the network, as existing network nodes change it between phases.
        answer = order(node, "/pow/init/validate", init(receiver.url, node_count=3))
        assert answer["pow_status"] == {"status": "VALIDATING", "is_model_initialized": True}, answer
        nonces = receiver.nonces()
        assert all(n % 2 == 1 for n in nonces) and len(set(nonces)) == len(nonces)
        first = receiver.generated[0]
        assert list(first) == ["public_key", "block_hash", "block_height", "nonces", "dist",
                               "node_id"], list(first)
        assert (first["public_key"], first["block_height"], first["node_id"]) == (KEY, 1200, 1)
        assert first["dist"] == known(first["nonces"])
        judge(node, receiver)
        assert order(node, "/pow/stop") == {"status": "OK", "pow_status": {"status": "NOT_LOADED"}}
        assert get(node, "/state") == {"state": "STOPPED"}
        assert node.children() == []


def judge(node, receiver):
    """Batches of others: honest, lying, and such that are none."""
    other = "03" + "cd" * 32
    dist = known(range(300), key=other)
    hits = [(n, d) for n, d in enumerate(dist) if d < R_TARGET][:100]
    misses = [n for n, d in enumerate(dist) if d > R_TARGET][:10]
    honest = {"public_key": other, "block_hash": HASH, "block_height": 1200,
              "nonces": [n for n, _ in hits], "dist": [d for _, d in hits], "node_id": 0}
    lies = dict(honest, nonces=honest["nonces"][:90] + misses, dist=honest["dist"][:90] + [1.3] * 10)
    for wrong, status, words in (
            (dict(honest, block_hash="OTHER"), 400, "block_hash"),
            (dict(honest, block_height=7), 400, "block_height"),
            (dict(honest, dist=honest["dist"][:-1]), 400, "dist"),
            (dict(honest, dist=[1.5] * len(hits)), 400, "r_target"),
            (dict(honest, nonces=[-1] * len(hits)), 400, "nonces"),
            (dict(honest, nonces=None, dist=None), 422, "list"),
            ({}, 422, "Field required")):
        got, text = house.call(node.management, "POST", "/api/v1/pow/validate", wrong, headers={})
        assert got == status and words in text, (got, text)
    for batch in (honest, lies, dict(honest, nonces=[], dist=[])):
        got, text = house.call(node.management, "POST", "/api/v1/pow/validate", batch, headers={})
        assert (got, text) == (200, "null"), (got, text)
    house.until("all are judged", lambda: len(receiver.validated) == 3)
    by_count = {(len(v["nonces"]), v["n_invalid"]): v for v in receiver.validated}
    assert set(by_count) == {(100, 0), (100, 10), (0, 0)}, list(by_count)
    good, bad = by_count[100, 0], by_count[100, 10]
    assert list(good) == ["public_key", "block_hash", "block_height", "nonces", "dist", "node_id",
                          "received_dist", "r_target", "fraud_threshold", "n_invalid",
                          "probability_honest", "fraud_detected"], list(good)
    assert good["dist"] == good["received_dist"] == honest["dist"] and not good["fraud_detected"]
    assert good["probability_honest"] == 1.0 and good["r_target"] == R_TARGET
    assert bad["fraud_detected"] and bad["received_dist"][-1] == 1.3 and bad["dist"][-1] > R_TARGET


def callbacks_that_fail():
    receiver = Receiver()
    receiver.answer = 500
    with house.InferenceNode() as node:
        order(node, "/pow/init/generate", init(receiver.url))
        house.until("callbacks are refused", lambda: receiver.refused)
        receiver.answer = "hang"
        time.sleep(1)
        assert get(node, "/pow/status")["status"] == "GENERATING"
        receiver.answer = 200
        house.until("what was refused comes", lambda: receiver.nonces())
        # A phase change sends what is there.
        order(node, "/pow/phase/validate")
        tried = house.until("all is sent", lambda: get(node, "/pow/status")["proofs_to_send"] == 0)
        assert tried
        hits = get(node, "/pow/status")["hits"]
        house.until("every hit arrives", lambda: len(receiver.nonces()) == hits)
        assert len(set(receiver.nonces())) == hits
        assert order(node, "/stop") == {"status": "OK"}
        # Stop and start back to back; nothing is delivered twice.
        order(node, "/pow/init/generate", init(receiver.url))
        house.until("it goes on", lambda: len(receiver.nonces()) > hits)
        order(node, "/stop")
        order(node, "/pow/init/generate", init(receiver.url, block_hash="F" * 64))
        house.until("another block", lambda: receiver.nonces("F" * 64))
        order(node, "/stop")
    assert len(set(receiver.nonces())) == len(receiver.nonces())


def refused_for_good():
    """What a network node refuses is not sent again, and is forgotten with its block."""
    receiver = Receiver()
    receiver.answer = 400
    with house.InferenceNode() as node:
        order(node, "/pow/init/generate", init(receiver.url))
        house.until("callbacks are refused", lambda: receiver.refused)
        assert "400" in house.until("it is told", lambda: get(node, "/pow/status").get("callback_problem"))
        order(node, "/pow/phase/validate")
        house.until("the rest is refused too", lambda: get(node, "/pow/status")["proofs_to_send"] > 0)
        receiver.answer = 200
        order(node, "/pow/init/validate", init(receiver.url, block_hash="F" * 64, block_height=1300))
        house.until("nothing is left", lambda: get(node, "/pow/status")["proofs_to_send"] == 0)
        order(node, "/stop")


def killed_processes():
    receiver = Receiver()
    receiver.answer = 500
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(3):
            with house.InferenceNode("--data-dir", folder) as node:
                order(node, "/pow/init/generate", init(receiver.url))
                built(node)
                worker = node.children()[0]
                os.kill(worker, signal.SIGKILL)
                house.until("another worker generates", lambda: worker not in node.children() and
                            node.children() and get(node, "/pow/status")["is_model_initialized"])
                assert get(node, "/state")["state"] == "POW"
                seen = get(node, "/pow/status")["hits"]
                house.until("more is found", lambda: get(node, "/pow/status")["hits"] > seen)
                node.kill()
                node.process.wait()
                node.process.returncode = 0
        receiver.answer = 200
        with house.InferenceNode("--data-dir", folder) as node:
            house.until("what was left is delivered", lambda: receiver.nonces())
            house.until("all of it", lambda: get(node, "/state")["state"] == "STOPPED" and
                        not waiting(node))
    nonces = sorted(receiver.nonces())
    assert len(set(nonces)) == len(nonces)
    tried = range(1, max(nonces) + 1, 2)
    dist = dict(zip(tried, known(tried)))
    missing = [n for n in tried if dist[n] < R_TARGET and n not in set(nonces)]
    # What a killed worker had not handed over is found again; nothing that was handed over is lost.
    assert not missing, missing


def waiting(node):
    order(node, "/pow/init", init("http://127.0.0.1:9/x", block_hash="0" * 64))
    count = get(node, "/pow/status")["proofs_to_send"]
    order(node, "/stop")
    return count


def through_a_network_node():
    """What the inference node finds is what the network node tells, each proof once."""
    with tempfile.TemporaryDirectory() as folder, house.NetworkNode(folder) as network, \
            house.InferenceNode() as node:
        url = f"http://127.0.0.1:{network.callback}/v1/poc-batches"
        register = {"id": "n1", "host": "127.0.0.1", "inference_port": node.inference,
                    "poc_port": node.management, "max_concurrent": 1, "models": {}}
        house.call(network.admin, "POST", "/admin/v1/nodes", register)

        def told():
            text = house.call(network.public, "GET", "/v1/poc-batches/1200")[1]
            return {n: d for holder in json.loads(text)["poc_batch"] for one in holder["poc_batch"]
                    for n, d in zip(one["nonces"], one["dist"])}
        order(node, "/pow/init/generate", init(url))
        house.until("proofs are told", told)
        order(node, "/pow/phase/validate")
        house.until("all is sent", lambda: get(node, "/pow/status")["proofs_to_send"] == 0)
        hits = get(node, "/pow/status")["hits"]
        house.until("all is told", lambda: len(told()) == hits)
        found = told()
        assert list(found.values()) == known(found)
        other = "02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5"
        dist = known(range(40), key=other)
        claim = [(n, d) for n, d in enumerate(dist) if d < R_TARGET]
        batch = {"public_key": other, "block_hash": HASH, "block_height": 1200, "node_id": 0,
                 "nonces": [n for n, _ in claim], "dist": [d for _, d in claim]}
        assert house.call(node.management, "POST", "/api/v1/pow/validate", batch)[1] == "null"
        house.until("the verdict is delivered", lambda: verdicts(folder))
        assert verdicts(folder) == [(other, 0, 0)]
        order(node, "/stop")


def verdicts(folder):
    with sqlite3.connect(f"file:{folder}/proofs.db?mode=ro", uri=True) as file:
        return file.execute("SELECT public_key, n_invalid, fraud_detected FROM verdict").fetchall()


def bad_parameters():
    with house.InferenceNode() as node:
        for field, value in (("n_heads", 0), ("n_heads", 3), ("vocab_size", 1), ("seq_len", 10**9),
                             ("dim", 10**9), ("rope_theta", 0)):
            status, text = house.call(node.management, "POST", "/api/v1/pow/init/generate",
                                      init("http://127.0.0.1:9/x", params=dict(SMALL, **{field: value})))
            assert status == 400 and field in text, (field, status, text)
        assert get(node, "/state") == {"state": "STOPPED"}
    with house.InferenceNode("--proof-budget", "1MiB") as node:
        order(node, "/pow/init/generate", init("http://127.0.0.1:9/x"))
        house.until("it stops", lambda: get(node, "/state") == {"state": "STOPPED"})
        assert "one nonce needs" in get(node, "/pow/status")["problem"]


def main():
    tests = (a_round, callbacks_that_fail, refused_for_good, killed_processes,
             through_a_network_node, bad_parameters)
    print(f"1..{len(tests)}")
    for number, test in enumerate(tests, 1):
        test()
        print(f"ok {number} - {test.__name__}", flush=True)


main()
