"""Inference nodes that answer garbage, hang, never end, break off or send elsewhere: a network node
says what is wrong with each, gives clients an answer or an error, and serves by the good ones."""
import http.client
import json
import socket
import threading
import time

import house

MODEL = "m"
GROWTH_MAX = house.roomy(96 << 20)
CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}]}
ANSWER = json.dumps({"id": "x", "object": "chat.completion", "choices": [
    {"index": 0, "message": {"role": "assistant", "content": "good"}, "finish_reason": "stop"}]})


def response(body, kind="application/json", status="200 OK", *lines):
    body = body if isinstance(body, bytes) else body.encode()
    return "\r\n".join([f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}",
                        *lines, "", ""]).encode() + body


def endless(first, again):
    """Send for as long as anybody reads."""
    def answer(peer):
        peer.sendall(first)
        while True:
            peer.sendall(again)
    return answer


def hang(_):
    time.sleep(3600)


GOOD = {
    "GET /api/v1/state": response('{"state":"INFERENCE"}'),
    "GET /health": response(""),
    "GET /v1/models": response(json.dumps({"data": [{"id": MODEL}]})),
    "POST /api/v1/stop": response('{"status":"OK"}'),
    "POST /api/v1/inference/up": response('{"status":"OK"}'),
    "POST /v1/chat/completions": response(ANSWER),
}


class Node(threading.Thread):
    """An inference node that answers as it is told: by bytes, or by a function of the connection."""

    def __init__(self, answers):
        super().__init__(daemon=True)
        self.answers, self.asked = {**GOOD, **answers}, []
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self.listener.getsockname()[1]
        self.start()

    def run(self):
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(peer,), daemon=True).start()

    def serve(self, peer):
        with peer:
            try:
                peer.settimeout(60)
                file = peer.makefile("rb")
                while line := file.readline():
                    length = 0
                    while (header := file.readline()) not in (b"\r\n", b""):
                        if header.lower().startswith(b"content-length:"):
                            length = int(header.split(b":")[1])
                    file.read(length)
                    asked = " ".join(line.decode().split()[:2])
                    self.asked.append(asked)
                    answer = self.answers[asked]
                    if callable(answer):
                        answer(peer)
                        return
                    peer.sendall(answer)
                    if answer is not GOOD.get(asked):
                        return
            except OSError:
                pass

    def stop(self):
        self.listener.close()


def register(network_node, name, node, max_concurrent=50):
    status, text = house.call(network_node.admin, "POST", "/admin/v1/nodes", {
        "id": name, "host": "127.0.0.1", "inference_port": node.port, "poc_port": node.port,
        "max_concurrent": max_concurrent, "models": {MODEL: {"args": []}}})
    assert status == 200, text


def remove(network_node, name):
    assert house.call(network_node.admin, "DELETE", f"/admin/v1/nodes/{name}")[1] == "true\n"


def ask(network_node, timeout=20, **fields):
    """Status and answer; status 200 and None: it broke off."""
    connection = http.client.HTTPConnection("127.0.0.1", network_node.public, timeout=timeout)
    connection.request("POST", "/v1/chat/completions", json.dumps({**CHAT, **fields}),
                       {"Content-Type": "application/json"})
    try:
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    except http.client.IncompleteRead:
        return 200, None
    except http.client.HTTPException:
        return 0, None
    finally:
        connection.close()


def locks(network_node, name):
    return network_node.nodes()[name]["state"]["lock_count"]


# What a node may say to a chat, and the statuses that its client may then see. 0: no answer at all.
EVENT = b'data: {"choices":[]}\n\n'
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNK = b"%x\r\n%s\r\n" % (len(EVENT), EVENT)
CHATS = {
    "garbage": (b"\x16\x03\x01\x00garbage\r\n\r\n", (502,)),
    "nothing": (b"", (502,)),
    "half a status line": (b"HTTP/1.1 20", (502,)),
    "HTTP/0.9": (b"hello", (502,)),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (502,)),
    "a status of 0": (b"HTTP/1.1 000 Nothing\r\nContent-Length: 0\r\n\r\n", (502,)),
    "a status of 999": (b"HTTP/1.1 999 Much\r\nContent-Length: 2\r\n\r\n{}", (502,)),
    "a status of 4 digits": (b"HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\n{}", (502,)),
    "no reason": (b"HTTP/1.1 500\r\nContent-Length: 2\r\n\r\n{}", (500,)),
    "switching protocols": (b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n", (502,)),
    "a redirect": (response("", "text/html", "302 Found", "Location: http://127.0.0.1:1/"), (502,)),
    "a permanent one": (response("", "text/html", "308 Moved", "Location: /"), (502,)),
    "not modified": (b"HTTP/1.1 304 Not Modified\r\n\r\n", (502,)),
    "no content": (b"HTTP/1.1 204 No Content\r\nX: y\r\n\r\n", (204,)),
    "no content, with some": (b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n{}", (204,)),
    "an error": (response('{"object":"error","message":"m","code":400}', status="400 Bad Request"), (400,)),
    "an error with 200": (response('{"object":"error","message":"m","code":400}'), (200,)),
    "busy": (response('{"object":"error"}', status="503 Busy"), (503,)),
    "less than announced": (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}", (200,)),
    "two lengths": (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 9\r\n\r\n{}", (502, 200)),
    "a negative length": (b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\n{}", (502, 200)),
    "a huge length": (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n{}", (502, 200)),
    "a bad chunk": (STREAM + b"zz\r\n", (502, 200)),
    "a negative chunk": (STREAM + CHUNK + b"-5\r\nhello", (200,)),
    "a stream cut between events": (STREAM + CHUNK * 3, (200,)),
    "a stream cut in an event": (STREAM + CHUNK + b"6\r\ndata: \r\n", (200,)),
    "unknown coding": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: magic\r\n\r\n{}", (502, 200)),
    "no gzip though it says so": (response("{}", "application/json", "200 OK", "Content-Encoding: gzip"),
                                  (200,)),
    "bare line feeds": (b"HTTP/1.1 200 OK\nContent-Length: 2\n\n{}", (200, 502)),
    "a header with NUL": (b"HTTP/1.1 200 OK\r\nA: b\0c\r\nContent-Length: 2\r\n\r\n{}", (200, 502)),
    "a header with CR": (b"HTTP/1.1 200 OK\r\nA: b\rc: d\r\nContent-Length: 2\r\n\r\n{}", (200, 502)),
    "a header without name": (b"HTTP/1.1 200 OK\r\n: b\r\nContent-Length: 2\r\n\r\n{}", (200, 502)),
    "a folded header": (b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 2\r\n\r\n{}", (200, 502)),
    "long headers": (response("{}", "application/json", "200 OK", "A: " + "b" * 90000), (502,)),
    "many headers": (response("{}", "application/json", "200 OK", *["A: b"] * 20000), (502,)),
    "endless headers": (endless(b"HTTP/1.1 200 OK\r\n", b"A: b\r\n" * 1000), (502,)),
    "an endless header": (endless(b"HTTP/1.1 200 OK\r\nA: ", b"b" * 10000), (502,)),
    "endless status lines": (endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000), (502,)),
    "an endless refusal": (endless(b"HTTP/1.1 503 Busy\r\n\r\n", b"no" * 5000), (502,)),
    "an endless redirect": (endless(b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", b"no" * 5000), (502,)),
    "no end of a chunk's head": (endless(STREAM, b"0" * 10000), (502, 200)),
    "endless trailers": (endless(STREAM + CHUNK + b"0\r\n", b"A: b\r\n" * 1000), (200,)),
}


def chats(network_node):
    """Alone, a bad node's client gets an error; with a good one beside it, mostly an answer."""
    bad = {}
    for name, (said, statuses) in CHATS.items():
        node = Node({"POST /v1/chat/completions": said})
        register(network_node, "bad", node)
        network_node.await_model(MODEL)
        begun = time.monotonic()
        try:
            status, text = ask(network_node, timeout=20)
        except TimeoutError:
            raise AssertionError(f"{name}: the client still waits") from None
        assert status in statuses, (name, status, text)
        if status == 502 and "refusal" not in name:
            assert "no inference node answered" in json.loads(text)["error"], (name, text)
        assert time.monotonic() - begun < 15, name
        house.until(f"{name}: no lock is left", lambda: locks(network_node, "bad") == 0)
        bad[name] = status, text
        remove(network_node, "bad")
        node.stop()
    # What passes for an answer must not when it is none, and errors must come as they are.
    for name in ("less than announced", "a stream cut between events", "a stream cut in an event",
                 "a negative chunk"):
        assert bad[name][1] is None, (name, bad[name])
    assert json.loads(bad["an error with 200"][1])["code"] == 400
    assert json.loads(bad["an error"][1])["code"] == 400


def cut_streams(network_node):
    """A stream that breaks off says so in an event before it does."""
    node = Node({"POST /v1/chat/completions": STREAM + CHUNK * 3})
    register(network_node, "bad", node)
    network_node.await_model(MODEL)
    with socket.create_connection(("127.0.0.1", network_node.public), 20) as peer:
        body = json.dumps({**CHAT, "stream": True})
        peer.sendall(f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                     f"Content-Length: {len(body)}\r\n\r\n{body}".encode())
        got = b""
        while piece := peer.recv(65536):
            got += piece
    assert got.count(EVENT) == 3 and b'"error"' in got and b"[DONE]" not in got, got
    assert not got.endswith(b"0\r\n\r\n"), got
    remove(network_node, "bad")
    node.stop()


def retries(network_node):
    """While nothing was sent, another node answers in place of one that does not."""
    good = Node({})
    register(network_node, "good", good)
    for name, (said, statuses) in CHATS.items():
        if statuses != (502,) and name != "busy" or "endless" in name:
            continue
        node = Node({"POST /v1/chat/completions": said})
        register(network_node, "bad", node)
        house.until("both serve", lambda: all(
            n["state"]["current_status"] == "INFERENCE" for n in network_node.nodes().values()))
        for _ in range(4):
            status, text = ask(network_node)
            assert status == 200 and "good" in text, (name, status, text)
        remove(network_node, "bad")
        node.stop()
    remove(network_node, "good")
    good.stop()


def waits(network_node):
    """A node that hangs, and one that never ends: the client's leaving frees what it held."""
    for answer in (hang, endless(STREAM, CHUNK * 100)):
        node = Node({"POST /v1/chat/completions": answer})
        register(network_node, "slow", node)
        network_node.await_model(MODEL)
        before = network_node.memory()
        peers = []
        body = json.dumps({**CHAT, "stream": True})
        for _ in range(30):
            peer = socket.create_connection(("127.0.0.1", network_node.public), 20)
            peer.sendall(f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/"
                         f"json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
            peers.append(peer)
        house.until("all are counted", lambda: locks(network_node, "slow") == 30)
        time.sleep(1)  # nobody reads: what comes must wait at its sender, not here
        assert network_node.memory() - before < house.roomy(30 * (8 << 20)), network_node.memory() - before
        for peer in peers:
            peer.close()
        house.until("no lock is left", lambda: locks(network_node, "slow") == 0)
        remove(network_node, "slow")
        node.stop()


# What a node may say of itself.
LOOKS = {
    "GET /api/v1/state": [
        b"garbage", b"", hang, response("7"), response("[]"), response("{}"), response('{"state":7}'),
        response('{"state":"NOBODY"}'), response("["  * 10 ** 6), response('{"state":"\xff"}'),
        response("", status="500 No"), response("", "text/html", "302 Found", "Location: /"),
        response('{"state":"INFERENCE","loaded_model":7,"loaded_args":7}'),
        response('{"state":"INFERENCE","loaded_model":"' + "x" * 500000 + '"}'),
        response('{"state":"STOPPED"}'), response('{"state":"POW"}'),
        endless(b"HTTP/1.1 200 OK\r\n\r\n", b"{" * 10000),
        endless(b"HTTP/1.1 200 OK\r\n", b"A: b\r\n" * 1000)],
    "GET /health": [b"garbage", hang, response("", status="503 Busy"),
                    endless(b"HTTP/1.1 200 OK\r\n\r\n", b"well" * 1000)],
    "GET /v1/models": [b"garbage", response("7"), response('{"data":7}'), response('{"data":[7]}'),
                       response('{"data":[{"id":["m"]}]}'), response('{"data":[{"id":"other"}]}'),
                       response("[" * 10 ** 6)],
    "POST /api/v1/inference/up": [b"garbage", hang, response("7"), response('{"status":"ERROR"}'),
                                  response('{"status":"ERROR","message":"' + "x" * 10 ** 5 + '"}'),
                                  response("", status="409 No")],
    "POST /api/v1/stop": [b"garbage", hang, response("", status="500 No")],
}


def looks(network_node):
    """All of them at once, beside a good node: it serves, and the list says what is wrong."""
    nodes = {}
    for asked, answers in LOOKS.items():
        for count, answer in enumerate(answers):
            others = {}
            if "POST" in asked:  # it has to be asked first
                others["GET /api/v1/state"] = response('{"state":"%s"}' % (
                    "STOPPED" if "up" in asked else "POW"))
            nodes[f"{asked.split('/')[-1]}{count}"] = Node({**others, asked: answer})
    nodes["good"] = Node({})
    for name, node in nodes.items():
        register(network_node, name, node)
    house.until("the good node serves", lambda: ask(network_node)[0] == 200)
    house.until("all were asked", lambda: all(n.asked for n in nodes.values()))
    begun = time.monotonic()
    while time.monotonic() - begun < 8:
        asked = time.monotonic()
        status, text = ask(network_node)
        assert status == 200 and "good" in text, (status, text)
        states = {name: n["state"] for name, n in network_node.nodes().items()}
        assert time.monotonic() - asked < 5, "slow"
    assert len(states) == len(nodes)
    assert states["good"]["current_status"] == "INFERENCE"
    for name, state in states.items():
        text = json.dumps(state)
        assert len(text) < 2000, (name, len(text))
        if state["current_status"] in ("FAILED", "UNKNOWN"):
            assert state["failure_reason"] or name.startswith("state"), (name, state)
    failed = [n for n, s in states.items() if s["current_status"] == "FAILED"]
    assert len(failed) >= 20, states
    for name in nodes:
        remove(network_node, name)
    for node in nodes.values():
        node.stop()


def main():
    tests = (chats, cut_streams, retries, waits, looks)
    with house.Folder() as folder, house.NetworkNode(folder, "--allow-unsigned") as network_node:
        before = network_node.memory()
        print(f"1..{len(tests) + 1}")
        for number, test in enumerate(tests, 1):
            begun = time.monotonic()
            test(network_node)
            print(f"ok {number} - {test.__name__} # {time.monotonic() - begun:.1f} s", flush=True)
        grown = network_node.memory() - before
        assert grown < GROWTH_MAX, grown
        assert network_node.process.poll() is None
        print(f"ok {len(tests) + 1} - memory is bounded # {grown >> 20} MiB")


main()
