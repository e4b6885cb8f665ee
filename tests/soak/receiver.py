"""Where the network node would be: takes callbacks, or fails at it in every way that is known, and sees
that nothing is counted twice."""
import collections
import http.server
import json
import random
import socket
import threading
import time

MANNERS = {"take": 50, "take late": 6, "500": 12, "503": 5, "429": 5, "hang": 8, "close": 7,
           "break off": 7}
AFTER_KILL = 2  # seconds: an acknowledgement may still have been on its way into the spool


class Received:
    """A body, and when it came and was acknowledged."""

    def __init__(self):
        self.taken = []  # (came, acknowledged)


class Receiver(http.server.ThreadingHTTPServer):
    """`good` is set: it takes everything. Otherwise it does as the dice say."""
    daemon_threads = True

    def __init__(self, seed, complain):
        super().__init__(("127.0.0.1", 0), Handler)
        self.dice, self.complain = random.Random(seed), complain
        self.lock, self.good = threading.Lock(), threading.Event()
        self.seen = {}              # (path, body): Received
        self.batch_of = {}          # (hash, key, nonce): body
        self.proofs = collections.defaultdict(dict)  # (hash, key): {nonce: distance}, acknowledged
        self.node_of = {}           # (hash, key, nonce): node_id
        self.expected = {}          # (hash, key, node_id): Expected verdicts
        self.kills = []             # of the node: since its acknowledgements may be lost
        self.manners = collections.Counter()
        self.thread = threading.Thread(target=self.serve_forever, daemon=True)
        self.thread.start()

    def url(self, name):
        return f"http://127.0.0.1:{self.server_port}/{name}/v1/poc-batches"

    def handle_error(self, request, client_address):
        """A client that was killed."""

    def manner(self):
        with self.lock:
            how = "take" if self.good.is_set() else \
                self.dice.choices(list(MANNERS), MANNERS.values())[0]
            self.manners[how] += 1
        return how

    def came(self, path, text):
        now = time.monotonic()
        with self.lock:
            known = (path, text) in self.seen
            received = self.seen.setdefault((path, text), Received())
            body = json.loads(text)
            if path.endswith("/generated"):
                self.proofs_came(body, text, known, received, now)
            elif path.endswith("/validated"):
                self.verdict_came(body, received)
            else:
                self.complain(f"a callback to {path}")
        return received, body, now

    def lost(self, taken):
        """The sender may have died before it knew that this was acknowledged."""
        came, acknowledged = taken
        return any(came <= kill <= acknowledged + AFTER_KILL for kill in self.kills)

    def proofs_came(self, body, text, known, received, now):
        if list(body) != ["public_key", "block_hash", "block_height", "nonces", "dist", "node_id"]:
            self.complain(f"a batch with {list(body)}")
        if any(not self.lost(taken) for taken in received.taken):
            self.complain(f"acknowledged, and sent again {now - received.taken[-1][1]:.2f} s later: "
                          f"{text[:120]}")
        if known:
            return
        for nonce in body["nonces"]:
            proof = (body["block_hash"], body["public_key"], nonce)
            if proof in self.batch_of:
                self.complain(f"nonce {nonce} of {proof[0][:8]} in two batches")
            self.batch_of[proof] = text
            self.node_of[proof] = body["node_id"]

    def verdict_came(self, body, received):
        name = (body["block_hash"], body["public_key"], body["node_id"])
        expected = self.expected.get(name)
        if not expected:
            self.complain(f"a verdict that nobody asked for: {name}")
            return
        for field, value in expected.fields.items():
            if body[field] != value:
                self.complain(f"verdict {name}: {field} is {str(body[field])[:200]}, not "
                              f"{str(value)[:200]}")
        if sum(not self.lost(taken) for taken in received.taken) >= expected.asked:
            self.complain(f"verdict {name} came {len(received.taken) + 1} times")

    def snapshot(self, block):
        """What was acknowledged of a block: {key: {nonce: (distance, node_id)}}."""
        with self.lock:
            return {key: {n: (d, self.node_of[name, key, n]) for n, d in proofs.items()}
                    for (name, key), proofs in self.proofs.items() if name == block}

    def took(self, received, body, came):
        with self.lock:
            received.taken.append((came, time.monotonic()))
            name = (body["block_hash"], body["public_key"])
            if "received_dist" in body:
                expected = self.expected.get((*name, body["node_id"]))
                if expected:
                    expected.answered.set()
            else:
                self.proofs[name].update(zip(body["nonces"], body["dist"]))


class Expected:
    """The verdict on a batch of somebody else."""

    def __init__(self, fields):
        self.fields, self.asked, self.answered = fields, 0, threading.Event()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        server = self.server
        text = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if self.headers["Content-Type"] != "application/json":
            server.complain(f"Content-Type {self.headers['Content-Type']}")
        received, body, came = server.came(self.path, text)
        how = server.manner()
        if how == "hang":
            server.good.wait(14)
        if how in ("hang", "close"):
            self.close_connection = True
        elif how == "break off":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n123")
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        else:
            if how == "take late":
                server.good.wait(3)
            taken = how.startswith("take")
            if taken:
                server.took(received, body, came)
            self.send_response(200 if taken else int(how))
            self.send_header("Content-Length", "0")
            self.end_headers()

    def log_message(self, *_):
        pass
