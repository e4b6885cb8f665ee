"""The callback address, probed from the inference node's side."""
import http.server
import json
import socket
import threading
import time

import house

KNOWN = {"/v1/poc-batches/probe": (200, b'{"network_node": "n-1"}'),
         "/list/probe": (200, b"[1]"),
         "/html/probe": (200, b"<html>"),
         "/empty/probe": (200, b""),
         "/refused/probe": (503, b'{"network_node": "n-1"}'),
         "/large/probe": (200, b'{"a": "' + b"x" * 5000 + b'"}')}

MOVED = {"/moved/probe": "/v1/poc-batches/probe", "/away/probe": "file:///etc/passwd"}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/hang/probe":
            self.server.hanging.wait(30)
            return
        status, body = (307, b"") if self.path in MOVED else KNOWN.get(self.path, (404, b"{}"))
        self.send_response(status)
        if status == 307:
            self.send_header("Location", MOVED[self.path])
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def probe(node, url, status=200):
    got, text = house.call(node.management, "POST", "/api/v1/callback/probe",
                           json.dumps({"url": url}), headers={})
    assert got == status, (url, got, text)
    return json.loads(text)


def answers(node, server):
    base = f"http://127.0.0.1:{server.server_port}"
    good = {"reachable": True, "status": 200, "problem": None, "answer": {"network_node": "n-1"}}
    assert probe(node, base + "/v1/poc-batches") == good
    assert probe(node, base + "/moved") == good
    for path, status, words in (
            ("/nothing", 404, "status 404"), ("/v1/poc-batches/", 404, "status 404"),
            ("/refused", 503, "status 503"), ("/list", 200, "object"), ("/html", 200, "JSON"),
            ("/empty", 200, "JSON"), ("/large", 200, "more than 4096 bytes"),
            ("/away", 307, "rotocol")):
        got = probe(node, base + path)
        assert not got["reachable"] and got["answer"] is None, (path, got)
        assert got["status"] == status and words in got["problem"], (path, got)
    print("ok 1 - answers of all kinds")


def nobody_there(node):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        gone = f"http://127.0.0.1:{free.getsockname()[1]}/v1/poc-batches"
        for url in (gone, "ftp://127.0.0.1/x", "file:///etc", "http://", "", "http://[::1", "x\0y",
                    "http://127.0.0.1:99999/x", "http://" + "a" * 9000):
            got = probe(node, url)
            assert not got["reachable"] and got["status"] is None and got["problem"], (url, got)
    print("ok 2 - addresses where nobody is, or that are none")


def fields(node):
    for body, kind in (("{}", "missing"), ('{"url":5}', "string_type"), ("[]", "model_attributes_type"),
                       ('{"url"', "json_invalid"), (None, "missing")):
        status, text = house.call(node.management, "POST", "/api/v1/callback/probe", body, headers={})
        assert status == 422 and json.loads(text)["detail"][0]["type"] == kind, (body, status, text)
    assert house.call(node.management, "GET", "/api/v1/callback/probe")[0] == 405
    print("ok 3 - fields")


def hanging(node, server):
    """Probes end by themselves, some at a time, and nobody else waits for them."""
    found, begun = [], time.monotonic()
    url = f"http://127.0.0.1:{server.server_port}/hang"

    def one():
        found.append(house.call(node.management, "POST", "/api/v1/callback/probe", {"url": url}))

    threads = [threading.Thread(target=one) for _ in range(20)]
    for thread in threads:
        thread.start()
    house.until("some are too many", lambda: [s for s, _ in found if s == 429])
    asked = time.monotonic()
    assert house.call(node.management, "GET", "/api/v1/state")[0] == 200
    assert time.monotonic() - asked < house.roomy(2)
    for thread in threads:
        thread.join()
    took = time.monotonic() - begun
    assert took < house.roomy(8), took
    ended = [json.loads(text) for status, text in found if status == 200]
    assert len(ended) == 16 and sum(s == 429 for s, _ in found) == 4, [s for s, _ in found]
    assert all(not e["reachable"] and e["status"] is None and "timed out" in e["problem"].lower()
               for e in ended), ended
    server.hanging.set()
    assert probe(node, url.replace("/hang", "/v1/poc-batches"))["reachable"]
    print("ok 4 - a receiver that hangs")


def main():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads, server.hanging = True, threading.Event()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print("1..4")
    with house.InferenceNode() as node:
        answers(node, server)
        nobody_there(node)
        fields(node)
        hanging(node, server)


main()
