"""Clients that go away: in the middle of a prefill, of decoding, or while queued; streaming or not.
What they held is free at once, and each is counted as an abort."""
import json
import socket
import time

import house

RUNNING, WAITING = "vllm:num_requests_running", "vllm:num_requests_waiting"
CACHE, GENERATED = "vllm:gpu_cache_usage_perc", "vllm:generation_tokens_total"
SEATS = 4
# The tiny model with a long context and small steps: a prompt of 40000 tokens takes it half a minute.
ARGUMENTS = ("--hf-overrides", '{"max_position_embeddings":65536}', "--max-num-batched-tokens", "64",
             "--max-num-seqs", str(SEATS), "--disable-log-requests")
SOON = 5  # seconds


class Clients:
    """Bare connections on which a request has been sent."""

    def __init__(self, port, count, stream, content):
        body = json.dumps({"model": house.TINY, "stream": stream, "max_tokens": 20000,
                           "temperature": 0, "ignore_eos": True,
                           "messages": [{"role": "user", "content": content}]}).encode()
        self.connections = []
        for _ in range(count):
            connection = socket.create_connection(("127.0.0.1", port), timeout=30)
            connection.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: "
                               b"application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            self.connections.append(connection)

    def leave(self, count):
        """The last so many do."""
        for _ in range(count):
            self.connections.pop().close()


class Worker:
    """What its metrics say, through the inference node."""

    def __init__(self, port):
        self.port = port

    def __getitem__(self, name):
        return house.metric(self.port, name)

    def aborted(self):
        for line in house.call(self.port, "GET", "/metrics")[1].splitlines():
            if line.startswith("vllm:request_success_total") and '"abort"' in line:
                return float(line.rsplit(" ", 1)[1])
        return 0

    def idle(self):
        return self[RUNNING] == self[WAITING] == self[CACHE] == 0


def in_prefill(worker, port, stream):
    generated = worker[GENERATED]
    clients = Clients(port, 2, stream, "word " * 10000)
    # Both: one that leaves before it has reached the engine is nobody's abort.
    house.until("blocks are in use", lambda: worker[RUNNING] + worker[WAITING] == 2 and worker[CACHE] > 0)
    assert worker[GENERATED] == generated, "the prefill is over"
    clients.leave(2)
    return 2


def in_decode(worker, port, stream):
    generated = worker[GENERATED]
    clients = Clients(port, SEATS, stream, "go on")
    house.until("tokens come", lambda: worker[RUNNING] == SEATS and worker[GENERATED] > generated + 20)
    clients.leave(SEATS)
    return SEATS


def in_queue(worker, port, stream):
    clients = Clients(port, 20, stream, "go on")
    house.until("seats are taken", lambda: (worker[RUNNING], worker[WAITING]) == (SEATS, 20 - SEATS))
    clients.leave(10)
    house.until("queued ones are gone", lambda: worker[WAITING] == 10 - SEATS, SOON)
    assert worker[RUNNING] == SEATS
    clients.leave(10)
    return 20


def main():
    cases = [(cut, stream) for cut in (in_prefill, in_decode, in_queue) for stream in (True, False)]
    print(f"1..{2 * len(cases) + 1}")
    number = 0
    with house.Folder() as folder, house.NetworkNode(folder, "--allow-unsigned") as network_node, \
            house.InferenceNode() as inference_node:
        network_node.register("n", inference_node, house.TINY, *ARGUMENTS)
        network_node.await_model(house.TINY)
        worker = Worker(inference_node.inference)
        for name, port in (("inference node", inference_node.inference),
                           ("network node", network_node.public)):
            for cut, stream in cases:
                before = worker.aborted()
                count = cut(worker, port, stream)
                left = time.monotonic()
                house.until(f"{cut.__name__} frees everything", worker.idle, SOON)
                house.until("aborts are counted", lambda: worker.aborted() == before + count, SOON)
                number += 1
                print(f"ok {number} - {cut.__name__}, {'streamed' if stream else 'whole'}, {name} "
                      f"# {1000 * (time.monotonic() - left):.0f} ms", flush=True)
        house.until("no lease is left",
                    lambda: network_node.nodes()["n"]["state"]["lock_count"] == 0, SOON)
        status, text = house.call(network_node.public, "POST", "/v1/chat/completions", {
            "model": house.TINY, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2})
        assert status == 200, text
        print(f"ok {number + 1} - the next one is served")


main()
