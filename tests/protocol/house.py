"""Nodes of this build, started on free ports of this machine, for the protocol tests."""
import http.client
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
GONKAHOST = os.environ.get("GONKAHOST", os.path.join(ROOT, "build", "cli", "gonkahost"))
TINY = os.path.join(ROOT, "tests", "data", "checkpoints", "qwen2")
PATIENCE = 60


def skip_unless(package):
    """End here, and say so in TAP, where a Python package is not installed."""
    if importlib.util.find_spec(package) is None:
        print(f"1..0 # SKIP the Python package {package} is not installed")
        sys.exit(0)


def call(port, method, path, body=None, headers=None, timeout=PATIENCE):
    """One exchange: status, body as text."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    sent = {"Content-Type": "application/json"} if headers is None else headers
    data = body if body is None or isinstance(body, (str, bytes)) else json.dumps(body)
    connection.request(method, path, data, sent)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def until(what, probe, patience=PATIENCE):
    """Wait until probe() answers something true, and answer that."""
    deadline = time.monotonic() + patience
    while True:
        try:
            found = probe()
        except (OSError, http.client.HTTPException, ValueError):
            found = None
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {patience} s")
        time.sleep(0.02)


class Program:
    """A gonkahost process; "with" ends it, and shows its log when the test failed."""

    def __init__(self, *arguments):
        self.arguments = [GONKAHOST, "--log-level=info", *arguments]
        self.log = tempfile.NamedTemporaryFile("w+", prefix="gonkahost-", suffix=".log")
        self.process = subprocess.Popen(self.arguments, stdout=subprocess.PIPE, stderr=self.log,
                                        text=True)

    def announced(self):
        """The line that a node prints when its sockets listen."""
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(f"{self.arguments[2]} did not start: {self.tail()}")
        return json.loads(line)

    def tail(self):
        with open(self.log.name) as log:
            return "".join(log.readlines()[-15:])

    def kill(self):
        self.process.kill()
        self.process.wait()

    def memory(self):
        """Resident bytes."""
        with open(f"/proc/{self.process.pid}/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def children(self):
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children") as main_thread:
            found = main_thread.read().split()
        for task in os.listdir(f"/proc/{self.process.pid}/task"):
            try:
                with open(f"/proc/{self.process.pid}/task/{task}/children") as children:
                    found += children.read().split()
            except FileNotFoundError:
                pass  # a thread that has ended meanwhile
        return sorted({int(pid) for pid in found})

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()
                if kind is None:
                    raise AssertionError(f"{self.arguments[2]} did not end") from None
            if kind is None and self.process.returncode not in (0, -signal.SIGKILL):
                raise AssertionError(f"{self.arguments[2]}: exit status {self.process.returncode}: "
                                     f"{self.tail()}")
        if kind is not None:
            print(f"--- {self.arguments[2]}\n{self.tail()}")
        self.process.stdout.close()
        self.log.close()


class NetworkNode(Program):
    def __init__(self, data_dir, *arguments, admin_port=0):
        super().__init__("network-node", "--data-dir", data_dir, "--public-port", "0",
                         "--callback-port", "0", "--admin-port", str(admin_port), *arguments)
        ports = self.announced()
        self.public, self.admin = ports["public_port"], ports["admin_port"]
        self.callback = ports["callback_port"]

    def nodes(self):
        return {n["node"]["id"]: n for n in json.loads(call(self.admin, "GET", "/admin/v1/nodes")[1])}

    def register(self, node, inference_node, model, *args, max_concurrent=500):
        status, text = call(self.admin, "POST", "/admin/v1/nodes", {
            "id": node, "host": "127.0.0.1", "inference_port": inference_node.inference,
            "poc_port": inference_node.management, "max_concurrent": max_concurrent,
            "models": {model: {"args": list(args)}}})
        assert status == 200, text

    def await_model(self, model):
        def served():
            data = json.loads(call(self.public, "GET", "/v1/models")[1])["data"]
            return model in [m["id"] for m in data]
        until(f"{model} is served", served)


class InferenceNode(Program):
    def __init__(self, *arguments):
        self.folder = None
        if "--data-dir" not in arguments:
            self.folder = tempfile.TemporaryDirectory(prefix="gonkahost-")
            arguments = (*arguments, "--data-dir", self.folder.name)
        super().__init__("inference-node", "--port", "0", "--inference-port", "0", *arguments)
        ports = self.announced()
        self.management, self.inference = ports["port"], ports["inference_port"]


class Worker(Program):
    """A worker, ready when "with" hands it out."""

    def __init__(self, model, *arguments):
        super().__init__("serve", model, "--host", "127.0.0.1", "--port", "0", *arguments)
        self.port = self.announced()["port"]

    def __enter__(self):
        def ready():
            assert self.process.poll() is None, self.tail()
            return call(self.port, "GET", "/health")[0] == 200
        until("the worker is ready", ready)
        return self


def roomy(size):
    """size, or much more where a sanitizer keeps what was freed."""
    with open(GONKAHOST, "rb") as program:
        text = program.read()
    sanitized = b"__asan_init" in text or b"__tsan_init" in text
    return size * 10 if sanitized else size


class Folder:
    """A temporary folder."""

    def __enter__(self):
        self.path = tempfile.mkdtemp(prefix="gonkahost-")
        return self.path

    def __exit__(self, *_):
        shutil.rmtree(self.path, ignore_errors=True)


def metric(port, name):
    """Sum of a metric's samples in /metrics."""
    total = 0.0
    for line in call(port, "GET", "/metrics")[1].splitlines():
        if line.startswith(name + "{") or line.startswith(name + " "):
            total += float(line.rsplit(" ", 1)[1])
    return total


class Stream:
    """A streamed chat answer, event by event."""

    def __init__(self, port, request, timeout=PATIENCE):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
        self.connection.request("POST", "/v1/chat/completions", json.dumps({**request, "stream": True}),
                                {"Content-Type": "application/json"})
        self.answer = self.connection.getresponse()
        assert self.answer.status == 200, (self.answer.status, self.answer.read())

    def events(self):
        """Parsed events up to [DONE]; an answer that breaks off raises."""
        while True:
            line = self.answer.readline()
            if not line:
                raise AssertionError("the stream ended without [DONE]")
            if not line.startswith(b"data: "):
                continue
            data = line[6:].strip()
            if data == b"[DONE]":
                return
            event = json.loads(data)
            if "error" in event:
                raise AssertionError(event["error"]["message"])
            yield event

    def close(self):
        self.connection.close()


def content(event):
    """What an event adds to the answer of choice 0."""
    return "".join(c["delta"].get("content") or "" for c in event["choices"])
