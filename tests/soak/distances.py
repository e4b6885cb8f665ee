"""Distances by the command, and whether what was delivered is what there is to be found."""
import collections
import json
import queue
import subprocess
import threading

import house

AT_ONCE = 8000  # nonces of one command


class Sequence(collections.namedtuple("Sequence", "node_id node_count part parts")):
    """Nonces that a worker tries, in their order."""

    def nonce(self, index):
        return self.node_id + self.part * self.node_count + index * self.parts * self.node_count

    def index(self, nonce):
        """None: it is not of this sequence."""
        index, rest = divmod(nonce - self.nonce(0), self.parts * self.node_count)
        return index if rest == 0 and index >= 0 else None


class Distances:
    """Checks run behind each other, in the background."""

    def __init__(self, r_target, complain):
        self.r_target, self.complain = r_target, complain
        self.known = collections.defaultdict(dict)  # (hash, key): {nonce: distance}
        self.missing = collections.defaultdict(set)  # that were told
        self.jobs = queue.Queue()
        threading.Thread(target=self.work, daemon=True).start()

    def of(self, block, key, nonces, under=("nice",)):
        known = self.known[block, key]
        wanted = sorted(set(nonces) - known.keys())
        for first in range(0, len(wanted), AT_ONCE):
            some = wanted[first:first + AT_ONCE]
            out = subprocess.run(
                [*under, house.GONKAHOST, "poc", "generate", "--params", "inttest", "--json",
                 "--block-hash", block, "--public-key", key, "--nonces", ",".join(map(str, some))],
                capture_output=True, text=True, check=True)
            known.update(zip(some, json.loads(out.stdout)["dist"]))
        return known

    def work(self):
        while True:
            job = self.jobs.get()
            try:
                self.check(*job)
            except (subprocess.CalledProcessError, ValueError) as problem:
                self.complain(f"distances: {problem}")
            self.jobs.task_done()

    def check(self, block, key, proofs, tried):
        """proofs: {nonce: (distance, node_id)}; tried: {Sequence: how many}."""
        must = {s.nonce(x) for s, count in tried.items() for x in range(count)}
        known = self.of(block, key, must | proofs.keys())
        lost = {n for n in must if known[n] < self.r_target and n not in proofs}
        if lost - self.missing[block, key]:
            self.missing[block, key] |= lost
            self.complain(f"{len(lost)} of {len(must)} nonces of {block[:8]} {key[:8]} hit and are "
                          f"lost: {sorted(lost)[:8]}")
        for nonce, (dist, _) in proofs.items():
            if dist != known[nonce] or not dist < self.r_target:
                self.complain(f"nonce {nonce} of {block[:8]}: {dist}, not {known[nonce]}")

    def check_later(self, block, asked, proofs, parts, tried=None):
        """asked: {(key, node_id, node_count)}; proofs: {key: ...}. Where nobody says how far it was
        tried, it was at least as far as the highest nonce that came."""
        for key, of_key in proofs.items():
            counts = collections.defaultdict(set)
            for k, node_id, node_count in asked:
                if k == key:
                    counts[node_id].add(node_count)
            far = dict(tried.get((block, key), {}) if tried else {})
            for nonce, (_, node_id) in of_key.items():
                own = [(s, s.index(nonce)) for count in counts[node_id] for part in range(parts)
                       for s in [Sequence(node_id, count, part, parts)]
                       if s.index(nonce) is not None]
                if not own:
                    self.complain(f"nonce {nonce} of {block[:8]} is none of node {node_id}'s")
                if len(own) == 1 and len(counts[node_id]) == 1:
                    far[own[0][0]] = max(far.get(own[0][0], 0), own[0][1] + 1)
            self.jobs.put((block, key, of_key, far))
