"""Servers on port 0 tell which ports they got, in one line, and answer there at once."""
import os
import socket

import house


def over_unix(path, request):
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(path)
        peer.sendall(request)
        return peer.recv(4096)


def nodes():
    with house.Folder() as folder, house.NetworkNode(folder) as network_node, \
            house.InferenceNode() as inference_node:
        for port, path in ((network_node.public, "/v1/status"),
                           (network_node.admin, "/admin/v1/nodes"),
                           (inference_node.management, "/api/v1/state")):
            assert port > 0 and house.call(port, "GET", path)[0] == 200, (port, path)
        assert inference_node.inference > 0
        assert house.call(inference_node.inference, "GET", "/health")[0] == 503


def workers():
    with house.Program("serve", house.TINY, "--host", "127.0.0.1", "--port", "0") as first, \
            house.Program("serve", house.TINY, "--host", "127.0.0.1", "--port=0") as second:
        lines = [first.announced(), second.announced()]
        for line in lines:
            assert line == {"port": line["port"], "running": "serve"}, line
            assert house.call(line["port"], "GET", "/version")[0] == 200, line
        assert lines[0]["port"] != lines[1]["port"]
    port = lines[0]["port"]
    with house.Program("serve", house.TINY, "--host", "127.0.0.1", "--port", str(port)) as worker:
        assert worker.announced() == {"port": port, "running": "serve"}


def unix_socket():
    with house.Folder() as folder:
        path = os.path.join(folder, "worker")
        with house.Program("serve", house.TINY, "--unix-socket", path) as worker:
            assert worker.announced() == {"unix_socket": path, "running": "serve"}
            answer = over_unix(path, b"GET /version HTTP/1.1\r\nHost: h\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 200 "), answer


def main():
    tests = (nodes, workers, unix_socket)
    print(f"1..{len(tests)}")
    for number, test in enumerate(tests, 1):
        test()
        print(f"ok {number} - {test.__name__}", flush=True)


main()
