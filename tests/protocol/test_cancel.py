"""Clients that go away: before the first token, in the middle, while queued; streaming or not."""
import json
import socket
import time

import house

LONG = "word " * 300


def request(stream, content="go on"):
    return json.dumps({"model": house.TINY, "stream": stream, "max_tokens": 400, "temperature": 0,
                       "ignore_eos": True,
                       "messages": [{"role": "user", "content": content}]}).encode()


def ask(port, body):
    """A bare connection on which a request has been sent."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=30)
    connection.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: "
                       b"application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    return connection


def idle(port):
    return all(house.metric(port, name) == 0 for name in (
        "vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:gpu_cache_usage_perc"))


def cut_at_once(port, stream):
    for _ in range(8):
        ask(port, request(stream, LONG)).close()


def cut_in_the_middle(port, stream):
    connections = [ask(port, request(stream)) for _ in range(8)]
    for connection in connections:
        if stream:
            while b"data: " not in connection.recv(4096):
                pass
    if not stream:
        time.sleep(0.05)
    for connection in connections:
        connection.close()


def cut_in_the_queue(port, stream):
    """More than --max-num-seqs admits."""
    connections = [ask(port, request(stream)) for _ in range(24)]
    time.sleep(0.05)
    for connection in reversed(connections):
        connection.close()


def main():
    cases = [(cut, stream) for cut in (cut_at_once, cut_in_the_middle, cut_in_the_queue)
             for stream in (True, False)]
    print(f"1..{2 * len(cases)}")
    number = 0
    with house.Folder() as folder, house.NetworkNode(folder, "--allow-unsigned") as network_node, \
            house.InferenceNode() as inference_node:
        network_node.register("n", inference_node, house.TINY, "--max-num-seqs", "4")
        network_node.await_model(house.TINY)
        for name, port in (("inference node", inference_node.inference),
                           ("network node", network_node.public)):
            for cut, stream in cases:
                cut(port, stream)
                house.until(f"{cut.__name__} frees everything",
                            lambda: idle(inference_node.inference))
                number += 1
                print(f"ok {number} - {cut.__name__}, {'streamed' if stream else 'whole'}, "
                      f"{name}", flush=True)
        house.until("no lease is left",
                    lambda: network_node.nodes()["n"]["state"]["lock_count"] == 0)


main()
