"""Rounds of proofs over the nodes of a network node: `gonkahost poc round` and the routes behind it. Honest
nodes, nodes that lie about their proofs or about those of others, one that knows nothing but the common
protocol, callbacks that go nowhere."""
import http.server
import json
import signal
import subprocess
import tempfile
import threading
import time

import house

R_TARGET = 1.4013564660458173
# Small enough for hundreds of nonces a second in any build.
SMALL = {"dim": 64, "n_layers": 2, "n_heads": 8, "n_kv_heads": 8, "vocab_size": 64,
         "ffn_dim_multiplier": 1.0, "multiple_of": 64, "norm_eps": 1e-5, "rope_theta": 10000,
         "use_scaled_rope": False, "seq_len": 4}
PARAMS = tempfile.NamedTemporaryFile("w", prefix="gonkahost-", suffix=".json")
json.dump(SMALL, PARAMS)
PARAMS.flush()
KEY = "02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5"


class Between(http.server.ThreadingHTTPServer):
    """Stands between a network node and an honest inference node, and takes that one's callbacks, so
    that it seems to be a node that says something else. `generated` and `validated` change what is
    reported; `missing` are routes that it does not have."""
    daemon_threads = True

    def __init__(self, node, generated=None, validated=None, missing=()):
        super().__init__(("127.0.0.1", 0), Relay)
        self.node, self.missing = node, missing
        self.change = {"generated": generated, "validated": validated}
        self.target, self.seen = None, []
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Relay(http.server.BaseHTTPRequestHandler):
    def pass_on(self, method):
        server = self.server
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        server.seen.append(self.path)
        if self.path.startswith("/callback/"):
            status, text = self.report(body)
        elif self.path in server.missing:
            status, text = 404, '{"detail":"Not Found"}'
        else:
            status, text = self.order(method, body)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def order(self, method, body):
        server = self.server
        if self.path.startswith("/api/v1/pow/init/"):
            order = json.loads(body)
            server.order, server.target = order, order["url"]
            body = json.dumps(dict(order, url=f"http://127.0.0.1:{server.server_port}/callback"))
        status, text = house.call(server.node.management, method, self.path, body or None)
        if self.path == "/api/v1/pow/status" and server.missing:
            told = json.loads(text)
            text = json.dumps({k: v for k, v in told.items()
                               if k in ("status", "is_model_initialized")})
        return status, text

    def report(self, body):
        server, kind = self.server, self.path.rsplit("/", 1)[1]
        if kind == "probe":
            return 200, '{"network_node":"somebody else"}'
        change = server.change[kind]
        report = json.loads(body)
        if change:
            report = change(server, report)
        port = int(server.target.split(":")[2].split("/")[0])
        return house.call(port, "POST", f"/v1/poc-batches/{kind}", report)

    def do_GET(self):
        self.pass_on("GET")

    def do_POST(self):
        self.pass_on("POST")

    def handle_one_request(self):
        try:
            super().handle_one_request()
        except OSError:  # the node behind it is gone
            self.close_connection = True

    def log_message(self, *_):
        pass


def invent(server, report):
    """One nonce in four is replaced by one that was never tried, with a distance that looks well; about half
    of those would have hit."""
    step = server.order["node_count"]
    for i in range(0, len(report["nonces"]), 4):
        report["nonces"][i] += 10**6 * step
        report["dist"][i] = 1.39
    return report


def steal(server, report):
    """Nonces of the next node."""
    return dict(report, nonces=[n + 1 for n in report["nonces"]])


def accuse(_, report):
    """Whoever it judges is a fraud."""
    return dict(report, dist=[1.9] * len(report["dist"]), n_invalid=len(report["dist"]),
                probability_honest=0.0, fraud_detected=True)


def acquit(_, report):
    return dict(report, n_invalid=0, probability_honest=1.0, fraud_detected=False)


def register(network, name, poc_port, inference_port):
    status, text = house.call(network.admin, "POST", "/admin/v1/nodes", {
        "id": name, "host": "127.0.0.1", "inference_port": inference_port, "poc_port": poc_port,
        "max_concurrent": 4, "models": {house.TINY: {"args": []}}})
    assert status == 200, text


def command(network, *arguments):
    return [house.GONKAHOST, "poc", "round", "--network-node", f"http://127.0.0.1:{network.admin}",
            "--params", PARAMS.name, *arguments]


def conduct(network, *arguments, seconds="2"):
    """A whole round by the command: its exit code, and each node by its name."""
    out = subprocess.run(command(network, "--json", "--seconds", seconds, *arguments),
                         capture_output=True, text=True, timeout=200)
    assert out.returncode in (0, 1) and out.stdout, (out.returncode, out.stderr)
    report = json.loads(out.stdout)
    assert report["stage"] == "DONE" and report["problem"] is None, report
    return out.returncode, {n["id"]: n for n in report["nodes"]}, report


def verdicts(nodes):
    return {name: node["verdict"] for name, node in nodes.items()}


def all_serve(network):
    house.until("all serve again", lambda: all(
        n["state"]["current_status"] == "INFERENCE" and n["state"]["poc_current_status"] == "IDLE"
        for n in network.nodes().values()))


def told(network, height):
    text = house.call(network.public, "GET", f"/v1/poc-batches/{height}")[1]
    return [(b["node_id"], n, d) for holder in json.loads(text)["poc_batch"]
            for b in holder["poc_batch"] for n, d in zip(b["nonces"], b["dist"])]


def honest_nodes():
    with tempfile.TemporaryDirectory() as folder, house.NetworkNode(folder) as network, \
            house.InferenceNode() as a, house.InferenceNode() as b:
        refused = subprocess.run(command(network), capture_output=True, text=True)
        assert refused.returncode == 1 and "no node is registered" in refused.stderr, refused
        assert house.call(network.admin, "GET", "/admin/v1/poc/rounds/latest")[0] == 404
        for name, node in (("a", a), ("b", b)):
            register(network, name, node.management, node.inference)
        all_serve(network)
        code, nodes, report = conduct(network, "--public-key", KEY, "--sample", "50")
        assert code == 0 and verdicts(nodes) == {"a": "HONEST", "b": "HONEST"}, nodes
        assert report["public_key"] == KEY and report["node_count"] == 3, report
        for name, other in (("a", "b"), ("b", "a")):
            node = nodes[name]
            assert node["nonces"] > node["hits"] > 50 and node["rate"] > 1, node
            assert node["invalid"] == 0 and node["fault"] == node["problem"] == "", node
            assert [(j["id"], j["nonces"], j["invalid"]) for j in node["judges"]] == [(other, 50, 0)]
        assert report["params"] == SMALL, report
        proofs = told(network, report["block_height"])
        for name, number in (("a", 1), ("b", 2)):
            mine = [n for who, n, _ in proofs if who == name]
            assert len(mine) == nodes[name]["hits"] == len(set(mine)), nodes[name]
            assert all(n % 3 == number for n in mine)
        out = subprocess.run([house.GONKAHOST, "poc", "generate", "--params", PARAMS.name, "--json",
                              "--block-hash", report["block_hash"], "--public-key", KEY, "--nonces",
                              ",".join(str(n) for _, n, _ in proofs[::7])],
                             capture_output=True, text=True, check=True)
        assert json.loads(out.stdout)["dist"] == [d for _, _, d in proofs[::7]]
        all_serve(network)
        # The next round is another block; one that is switched off goes on serving.
        house.call(network.admin, "POST", "/admin/v1/nodes/b/disable")
        code, nodes, second = conduct(network)
        assert second["block_height"] == report["block_height"] + 1
        assert code == 1 and verdicts(nodes) == {"a": "HONEST", "b": "ABSENT"}, nodes
        assert nodes["b"]["problem"] == "disabled" and [j["id"] for j in nodes["a"]["judges"]] == ["a"]
        assert network.nodes()["b"]["state"]["current_status"] == "INFERENCE"
        # People read a table.
        out = subprocess.run(command(network, "--seconds", "1"), capture_output=True, text=True)
        lines = out.stdout.splitlines()
        assert lines[1].split() == ["NODE", "NONCES", "NONCES/S", "HITS", "INVALID", "VERDICT",
                                    "JUDGED", "BY"], out
        assert any(line.startswith("a ") and " HONEST " in line for line in lines), out


def a_liar_among_three(change, judge, **expected):
    with tempfile.TemporaryDirectory() as folder, house.NetworkNode(folder) as network, \
            house.InferenceNode() as a, house.InferenceNode() as b, house.InferenceNode() as c:
        liar = Between(c, change, judge)
        register(network, "a", a.management, a.inference)
        register(network, "liar", liar.server_port, c.inference)
        register(network, "b", b.management, b.inference)
        code, nodes, _ = conduct(network)
        assert code == 1, nodes
        assert verdicts(nodes) == {"a": "HONEST", "b": "HONEST", "liar": "FRAUD"}, nodes
        for name in ("a", "b"):
            assert nodes[name]["hits"] > 10 and nodes[name]["fault"] == "", nodes[name]
        liars = nodes["liar"]
        if change is steal:
            assert "share" in liars["fault"] and liars["hits"] == 0, liars
        else:
            assert liars["invalid"] >= 3 and liars["fault"] == "", liars
            assert {j["id"] for j in liars["judges"]} == {"a", "b"}, liars
            assert all(j["fraud_detected"] for j in liars["judges"]), liars
        all_serve(network)


def an_invented_batch():
    a_liar_among_three(invent, acquit)


def an_accuser():
    a_liar_among_three(invent, accuse)


def a_thief():
    a_liar_among_three(steal, None)


def an_existing_node():
    """One that has no probe and counts nothing in its status takes part like any other."""
    with tempfile.TemporaryDirectory() as folder, house.NetworkNode(folder) as network, \
            house.InferenceNode() as a, house.InferenceNode() as b:
        plain = Between(b, missing=("/api/v1/callback/probe",))
        register(network, "a", a.management, a.inference)
        register(network, "plain", plain.server_port, b.inference)
        code, nodes, report = conduct(network)
        assert code == 0 and verdicts(nodes) == {"a": "HONEST", "plain": "HONEST"}, nodes
        assert network.nodes()["plain"]["state"]["callback"] is None
        assert network.nodes()["a"]["state"]["callback"] == {"reachable": True, "problem": ""}
        node = nodes["plain"]
        last = max(n for who, n, _ in told(network, report["block_height"]) if who == "plain")
        assert node["nonces"] == (last - 2) // 3 + 1 and node["rate"] > 1, node
        assert plain.order["node_id"] == 2 and plain.order["node_count"] == 3, plain.order
        assert plain.target.endswith("/v1/poc-batches"), plain.target


def callbacks_that_go_nowhere():
    with tempfile.TemporaryDirectory() as folder, \
            house.NetworkNode(folder, "--callback-url", "http://127.0.0.1:9/") as network, \
            house.InferenceNode() as a:
        register(network, "a", a.management, a.inference)
        all_serve(network)
        code, nodes, report = conduct(network, seconds="1")
        assert report["callback_url"] == "http://127.0.0.1:9/v1/poc-batches", report
        assert code == 1 and verdicts(nodes) == {"a": "ABSENT"}, nodes
        assert "does not reach the callback address" in nodes["a"]["problem"], nodes
        state = network.nodes()["a"]["state"]
        assert state["callback"]["reachable"] is False and "127.0.0.1:9/" in state["callback"]["problem"]
        assert state["current_status"] == "INFERENCE", state  # it was not disturbed
    # What answers there is not this network node.
    with tempfile.TemporaryDirectory() as folder, house.InferenceNode() as a:
        other = Between(a)
        url = f"http://127.0.0.1:{other.server_port}/callback"
        with house.NetworkNode(folder, "--callback-url", url) as network:
            register(network, "a", a.management, a.inference)
            code, nodes, _ = conduct(network, seconds="1")
            assert code == 1 and "something else" in nodes["a"]["problem"], nodes
    bad = subprocess.run([house.GONKAHOST, "network-node", "--data-dir", "/tmp/none", "--callback-url",
                          "10.0.0.5:9100"], capture_output=True, text=True)
    assert bad.returncode == 2 and "callback_url" in bad.stderr, bad


def proof_workers(node):
    found = []
    for pid in node.children():
        try:
            with open(f"/proc/{pid}/cmdline") as cmdline:
                if "--no-model" in cmdline.read():
                    found.append(pid)
        except FileNotFoundError:
            pass  # it has ended meanwhile
    return found


def called_off_and_refused():
    with tempfile.TemporaryDirectory() as folder, house.NetworkNode(folder) as network, \
            house.InferenceNode() as a:
        register(network, "a", a.management, a.inference)
        rounds = "/admin/v1/poc/rounds"
        for order, words in (({"params": "bignet"}, "bignet"), ({"block_height": -1}, "block_height"),
                             ({"params": {"n_heads": 0}}, "n_heads"), ({"public_key": "02"}, "public_key"),
                             ([], "object"), ({"sample_size": 10**9}, "sample_size")):
            status, text = house.call(network.admin, "POST", rounds, order)
            assert status == 400 and words in text, (order, status, text)
        assert house.call(network.admin, "DELETE", rounds + "/latest")[0] == 409
        usage = subprocess.run(command(network, "--params", "bignet"), capture_output=True, text=True)
        assert usage.returncode == 2 and "bignet" in usage.stderr, usage
        process = subprocess.Popen(command(network, "--seconds", "600"), stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True)

        def stage():
            return json.loads(house.call(network.admin, "GET", rounds + "/latest")[1]).get("stage")
        house.until("nodes generate", lambda: stage() == "GENERATING")
        status, text = house.call(network.admin, "POST", rounds, {"params": "inttest"})
        assert status == 409 and "under way" in text, (status, text)
        state = network.nodes()["a"]["state"]
        assert state["intended_status"] == "POC" and state["poc_intended_status"] == "GENERATING", state
        house.until("it is told", lambda: network.nodes()["a"]["state"]["poc_current_status"]
                    == "GENERATING")
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=60)
        assert process.returncode == 1 and "height" in out, (process.returncode, out, errors)
        assert stage() == "CANCELLED"
        all_serve(network)
        # A worker that dies in a round is replaced, and the node stays in it.
        process = subprocess.Popen(command(network, "--seconds", "8", "--json"),
                                   stdout=subprocess.PIPE, text=True)
        workers = []

        def proofs_are_found():
            # What the round before has found is still told until the node is told of this one.
            told = json.loads(house.call(a.management, "GET", "/api/v1/pow/status")[1])
            if stage() != "GENERATING" or told["status"] != "GENERATING" or not told.get("hits"):
                return False
            workers[:] = proof_workers(a)
            return workers
        house.until("proofs are found", proofs_are_found)
        subprocess.run(["kill", "-9", *map(str, workers)], check=True)
        out, _ = process.communicate(timeout=200)
        report = json.loads(out)
        assert process.returncode == 0 and report["nodes"][0]["verdict"] == "HONEST", report


def a_network_node_that_ends():
    """In the middle of a round: it ends at once, and its successor lets the nodes serve."""
    with tempfile.TemporaryDirectory() as folder, house.InferenceNode() as a:
        with house.NetworkNode(folder) as network:
            register(network, "a", a.management, a.inference)
            house.call(network.admin, "POST", "/admin/v1/poc/rounds",
                       {"params": "inttest", "generate_seconds": 600})
            house.until("it generates", lambda: json.loads(
                house.call(a.management, "GET", "/api/v1/state")[1])["state"] == "POW")
            began = time.monotonic()
        assert time.monotonic() - began < 15
        with house.NetworkNode(folder) as network:
            all_serve(network)


def main():
    tests = (honest_nodes, an_invented_batch, an_accuser, a_thief, an_existing_node,
             callbacks_that_go_nowhere, called_off_and_refused, a_network_node_that_ends)
    print(f"1..{len(tests)}")
    with PARAMS:
        for number, test in enumerate(tests, 1):
            test()
            print(f"ok {number} - {test.__name__}", flush=True)


main()
