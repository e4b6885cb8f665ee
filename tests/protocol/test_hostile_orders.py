"""Drivers that contradict each other: orders to serve and to stop at random from many sides, workers
killed meanwhile. Every order is answered, and in the end the node does what the last one says."""
import json
import os
import random
import signal
import socket
import sys
import threading
import time

import house

DRIVERS, SECONDS = 8, 5  # each: hectic, then with pauses in which a model may load
UP = {"model": house.TINY, "dtype": "float16", "additional_args": []}


def kill_workers(node, rng):
    for pid in node.children():
        try:
            os.kill(pid, rng.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP]))
        except ProcessLookupError:
            pass


def ask_and_leave(node):
    """An order whose giver does not wait for the answer."""
    body = json.dumps(UP).encode()
    with socket.create_connection(("127.0.0.1", node.management)) as peer:
        peer.sendall(b"POST /api/v1/inference/up HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
                     % len(body) + body)


def leave_a_stream(node, rng):
    try:
        stream = house.Stream(node.inference, {"model": house.TINY, "max_tokens": 400,
                                               "messages": [{"role": "user", "content": "x"}]})
    except AssertionError:
        return  # nobody serves just now
    stream.answer.read(rng.randrange(1, 2000))
    stream.close()


class Driver(threading.Thread):
    def __init__(self, node, seed, pause):
        super().__init__(daemon=True)
        self.node, self.rng, self.pause = node, random.Random(seed), pause
        self.over, self.problem = threading.Event(), None

    def act(self):
        node, rng = self.node, self.rng
        what = rng.randrange(10)
        if what == 0:
            kill_workers(node, rng)
        elif what == 1:
            ask_and_leave(node)
        elif what == 2:
            leave_a_stream(node, rng)
        elif what < 6:
            path, body = rng.choice([("inference/up", UP), ("inference/up/async", UP),
                                     ("inference/up", {**UP, "model": "/nowhere"})])
            status, text = house.call(node.management, "POST", "/api/v1/" + path, body)
            assert status == 200 and json.loads(text)["status"] in ("OK", "ERROR", "starting"), text
        elif what < 8:
            path = rng.choice(["stop", "inference/down"])
            assert house.call(node.management, "POST", "/api/v1/" + path)[0] == 200
        else:
            begun = time.monotonic()
            path = rng.choice(["api/v1/state", "api/v1/inference/up/status", "health"])
            status, _ = house.call(node.management, "GET", "/" + path)
            assert status in (200, 503) and time.monotonic() - begun < 5, (path, status)

    def run(self):
        while not self.over.wait(self.rng.random() * self.pause):
            try:
                self.act()
            except (house.http.client.HTTPException, ConnectionError):
                pass  # a worker was killed
            except Exception as problem:  # pylint: disable=broad-except
                self.problem = problem
                return


def main():
    print("1..3")
    with house.InferenceNode() as node:
        for number, pause in enumerate((0, 1.5), 1):
            drivers = [Driver(node, seed, pause) for seed in range(DRIVERS)]
            for driver in drivers:
                driver.start()
            time.sleep(SECONDS)
            for driver in drivers:
                driver.over.set()
            for driver in drivers:
                driver.join(60)
                assert not driver.is_alive(), "an order is never answered"
                assert driver.problem is None, repr(driver.problem)
            assert house.call(node.management, "POST", "/api/v1/inference/down") == \
                (200, '{"status":"OK"}')
            assert house.call(node.management, "GET", "/api/v1/state")[1] == '{"state":"STOPPED"}'
            assert node.children() == [], node.children()
            print(f"ok {number} - {DRIVERS} drivers, pauses of up to {pause} s", flush=True)
        status, text = house.call(node.management, "POST", "/api/v1/inference/up", UP)
        assert (status, text) == (200, '{"status":"OK"}'), text
        workers = node.children()
    house.until("workers end with their node", lambda: not any(
        os.path.exists(f"/proc/{pid}/exe") for pid in workers), 5)
    print("ok 3 - it serves when told, and leaves nothing behind")


sys.exit(main())
