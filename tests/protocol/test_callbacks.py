"""The callback server, driven as inference nodes drive it: batches of proofs and verdicts, in the form
in which they are sent today, again and again where no answer was heard. What was answered 200 is there
after kill -9, and nothing is there twice."""
import http.client
import json
import os
import random
import socket
import sqlite3
import sys
import threading

import house

ROUNDS = int(os.environ.get("GH_KILL_ROUNDS", "20"))
HASH = "6DAF9E22F6A30D441F5C40BF37ABD8A3B11A7582F5023413639C3015C6E47713"
KEY = "02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5"
ADDRESS = "gonka1q6hag67dl53wl99vzg42z8eyzfz2xlkvqkpz3w"
BASE64 = "AsYEf5RB7X1tMEVAbpXAfNhcd45LjO88p6usCblccJ7l"
HEIGHT = 17580
GENERATED, VALIDATED = "/v1/poc-batches/generated", "/v1/poc-batches/validated"


def dist(nonce):
    return 1.3 + nonce % 1009 / 10007


def batch(nonces, node_id=1, **other):
    return {"public_key": KEY, "block_hash": HASH, "block_height": HEIGHT, "nonces": nonces,
            "dist": [dist(n) for n in nonces], "node_id": node_id, **other}


def verdict(nonces, **other):
    given = batch(nonces, node_id=0)
    return {**given, "received_dist": given["dist"], "r_target": 1.4013564660458173,
            "fraud_threshold": 1e-07, "n_invalid": 0, "probability_honest": 1.0,
            "fraud_detected": False, **other}


def post(node, path, body, **options):
    return house.call(node.callback, "POST", path, body, **options)


def accepted(node, path, body):
    answer = post(node, path, body)
    assert answer == (200, ""), (path, body, answer)


def told(node, height=HEIGHT):
    status, text = house.call(node.public, "GET", f"/v1/poc-batches/{height}")
    assert status == 200, text
    return json.loads(text)["poc_batch"]


def proofs(node, height=HEIGHT):
    """{(key, nonce): distance} of a height; a proof told twice is an error."""
    found = {}
    for holder in told(node, height):
        for one in holder["poc_batch"]:
            assert len(one["nonces"]) == len(one["dist"]) > 0, one
            for nonce, distance in zip(one["nonces"], one["dist"]):
                assert (holder["hex_pub_key"], nonce) not in found, nonce
                found[holder["hex_pub_key"], nonce] = distance
    return found


def verdicts(folder):
    with sqlite3.connect(f"file:{folder}/proofs.db?mode=ro", uri=True) as file:
        return file.execute("SELECT public_key, n_invalid, fraud_detected FROM verdict"
                            " ORDER BY id").fetchall()


def register(node, name, port):
    status, text = house.call(node.admin, "POST", "/admin/v1/nodes", {
        "id": name, "host": "10.9.8.7", "inference_port": port, "poc_port": port,
        "max_concurrent": 1, "models": {"m": {"args": []}}})
    assert status == 200, text


# ---- cases; each with a node and its folder of its own ----

def what_is_sent_is_told(node, folder):
    register(node, "gpu<a>", 1001)
    accepted(node, GENERATED, batch([1, 5, 9]))
    accepted(node, "/mlnode" + GENERATED, batch([13], node_id=7))  # a number that no node has
    accepted(node, GENERATED, batch([2], public_key="not hex"))    # nobody checks it here
    holders = told(node)
    assert [h["hex_pub_key"] for h in holders] == [KEY, "not hex"], holders
    first, second = holders[0]["poc_batch"]
    ids = [first.pop("batch_id"), second.pop("batch_id")]
    assert len(set(ids)) == 2 and all(len(i) == 36 for i in ids), ids
    assert list(holders[0]) == ["participant", "pub_key", "hex_pub_key", "poc_batch"]
    assert (holders[0]["participant"], holders[0]["pub_key"]) == (ADDRESS, BASE64)
    assert first == {"participant_address": ADDRESS, "poc_stage_start_block_height": HEIGHT,
                     "nonces": [1, 5, 9], "dist": [dist(n) for n in (1, 5, 9)],
                     "node_id": "gpu<a>"}, first
    assert "node_id" not in second and "participant" not in holders[1], holders
    status, text = house.call(node.public, "GET", f"/api/v1/poc-batches/{HEIGHT}?pretty")
    assert status == 200 and json.loads(text)["poc_batch"] == told(node)
    lines = text.split("\n")
    assert lines[:4] == ["{", '  "poc_batch": [', "    {", f'      "participant": "{ADDRESS}",']
    assert lines[-1] == "" and "gpu\\u003ca\\u003e" in text, text
    # a number belongs to one node for ever
    house.call(node.admin, "DELETE", "/admin/v1/nodes/gpu%3Ca%3E")
    register(node, "gpu-b", 1001)
    accepted(node, GENERATED, batch([17], node_id=1))
    accepted(node, GENERATED, batch([21], node_id=2))
    assert [b.get("node_id") for b in told(node)[0]["poc_batch"]] == ["gpu<a>", None, None, "gpu-b"]
    for height, answer in (("17581", (200, '{"poc_batch":[]}\n')),
                           ("-1", (200, '{"poc_batch":[]}\n')),
                           ("x", (400, '{"error":"Invalid epoch id"}\n')),
                           ("1.5", (400, '{"error":"Invalid epoch id"}\n')),
                           ("9223372036854775808", (400, '{"error":"Invalid epoch id"}\n'))):
        assert house.call(node.public, "GET", f"/v1/poc-batches/{height}") == answer, height


def the_same_again(node, folder):
    accepted(node, GENERATED, batch([1, 5, 9]))
    for path in (GENERATED, "/mlnode" + GENERATED):
        accepted(node, path, batch([1, 5, 9]))
    accepted(node, GENERATED, batch([5, 13, 9, 17]))   # joined with what came since
    accepted(node, GENERATED, batch([21, 21, 1, 21]))  # twice within one
    accepted(node, GENERATED, batch([1, 5], node_id=2))  # another node's claim on it
    accepted(node, GENERATED, batch([]))               # says nothing
    assert sorted(proofs(node)) == [(KEY, n) for n in (1, 5, 9, 13, 17, 21)]
    accepted(node, GENERATED, batch([1], block_hash="other", block_height=HEIGHT + 1))
    assert sorted(proofs(node, HEIGHT + 1)) == [(KEY, 1)]
    threads = [threading.Thread(target=accepted, args=(node, GENERATED, batch(list(range(100, 1100)))))
               for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(proofs(node)) == 1006
    for path in (VALIDATED, "/mlnode" + VALIDATED, VALIDATED):
        accepted(node, path, verdict([5, 1, 5]))
    accepted(node, VALIDATED, verdict([5, 1, 5], n_invalid=3, fraud_detected=True,
                                      probability_honest=1.25e-10))
    accepted(node, VALIDATED, verdict([]))
    assert verdicts(folder) == [(KEY, 0, 0), (KEY, 3, 1), (KEY, 0, 0)], verdicts(folder)
    assert len(proofs(node)) == 1006


def without(body, field):
    return {k: v for k, v in body.items() if k != field}


def what_is_refused(node, folder):
    good, judged = batch([1, 5]), verdict([1, 5])

    def refused(path, body, words, form, status=400, headers=None):
        got, text = post(node, path, body, **({"headers": headers} if headers is not None else {}))
        error = json.loads(text)["error"]
        assert list(json.loads(text)) == ["error"] and text.endswith("}\n"), text
        if form is dict:
            assert list(error) == ["message"], text
            error = error["message"]
        assert (got, type(error)) == (status, str) and words in error, (body, words, got, text)

    for path, body in ((GENERATED, good), (VALIDATED, judged)):
        text = json.dumps(body)
        for kind in (None, "", "text/plain", "application/jsonx", "application/x-www-form-urlencoded"):
            refused(path, text, "Unsupported Media Type", dict,
                    headers={} if kind is None else {"Content-Type": kind})
        for broken in ("{", text[:-1], text + "x", '{"nonces":[1,]}', "nul", text.replace("17580", "NaN"),
                       text.replace('"dist": [', '"dist": [Infinity, ')):
            refused(path, broken, "Syntax error: offset=", dict)
        for other in ("[]", "7", '"x"'):
            refused(path, other, "Unmarshal type error: expected=object", dict)
        refused(path, "", "public_key: missing", str)
        refused(path, "null", "public_key: missing", str)
        for field in body:
            refused(path, without(body, field), f"{field}: missing", str)
            refused(path, {**body, field: None}, f"{field}: missing", str)
            refused(path, {**body, field: {"a": 1}}, f"got=object, field={field}, offset=", dict)
        for field, value, words in (
                ("block_height", "17580", "expected=int64, got=string, field=block_height"),
                ("block_height", 1.5, "expected=int64, got=number 1.5, field=block_height"),
                ("block_height", 2 ** 63, "expected=int64, got=number 9223372036854775808"),
                ("node_id", -1, "expected=uint64, got=number -1, field=node_id"),
                ("node_id", 2 ** 64, "expected=uint64, got=number 18446744073709551616"),
                ("node_id", True, "expected=uint64, got=bool"),
                ("public_key", 7, "expected=string, got=number, field=public_key"),
                ("nonces", "1", "expected=[]int64, got=string, field=nonces"),
                ("nonces", [1, "5"], "expected=int64, got=string, field=nonces"),
                ("nonces", [1, 5.0], "expected=int64, got=number 5.0, field=nonces"),
                ("nonces", [1, 10 ** 30], "expected=int64, got=number 1000000000"),
                ("nonces", [[1], 5], "expected=int64, got=array, field=nonces"),
                ("dist", [1.3, True], "expected=float64, got=bool, field=dist")):
            refused(path, {**body, field: value}, words, dict)
        refused(path, text.replace('"dist": [1', '"dist": [1e999, 1'),
                "expected=float64, got=number 1e999, field=dist", dict)
        for field, value, words in (
                ("nonces", [1], "dist: 2 entries, expected 1"),
                ("nonces", [], "dist: 2 entries, expected 0"),
                ("dist", [], "dist: 0 entries, expected 2"),
                ("dist", [1.3, -0.5], "dist[1]: -0.5"),
                ("nonces", [1, -5], "nonces[1]: -5"),
                ("nonces", [1, None], "nonces[1]: missing"),
                ("block_height", -1, "block_height: -1"),
                ("block_hash", "", "block_hash: 0 bytes"),
                ("block_hash", "x" * 257, "block_hash: "),
                ("block_hash", "x\0y", "block_hash: ")):
            refused(path, {**body, field: value}, words, str)
    # a report holds so much and no more
    status, text = post(node, GENERATED, batch(list(range(10 ** 6 + 50000))))
    assert status in (400, 413) and "error" in text, (status, text[:200])
    for field, value, words in (("received_dist", [1.3], "received_dist: 1 entries, expected 2"),
                                ("n_invalid", -1, "n_invalid: -1"), ("n_invalid", 3, "n_invalid: 3"),
                                ("probability_honest", 1.5, "probability_honest: 1.5"),
                                ("probability_honest", -0.5, "probability_honest: -0.5"),
                                ("r_target", -1, "r_target: -1"),
                                ("fraud_threshold", 2.5, "fraud_threshold: 2.5")):
        refused(VALIDATED, {**judged, field: value}, words, str)
    refused(VALIDATED, {**judged, "fraud_detected": 1}, "expected=bool, got=number", dict)
    for key in ("zz", "", KEY[:-1], KEY + "00"):
        refused(VALIDATED, {**judged, "public_key": key}, "public_key: ", str, 500)
    for method, path, status in (("GET", GENERATED, 405), ("POST", "/v1/poc-batches", 404),
                                 ("POST", GENERATED + "/", 404), ("PUT", VALIDATED, 405)):
        assert house.call(node.callback, method, path)[0] == status, (method, path)
    assert told(node) == [] and verdicts(folder) == []
    # more than is asked for does no harm; of two values of one name the last counts
    accepted(node, GENERATED, {**good, "more": {"nonces": [7]}, "r_target": "x"})
    accepted(node, GENERATED, json.dumps(good)[:-1] + ', "nonces": [9, 13]}')
    assert sorted(n for _, n in proofs(node)) == [1, 5, 9, 13]


def connections_as_they_are(node, folder):
    """Kept and reused, of HTTP/1.0, in chunks, and closed before the answer was heard."""
    connection = http.client.HTTPConnection("127.0.0.1", node.callback, timeout=house.PATIENCE)
    for i in range(50):
        connection.request("POST", GENERATED, json.dumps(batch([i])),
                           {"Content-Type": "application/json"})
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, b""), i
        assert not answer.will_close, i
    connection.request("POST", GENERATED, iter([b" ", json.dumps(batch([50])).encode()]),
                       {"Content-Type": "Application/JSON; charset=utf-8"}, encode_chunked=True)
    assert connection.getresponse().status == 200
    connection.close()
    body = json.dumps(batch([51])).encode()
    head = f"POST {GENERATED} HTTP/1.0\r\nContent-Type: application/json\r\n" \
           f"Content-Length: {len(body)}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", node.callback), 20) as plain:
        plain.sendall(head + body)
        assert b" 200 " in plain.recv(65536).split(b"\r\n")[0]
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", node.callback), 20) as deaf:
            deaf.sendall(head.replace(str(len(body)).encode(), str(len(body) + 1).encode()) + body)
        with socket.create_connection(("127.0.0.1", node.callback), 20) as deaf:
            body2 = json.dumps(batch([52])).encode()
            deaf.sendall(head.replace(str(len(body)).encode(), str(len(body2)).encode()) + body2)
    accepted(node, GENERATED, batch([52]))
    assert sorted(n for _, n in proofs(node)) == list(range(53))


def slow_readers(node, folder):
    """A long answer to those who do not read it holds up nobody, and takes no memory."""
    for at in range(0, 200000, 50000):
        accepted(node, GENERATED, batch(list(range(at, at + 50000))))
    before = node.memory()
    slow = []
    for _ in range(50):
        one = socket.create_connection(("127.0.0.1", node.public), 20)
        one.sendall(f"GET /v1/poc-batches/{HEIGHT} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        slow.append(one)
    assert len(proofs(node)) == 200000
    accepted(node, GENERATED, batch([200000]))
    grown = node.memory() - before
    print(f"# {grown >> 20} MiB for 50 slow readers")
    assert grown < house.roomy(60 << 20), f"{grown >> 20} MiB"
    for one in slow[::2]:
        one.close()
    for one in slow[1::2]:
        one.recv(1 << 20)
    assert len(proofs(node)) == 200001
    accepted(node, GENERATED, batch([200001]))
    still_open.extend(slow[1::2])


still_open = []  # while their node ends


class Sender:
    """What an inference node does: keeps a batch until it is answered, and joins none with another."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.next = self.judged = 0
        self.unsent, self.unjudged = [], []

    def make(self):
        count = self.rng.randrange(1, 200)
        self.unsent.append(list(range(self.next, self.next + count)))
        self.next += count
        self.judged += 1
        self.unjudged.append(self.judged)

    def send(self, node, deaf=False):
        for nonces in list(self.unsent):
            if self.deliver(node, GENERATED, batch(nonces), deaf):
                self.unsent.remove(nonces)
        for number in list(self.unjudged):
            if self.deliver(node, VALIDATED, verdict([number]), deaf):
                self.unjudged.remove(number)

    @staticmethod
    def deliver(node, path, body, deaf):
        if not deaf:
            accepted(node, path, body)
            return True
        data = json.dumps(body)
        try:
            connection = http.client.HTTPConnection("127.0.0.1", node.callback, timeout=20)
            connection.request("POST", path, data, {"Content-Type": "application/json"})
            connection.close()  # before the answer
        except OSError:
            pass
        return False


def kill_9():
    sender = Sender(5)
    with house.Folder() as folder:
        for count in range(ROUNDS + 1):
            with house.NetworkNode(folder) as node:
                kept = {n for _, n in proofs(node)} if count else set()
                missing = set(range(sender.next)) - kept - {n for b in sender.unsent for n in b}
                assert not missing, (count, sorted(missing)[:10])
                sender.make()
                if count % 2:
                    sender.send(node, deaf=True)  # heard or not, it comes again
                else:
                    sender.send(node)
                if count < ROUNDS:
                    node.kill()
                    continue
                sender.send(node)
                assert {n for _, n in proofs(node)} == set(range(sender.next))
                assert all(d == dist(n) for (_, n), d in proofs(node).items())
                found = verdicts(folder)
                assert len(found) == sender.judged, (len(found), sender.judged)


CASES = (what_is_sent_is_told, the_same_again, what_is_refused, connections_as_they_are, slow_readers)


def main():
    count = 0
    for case in CASES:
        with house.Folder() as folder, house.NetworkNode(folder) as node:
            case(node, folder)
        count += 1
        print(f"ok {count} - {case.__name__}", flush=True)
    kill_9()
    print(f"ok {count + 1} - {ROUNDS} times killed: nothing lost, nothing twice")
    print(f"1..{count + 1}")


if __name__ == "__main__":
    main()
    sys.exit(0)
