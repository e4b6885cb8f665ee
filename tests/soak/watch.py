"""Looks at a node all the time: its state, how soon it tells it, and its memory."""
import collections
import http.client
import json
import os
import statistics
import threading
import time

import house

EVERY = 0.25
ANSWER_MAX = 5.0  # seconds; the protocol says one, and the machine is busy
# A node is warm in the second half of its life. From the beginning of that to its end its memory may grow
# so much. A worker's grows with its batches, but never beyond its plan and this, however many networks
# it has built.
NODE_GROWTH_MAX, NODE_SAMPLES_MIN = house.roomy(8 << 20), 40
WORKER_OWN_MAX = house.roomy(64 << 20)


class Watch:
    def __init__(self, soak):
        self.soak, self.lock = soak, threading.Lock()
        self.wanted, self.version = None, 0
        self.slowest = 0.0
        self.memory = collections.defaultdict(list)  # (kind, pid): [bytes], in time
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def expect(self, wanted):
        """None: an order is under way."""
        with self.lock:
            self.wanted, self.version = wanted, self.version + 1

    def run(self):
        while not self.ended.wait(EVERY):
            node = self.soak.node
            if node and not node.killed:
                self.look(node)
                self.weigh(node)

    def look(self, node):
        with self.lock:
            wanted, version = self.wanted, self.version
        begun = time.monotonic()
        try:
            answer = house.call(node.management, "GET", "/api/v1/state")
            state = json.loads(answer[1])["state"]
            self.slowest = max(self.slowest, time.monotonic() - begun)
            if time.monotonic() - begun > ANSWER_MAX:
                self.soak.complain(f"/state took {time.monotonic() - begun:.2f} s")
            if wanted and state == "POW":
                state = json.loads(house.call(node.management, "GET", "/api/v1/pow/status")[1])
                state = state.get("status", state)
        except (OSError, http.client.HTTPException) as problem:
            if not node.killed and not self.ended.is_set():
                self.soak.complain(f"/state: {problem!r}")
            return
        with self.lock:
            if wanted and version == self.version and state != wanted:
                self.soak.complain(f"state {state}, not {wanted}")

    def weigh(self, node):
        try:
            self.memory["node", node.process.pid].append(node.memory())
            for pid in node.children():
                with open(f"/proc/{pid}/statm") as statm:
                    pages = int(statm.read().split()[1])
                self.memory["worker", pid].append(pages * os.sysconf("SC_PAGE_SIZE"))
        except (OSError, IndexError):
            pass  # it has just ended

    def end(self):
        self.ended.set()
        self.thread.join()

    def node_growth(self):
        """The most that one has grown."""
        most = 0
        for (kind, pid), samples in self.memory.items():
            if kind == "worker" or len(samples) < NODE_SAMPLES_MIN:
                continue
            warm = samples[len(samples) // 2:]
            third = len(warm) // 3
            grown = statistics.median(warm[-third:]) - statistics.median(warm[:third])
            most = max(most, grown)
            if grown > NODE_GROWTH_MAX:
                self.soak.complain(f"node {pid} has grown by {grown / 2**20:.1f} MiB")
        return most

    def worker_most(self, plan):
        """The most that one had."""
        most = max((max(samples) for (kind, _), samples in self.memory.items() if kind == "worker"),
                   default=0)
        if most > plan + WORKER_OWN_MAX:
            self.soak.complain(f"a worker had {most / 2**20:.1f} MiB; its network's plan is "
                               f"{plan / 2**20:.1f} MiB")
        return most
