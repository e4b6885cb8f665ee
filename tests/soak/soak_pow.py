"""A soak of the proof service: rounds of generating, validating and serving, as existing network nodes
order them (no Content-Type, answers ignored, stop and start back to back), with a receiver that fails in
every way, and with kill -9 of workers and of the node. Nothing may be lost, nothing be counted twice, the
state be wrong, memory grow. Prints what was wrong, and one line; exits with 1 when anything was."""
import argparse
import collections
import http.client
import json
import os
import random
import re
import signal
import sqlite3
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "protocol"))
import house  # noqa: E402
from distances import Distances, Sequence  # noqa: E402
from receiver import Expected, Receiver  # noqa: E402
from watch import Watch  # noqa: E402

R_TARGET, FRAUD_THRESHOLD = 1.4013564660458173, 1e-7
INTTEST = {"dim": 128, "n_layers": 16, "n_heads": 16, "n_kv_heads": 16, "vocab_size": 128,
           "ffn_dim_multiplier": 16.0, "multiple_of": 1024, "norm_eps": 1e-5, "rope_theta": 500000,
           "use_scaled_rope": False, "seq_len": 4}
MODEL = {"model": house.TINY, "dtype": "float16", "additional_args": []}
CHAT = {"model": house.TINY, "max_tokens": 8, "temperature": 0, "ignore_eos": True,
        "messages": [{"role": "user", "content": "go on"}]}
PATIENCE = 90        # seconds until an order has led to its state, kills and all
DRAIN_PATIENCE = 60  # until all is delivered to a receiver that behaves
PROBLEMS_TOLD = 40
# What no log may say, whoever was killed.
ALARMS = ("Sanitizer", "runtime error", "not stored", "a line that is none", "is lost")


class Died(Exception):
    """The node was killed under a request."""


class Round:
    """A block: how it is ordered, and what of its nonces was asked for."""

    def __init__(self, dice, height, receiver):
        self.dice, self.receiver = dice, receiver
        self.block = f"{dice.getrandbits(256):064X}"
        self.key = f"02{dice.getrandbits(256):064x}"
        self.height, self.batch_size, self.url = height, 100, "a"
        self.node_id, self.node_count = 1, dice.randint(1, 3)
        self.asked = set()  # (key, node_id, node_count)
        self.foreign = []   # (batch, Expected)

    def order(self, node_count=None):
        return {"node_id": self.node_id, "node_count": node_count or self.node_count,
                "block_hash": self.block, "block_height": self.height, "public_key": self.key,
                "batch_size": self.batch_size, "r_target": R_TARGET,
                "fraud_threshold": FRAUD_THRESHOLD, "params": INTTEST,
                "url": self.receiver.url(self.url)}

    def generating(self):
        self.asked.add((self.key, self.node_id, self.node_count))
        return self.order()

    def validating(self):
        """Its node count is that of the nodes which are switched."""
        return self.order(self.node_count + 1)

    def generating_again(self):
        """By a change of phase: with the order to validate."""
        self.asked.add((self.key, self.node_id, self.node_count + 1))
        return self.validating()

    def change(self):
        what = self.dice.choice(["nothing", "batch_size", "url", "node", "key"])
        if what == "batch_size":
            self.batch_size += 1
        elif what == "url":
            self.url = "b" if self.url == "a" else "a"
        elif what == "node":
            self.node_id += 1
            self.node_count = self.dice.randint(1, 4)
        elif what == "key":
            self.key = f"02{self.dice.getrandbits(256):064x}"


class Soak:
    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        self.begun, self.lock = time.monotonic(), threading.Lock()
        self.problems, self.kills, self.nodes, self.rounds = [], [], [], []
        self.over = threading.Event()
        self.dice = random.Random(options.seed)
        self.receiver = Receiver(options.seed, self.complain)
        self.distances = Distances(R_TARGET, self.complain)
        self.completion, self.completions = None, 0
        self.node = None
        self.watch = Watch(self)
        self.revive()

    def complain(self, what):
        with self.lock:
            self.problems.append(what)
            if len(self.problems) > PROBLEMS_TOLD:
                return
            print(f"{time.monotonic() - self.begun:7.2f} WRONG: {what}", flush=True)

    def say(self, what):
        if self.options.verbose:
            print(f"{time.monotonic() - self.begun:7.2f} {what}", flush=True)

    # ---- the node, and who kills

    def revive(self):
        self.watch.expect(None)
        node = house.InferenceNode("--data-dir", self.folder, "--gpus", str(self.options.workers))
        node.killed = False
        self.nodes.append(node)
        self.node = node

    def recent_kill(self, seconds):
        return any(time.monotonic() - when < seconds for when, _ in self.kills)

    def kill_node(self, node):
        workers = node.children()
        node.killed = True
        self.watch.expect(None)
        node.kill()
        self.receiver.kills.append(time.monotonic())
        deadline = time.monotonic() + 5
        while any(arguments_of(pid) for pid in workers):
            if time.monotonic() > deadline:
                self.complain("workers outlive their node")
                break
            time.sleep(0.05)

    def kill(self, what, dice):
        """False: there is nobody to be killed."""
        node = self.node
        workers = [] if node.killed else node.children()
        if node.killed or (what == "worker" and not workers):
            return False
        self.say(f"kill -9 of a {what}")
        self.kills.append((time.monotonic(), what))
        if what == "node":
            self.kill_node(node)
        else:
            os.kill(dice.choice(workers), signal.SIGKILL)
        return True

    def killer(self):
        """Spread over the first three quarters: the last node lives long enough to show its memory."""
        count = self.options.kills
        victims = ["node"] * max(count * 3 // 10, min(count, 1))
        victims += ["worker"] * (count - len(victims))
        dice = random.Random(self.options.seed + 1)
        dice.shuffle(victims)
        each = self.options.seconds * 0.75 / max(count, 1)
        for number, victim in enumerate(victims):
            due = self.begun + (number + dice.uniform(0.3, 1)) * each
            self.over.wait(max(due - time.monotonic(), 0))
            while not self.kill(victim, dice) and not self.over.wait(0.05):
                pass

    # ---- speaking to the node

    def call(self, method, path, body=None, port=None, headers=None):
        node = self.node
        try:
            return house.call(port or node.management, method, path, body, headers or {})
        except (OSError, http.client.HTTPException) as problem:
            if node.killed:
                raise Died from None
            raise AssertionError(f"{method} {path}: {problem!r}") from problem

    def order(self, path, body=None):
        """As an existing network node: whatever the answer is."""
        self.say(path)
        self.call("POST", "/api/v1" + path, body)

    def get(self, path):
        return json.loads(self.call("GET", "/api/v1" + path)[1])

    def state(self):
        """With the phase in place of POW."""
        state = self.get("/state")["state"]
        return self.get("/pow/status").get("status") if state == "POW" else state

    def steer(self, want, body, direct):
        """What an existing network node does to get there; direct: without a stop between rounds."""
        state = self.state()
        if state == want and (want != "INFERENCE" or self.call(
                "GET", "/health", port=self.node.inference)[0] == 200):
            return
        proofs = state not in ("STOPPED", "INFERENCE")
        if state != "STOPPED" and not (proofs and (want == "VALIDATING" or direct)):
            self.order("/stop")
        self.order({"INFERENCE": "/inference/up", "GENERATING": "/pow/init/generate",
                    "VALIDATING": "/pow/init/validate"}[want], body)

    def reach(self, want, body, direct=False):
        deadline = time.monotonic() + PATIENCE
        self.watch.expect(None)
        while True:
            try:
                if self.node.killed:
                    self.revive()
                self.steer(want, body, direct)
                state = self.state()
                if state == want:
                    break
                if not self.recent_kill(10):
                    self.complain(f"ordered {want}, and it is {state}: "
                                  f"{self.call('GET', '/health')[1]}")
            except Died:
                pass
            if time.monotonic() > deadline:
                raise AssertionError(f"{want}: not within {PATIENCE} s")
        self.watch.expect(want)

    def stay(self, want, body, seconds, probe=lambda: False, every=0.2):
        """Look after it until the time is over (False) or probe() answers something true."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                if self.node.killed:
                    self.reach(want, body)
                if probe():
                    return True
            except Died:
                continue
            time.sleep(every)
        return False

    def change(self, want, path, body):
        """An order in the middle of a round."""
        self.watch.expect(None)
        try:
            self.order(path, body)
        except Died:
            pass
        self.reach(want, body)

    # ---- a round

    def generate(self, r, direct):
        self.reach("GENERATING", r.generating(), direct)
        self.stay("GENERATING", r.order(), self.dice.uniform(1, 5))
        for _ in range(self.dice.randint(0, 2)):
            r.change()
            self.change("GENERATING", "/pow/init/generate", r.generating())
            self.stay("GENERATING", r.order(), self.dice.uniform(0.5, 3))

    def make_foreign(self, r):
        """Batches of somebody else, and what the verdicts on them must say."""
        key = f"03{self.dice.getrandbits(256):064x}"
        dist = self.distances.of(r.block, key, range(80), ())
        hits = [n for n in range(80) if dist[n] < R_TARGET]
        lies = [n for n in range(80) if dist[n] > R_TARGET][:10]
        for node_id, nonces in enumerate((hits, hits[:30] + lies, hits[:1], [])):
            claimed = [dist[n] if dist[n] < R_TARGET else 1.25 for n in nonces]
            batch = {"public_key": key, "block_hash": r.block, "block_height": r.height,
                     "nonces": nonces, "dist": claimed, "node_id": node_id}
            invalid = sum(dist[n] > R_TARGET for n in nonces)
            r.foreign.append((batch, Expected({
                **batch, "dist": [dist[n] for n in nonces], "received_dist": claimed,
                "n_invalid": invalid, "fraud_detected": invalid >= 5, "r_target": R_TARGET,
                "fraud_threshold": FRAUD_THRESHOLD})))

    def submit(self, r, batch):
        """Also a second time, when the node died under the first."""
        while True:
            try:
                return self.call("POST", "/api/v1/pow/validate", batch)
            except Died:
                self.reach("VALIDATING", r.validating())

    def submit_foreign(self, r):
        """Those without a verdict."""
        for batch, expected in r.foreign:
            if expected.answered.is_set():
                continue
            with self.receiver.lock:
                self.receiver.expected[r.block, batch["public_key"], batch["node_id"]] = expected
                expected.asked += 1
            answer = self.submit(r, batch)
            if answer != (200, "null"):
                self.complain(f"/pow/validate answers {answer}")

    def submit_wrong(self, r):
        honest = r.foreign[0][0]
        for wrong, status in ((dict(honest, block_hash="other"), 400),
                              (dict(honest, block_height=1), 400),
                              (dict(honest, dist=honest["dist"][1:]), 400),
                              (dict(honest, dist=[R_TARGET] * len(honest["dist"])), 400),
                              (dict(honest, nonces=None, dist=None), 422), ("{", 422)):
            answer = self.submit(r, wrong)
            if answer[0] != status:
                self.complain(f"/pow/validate: {answer}, not {status}, to {str(wrong)[:100]}")

    def validate(self, r):
        self.make_foreign(r)
        self.reach("VALIDATING", r.validating())
        self.submit_wrong(r)
        self.submit_foreign(r)
        if self.dice.random() < 0.3:
            self.change("GENERATING", "/pow/phase/generate", r.generating_again())
            self.stay("GENERATING", r.validating(), self.dice.uniform(0.5, 2))
            self.change("VALIDATING", "/pow/phase/validate", r.validating())
        self.stay("VALIDATING", r.validating(), self.dice.uniform(1, 3))

    def settle(self, r):
        """The receiver behaves: all that was found arrives, and all verdicts."""
        submitted = time.monotonic()

        def delivered():
            self.order("/pow/phase/validate")  # sends at once what waits for another try
            return self.get("/pow/status")["proofs_to_send"] == 0 and \
                all(expected.answered.is_set() for _, expected in r.foreign)

        self.receiver.good.set()
        deadline = time.monotonic() + DRAIN_PATIENCE
        while not self.stay("VALIDATING", r.validating(), 5, delivered, 1):
            # What was taken and not judged yet does not outlive the node, nor a second worker.
            if any(when > submitted - 10 for when, _ in self.kills):
                submitted = time.monotonic() + 10
                self.submit_foreign(r)
            if time.monotonic() > deadline:
                raise AssertionError(f"not delivered: {self.get('/pow/status')}; verdicts: "
                                     f"{[e.answered.is_set() for _, e in r.foreign]}")
        self.receiver.good.clear()
        for one in self.rounds:
            self.distances.check_later(one.block, one.asked, self.receiver.snapshot(one.block),
                                       self.options.workers)

    def complete(self):
        status, text = self.call("POST", "/v1/chat/completions", CHAT, self.node.inference,
                                 {"Content-Type": "application/json"})
        if status != 200:
            if not self.recent_kill(15):
                self.complain(f"a completion answers {status} {text}")
            return False
        words = json.loads(text)["choices"][0]["message"]["content"]
        self.completion = self.completion or words
        if words != self.completion:
            self.complain(f"completion {words!r}, not {self.completion!r}")
        self.completions += 1
        return True

    def serve(self):
        self.reach("INFERENCE", MODEL)
        self.stay("INFERENCE", MODEL, self.dice.uniform(1, 4), lambda: self.complete() and False)
        if not self.stay("INFERENCE", MODEL, 30, self.complete):
            self.complain("no completion within 30 s")

    def one_round(self):
        r = Round(self.dice, 1000 + 100 * len(self.rounds), self.receiver)
        self.rounds.append(r)
        self.say(f"round {len(self.rounds)}: {r.block[:8]}")
        # In the end the same workers build one network behind the other: do they keep any?
        calm = time.monotonic() - self.begun > self.options.seconds * 0.8
        self.generate(r, calm or self.dice.random() < 0.3)
        self.validate(r)
        if self.dice.random() < 0.7:
            self.settle(r)
        if not calm and self.dice.random() < 0.7:
            self.serve()

    # ---- all of it

    def read_spool(self):
        """Of the ended node: nothing is left to send; how far each sequence was tried."""
        tried = collections.defaultdict(dict)
        with sqlite3.connect(os.path.join(self.folder, "proofs.db")) as file:
            for table in ("proof", "batch"):
                left = file.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
                if left:
                    self.complain(f"{left} rows of {table} are left")
            for block, key, *sequence, upto in file.execute(
                    "SELECT block_hash, public_key, node, nodes, part, parts, next"
                    " FROM sequence JOIN round ON round.id = round"):
                tried[block, key][Sequence(*sequence)] = upto
        return tried

    def end(self):
        r = self.rounds[-1]
        self.reach("VALIDATING", r.validating())
        self.settle(r)
        self.receiver.good.set()
        self.watch.expect(None)
        self.order("/stop")
        if self.state() != "STOPPED":
            self.complain(f"stopped, and is {self.state()}")
        self.watch.end()
        self.node.process.send_signal(signal.SIGTERM)
        if self.node.process.wait(20):
            self.complain(f"exit status {self.node.process.returncode}")
        tried = self.read_spool()
        for one in self.rounds:
            proofs = self.receiver.snapshot(one.block)
            for key, _, _ in one.asked:
                proofs.setdefault(key, {})
            self.distances.check_later(one.block, one.asked, proofs, self.options.workers, tried)
        self.distances.jobs.join()
        return sum(sum(of_key.values()) for of_key in tried.values())

    def read_logs(self):
        """What a worker's network needs, in bytes."""
        plan = 0
        for node in self.nodes:
            with open(node.log.name) as log:
                for line in log:
                    if any(alarm in line for alarm in ALARMS):
                        self.complain(f"node {node.process.pid} says: {line.strip()}")
                    ready = re.search(r"network ready in .* s: ([0-9.]+) MiB", line)
                    plan = max(plan, float(ready[1]) * 2**20 if ready else 0)
        return plan

    def summary(self, tried):
        plan = self.read_logs()
        r, grown, most = self.receiver, self.watch.node_growth(), self.watch.worker_most(plan)
        victims = collections.Counter(what for _, what in self.kills)
        print(f"soak: {time.monotonic() - self.begun:.0f} s, {len(self.rounds)} rounds, kill -9 of "
              f"{victims['node']} nodes and {victims['worker']} workers; {tried} nonces tried, "
              f"{sum(map(len, r.proofs.values()))} proofs and {len(r.expected)} verdicts delivered; "
              f"callbacks {dict(r.manners)}; {self.completions} completions; /state within "
              f"{self.watch.slowest:.2f} s; a node grew by {grown / 2**20:.1f} MiB at most, a worker had "
              f"{most / 2**20:.1f} MiB, {plan / 2**20:.1f} of them planned; "
              f"wrong: {len(self.problems)}")

    def run(self):
        tried = 0
        killer = threading.Thread(target=self.killer, daemon=True)
        killer.start()
        try:
            while time.monotonic() - self.begun < self.options.seconds:
                self.one_round()
            self.over.set()
            killer.join()
            tried = self.end()
        except AssertionError as problem:
            self.complain(f"given up: {problem}")
        finally:
            self.watch.end()
            for node in self.nodes:
                node.kill()
        self.summary(tried)
        for node in self.nodes:
            if self.problems:
                print(f"--- node {node.process.pid}\n{node.tail()}")
            node.process.stdout.close()
            node.log.close()
        return 1 if self.problems else 0


def arguments_of(pid):
    """Of a process that lives, and is no zombie."""
    try:
        with open(f"/proc/{pid}/cmdline") as file:
            return file.read().split("\0")[:-1]
    except OSError:
        return []


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    with house.Folder() as folder:
        return Soak(options, folder).run()


sys.exit(main())
