"""The outside world at its worst, against a worker, an inference node and a network node: whatever
comes is answered with an error that says what is wrong, or the connection ends; nothing dies, memory
stays bounded, and a well-behaved client beside it is served all the time."""
import json
import os
import random
import re
import socket
import sys
import threading
import time

import house

CHAT = "/v1/chat/completions"
MESSAGES = [{"role": "user", "content": "Hi"}]
GROWTH_MAX = house.roomy(512 << 20)  # of a process, over all of this
NEIGHBOUR_WAITS = 10  # seconds, at most, on a machine that others share
HUGE = 100 << 20

INTEGERS = ("n", "max_tokens", "max_completion_tokens", "min_tokens", "top_logprobs", "top_k", "seed",
            "best_of", "prompt_logprobs", "truncate_prompt_tokens", "priority")
REALS = ("temperature", "top_p", "min_p", "repetition_penalty", "frequency_penalty",
         "presence_penalty", "length_penalty")
OTHERS = ("messages", "model", "logit_bias", "logprobs", "stop", "stream", "stream_options",
          "response_format", "tools", "tool_choice", "user", "use_beam_search", "stop_token_ids",
          "include_stop_str_in_output", "ignore_eos", "skip_special_tokens", "allowed_token_ids",
          "echo", "add_generation_prompt", "continue_final_message", "add_special_tokens",
          "documents", "chat_template", "chat_template_kwargs", "guided_json", "guided_regex",
          "guided_choice", "request_id", "cache_salt", "enforced_str", "enforced_tokens")

# How an error about a field may name it else.
ALSO = {"max_tokens": ("context length",), "max_completion_tokens": ("max_tokens", "context length"),
        "prompt_logprobs": ("logprobs",), "stream_options": ("Stream options",), "model": ("The model `",), "tools": ("tool",), "use_beam_search": ("beam",),
        "continue_final_message": ("add_generation_prompt",), "messages": ("template",)}


def chat(model, **fields):
    return {"model": model, "messages": MESSAGES, "max_tokens": 1, **fields}


def head(path, *lines, method="POST", version="HTTP/1.1"):
    return "\r\n".join([f"{method} {path} {version}", "Host: x", *lines, "", ""]).encode()


def request(path, body, *lines, version="HTTP/1.1"):
    body = body if isinstance(body, bytes) else body.encode()
    return head(path, "Content-Type: application/json", f"Content-Length: {len(body)}", *lines,
                version=version) + body


class Raw:
    """A connection that says what it likes."""

    def __init__(self, port, timeout=20):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)

    def send(self, *pieces):
        """False: the other side has closed."""
        try:
            for piece in pieces:
                self.socket.sendall(piece)
            return True
        except (BrokenPipeError, ConnectionResetError):
            return False

    def rest(self):
        """All that comes until the other side closes."""
        got = b""
        try:
            while piece := self.socket.recv(65536):
                got += piece
        except ConnectionResetError:
            pass
        return got

    def close(self):
        self.socket.close()


def say(port, *pieces):
    """Status and answer to what is said on a connection of its own; status 0: closed without any."""
    raw = Raw(port)
    raw.send(*pieces)
    answer = raw.rest()
    raw.close()
    return int(answer[9:12]) if answer.startswith(b"HTTP/1.") else 0, answer


class Neighbour(threading.Thread):
    """An ordinary client beside all this."""

    def __init__(self, port, model):
        super().__init__(daemon=True)
        self.port, self.model, self.problem, self.slowest = port, model, None, 0
        self.served, self.over = 0, threading.Event()

    def run(self):
        while not self.over.wait(0.02):
            begun = time.monotonic()
            try:
                status, text = house.call(self.port, "POST", CHAT, chat(self.model))
                if status != 200:
                    self.problem = text
            except (OSError, house.http.client.HTTPException) as problem:
                self.problem = repr(problem)
            if self.problem:
                return
            self.slowest = max(self.slowest, time.monotonic() - begun)
            self.served += 1


class Target:
    def __init__(self, name, pid, port, path, model, bad):
        self.name, self.port, self.path, self.model, self.bad = name, port, path, model, bad
        self.pid = pid

    def cpu(self):
        """Seconds of CPU that the server's loop thread has had."""
        total = 0
        for task in os.listdir(f"/proc/{self.pid}/task"):
            with open(f"/proc/{self.pid}/task/{task}/stat") as stat:
                name, fields = stat.read().rsplit(") ", 1)
            if name.endswith("(http"):
                total += int(fields.split()[11]) + int(fields.split()[12])
        return total / os.sysconf("SC_CLK_TCK")


# ---- cases; each takes a target ----

def bodies(t):
    """100 MB, announced or in chunks; 10^6 levels; no JSON at all; no text at all."""
    def refused(what, status, answer):
        assert status in t.bad, (what, status, answer[:300])
        return answer
    status, _ = say(t.port, head(t.path, "Content-Type: application/json",
                                 f"Content-Length: {HUGE}", "Connection: close"), b"{" * 4096)
    assert status == 413, status
    chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
    status, _ = say(t.port, head(t.path, "Content-Type: application/json",
                                 "Transfer-Encoding: chunked"), *[chunk] * (HUGE >> 20), b"0\r\n\r\n")
    assert status in (413, 0), status  # 0: it hung up before we could read
    for length in (1 << 62, 1 << 63, 1 << 64, 10 ** 30):
        status, _ = say(t.port, head(t.path, f"Content-Length: {length}", "Connection: close"))
        assert status in (400, 413), (length, status)
    for text in (b"[" * 10 ** 6, b'{"messages":' * 10 ** 6, b"[" * 10 ** 6 + b"]" * 10 ** 6,
                 b'{"model":"\xff\xfe"}', b'{"model":"\xed\xa0\x80"}', b'{"model":"\\ud800"}',
                 b'{"model":"\\udc00\\ud800"}', b'\xef\xbb\xbf{}', b"", b"\0", b"{", b"nul", b"{}{}",
                 b"[]", b"7", b'"x"', b"null", b"NaN", b'{"a":Infinity}', b'{"a":1e999}',
                 b'{"a":01}', b"{'a':1}", b'{"a":1,}', b'{"\\u0000":1}', b'{"a' + b"b" * 10 ** 6):
        refused(text[:40], *say(t.port, request(t.path, text, "Connection: close")))
    # Wide rather than deep: many values in few bytes.
    for text in (b"[" + b"[]," * 5 * 10 ** 6 + b"[]]", b'{"messages":[' + b"0," * 10 ** 6 + b"0]}"):
        refused(text[:40], *say(t.port, request(t.path, text, "Connection: close")))


def fields(t):
    """Numbers out of all bounds and wrong types, in every field of a chat."""
    strange = [-1, -10 ** 9, 10 ** 9, 2 ** 31, 2 ** 63, -2 ** 63 - 1, 10 ** 400, 1e308, -1e308, 0.5,
               "x", "9" * 400, "nan", "1e999", True, [], {}, [[]], {"a": []}]
    counts = {}
    for field in INTEGERS + REALS + OTHERS:
        for value in strange + [["x"], [-1], [2 ** 31], [None], {"0": "x"}, {"-1": 1}, "", None]:
            body = json.dumps({**chat(t.model), field: value})
            status, text = house.call(t.port, "POST", CHAT, body)
            if field == "model" and "no nodes available" in text:
                continue  # how a network node says that it knows none
            assert status in (200, 400, 404), (field, str(value)[:50], status, text[:300])
            counts[status] = counts.get(status, 0) + 1
            if status == 400:
                named = any(word in text for word in (field, "out of range", *ALSO.get(field, ())))
                assert named, (field, str(value)[:50], text[:300])
    for literal in ("NaN", "Infinity", "-Infinity", "1e400", "-0", "1e-400"):
        for field in INTEGERS + REALS:
            body = json.dumps(chat(t.model))[:-1] + f',"{field}":{literal}}}'
            status, text = house.call(t.port, "POST", CHAT, body)
            assert status in (200, 400), (field, literal, status, text[:300])
            counts[status] = counts.get(status, 0) + 1
    status, text = house.call(t.port, "POST", CHAT, chat(t.model, n=10 ** 9))
    assert status == 400 and "n must be" in text, text
    assert counts[400] > counts[200], counts


def duplicates(t):
    twice = json.dumps(chat(t.model))[:-1] + ',"max_tokens":2,"max_tokens":3,"n":1,"n":1}'
    status, text = house.call(t.port, "POST", CHAT, twice)
    assert status in (200, 400), text
    many = "{" + ",".join(['"n":1'] * 10 ** 5) + "}"
    status, text = house.call(t.port, "POST", CHAT, many)
    assert status in (400, 404), text


def content(t):
    """Messages that are no messages; texts that are much."""
    for messages in ([], [{}], [[]], [None], [{"role": 7}], [{"role": "user"}],
                     [{"role": "user", "content": 7}], [{"role": "user", "content": [7]}],
                     [{"role": "user", "content": [{"type": "image_url"}]}],
                     [{"role": "nobody" * 1000, "content": {}}],
                     [{"role": "user", "content": "x" * 10 ** 6}], [{"role": "user", "content": "x"}] * 5000,
                     [{"role": "user", "content": "\u0300" * 200000}],
                     [{"role": "assistant", "content": None, "tool_calls": [{}]}]):
        status, text = house.call(t.port, "POST", CHAT, chat(t.model, messages=messages))
        assert status in (200, 400), (str(messages)[:80], status, text[:200])
    for template in ("{% for i in range(10**9) %}{% endfor %}", "{{ 'x' * 10**9 }}", "{% if %}",
                     "{{ a.b.c.d }}", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
                     "{{ messages[0]['content'] * 100000000 }}", "{" * 10 ** 5, "{{" * 10 ** 5,
                     "{{ " + "(" * 10 ** 5):
        status, text = house.call(t.port, "POST", CHAT, chat(t.model, chat_template=template))
        assert status == 400, (template[:40], status, text[:200])
    for nothing in ("", "\0", "\U0010ffff" * 10, "<|im_start|>" * 1000):
        status, text = house.call(t.port, "POST", CHAT, chat(
            t.model, messages=[{"role": "user", "content": nothing}]))
        assert status in (200, 400), (nothing[:10], status, text[:200])


def lines(t):
    """What is no HTTP, or HTTP nobody should speak."""
    good = json.dumps(chat(t.model))
    status, answer = say(t.port, request(t.path, "{}", version="HTTP/1.0"))
    assert status in t.bad, answer
    if t.path == CHAT:
        status, answer = say(t.port, request(CHAT, good, version="HTTP/1.0"))
        assert status == 200 and answer.endswith(b"}") or answer.endswith(b"}\n"), answer
        status, answer = say(t.port, request(CHAT, json.dumps(chat(t.model, stream=True)),
                                             version="HTTP/1.0"))
        assert status == 200 and answer.endswith(b"data: [DONE]\n\n"), answer
    for method in ("BREW", "get", "X" * 3000, "CONNECT", "TRACE", "PROPFIND"):
        status, answer = say(t.port, head(t.path, "Connection: close", method=method))
        assert status in (400, 405, 414, 431, 501, 0), (method[:20], answer[:200])
    for target in ("/" + "a" * 30000, "/%", "/%00", "/../../etc/passwd", "//", "*", "/\x01", "/\xff",
                   "/v1/chat/completions/%2e%2e", "http://x/nothing", "/?" + "a=b&" * 100, "/?a=" + "b" * 12000, "/;a#b",
                   "x:y", "@"):
        status, answer = say(t.port, head(target, "Connection: close", method="GET"))
        assert status in (400, 404, 405, 414, 431, 0), (target[:30], answer[:200])
    for extra in ("X: " + "y" * 30000, "Content-Length: -1", "Content-Length: 1, 2",
                  "Content-Length: 1\r\nContent-Length: 2", "Transfer-Encoding: gzip",
                  "Transfer-Encoding: chunked\r\nContent-Length: 5", "NoColon", ": empty",
                  "A:\r\n folded", "Expect: miracles\r\nContent-Length: 0",
                  "Authorization: Bearer a\rb: c\r\nContent-Length: 0", "\0: \0"):
        status, answer = say(t.port, head(t.path, "Content-Type: application/json",
                                          "Connection: close", extra))
        assert status in (400, 404, 405, 413, 417, 422, 431, 501, 0), (extra[:40], answer[:200])
    status, _ = say(t.port, head(t.path, *[f"X-{i}: y" for i in range(5000)], "Connection: close"))
    assert status in (431, 400, 413, 0), status
    # A good request, then garbage; and many in one breath.
    raw = Raw(t.port)
    raw.send(request(t.path, "{}") * 3 + b"\x16\x03\x01 garbage\r\n\r\n")
    answer = raw.rest()
    raw.close()
    assert answer.count(b"HTTP/1.1 4") >= 3, answer[-400:]
    rng = random.Random(3)
    noise = [rng.randbytes(rng.randrange(1, 4000)) + b"\r\n\r\n" for _ in range(40)]
    chunks = (b"zz\r\n", b"-1\r\n", b"ffffffffffffffff\r\nx", b"5\r\nhelloworld",
              b"1;" + b"e" * 40000)
    for said in noise:
        raw = Raw(t.port)
        raw.send(said)
        raw.close()
    # A head of a chunk that never ends holds its connection, but must not cost anything.
    stuck = Raw(t.port)
    for chunk in chunks:
        raw = stuck if chunk is chunks[-1] else Raw(t.port)
        raw.send(head(t.path, "Content-Type: application/json", "Transfer-Encoding: chunked"), chunk)
        if raw is not stuck:
            raw.close()
    time.sleep(0.2)
    before = t.cpu()
    time.sleep(0.5)
    assert t.cpu() - before < 0.25, "it spins"
    stuck.close()


def truncated(t):
    """Requests that end in the middle, at any byte; the sender waits or is gone."""
    good = request(t.path, json.dumps(chat(t.model)))
    for end in range(1, len(good), 17):
        raw = Raw(t.port)
        raw.send(good[:end])
        if end % 2:
            raw.socket.shutdown(socket.SHUT_WR)
        raw.close()


def crowd(t):
    """1000 connections that say nothing, 100 that say it slowly; beside them, service."""
    idle = [Raw(t.port) for _ in range(1000)]
    slow = [Raw(t.port) for _ in range(100)]
    good = request(t.path, "{}", "Connection: close")
    for at in range(24):
        for raw in slow:
            raw.send(good[at:at + 1])
    status, answer = say(t.port, good)
    assert status in t.bad, answer
    for raw in slow:
        raw.send(good[24:])
    for raw in slow:
        assert raw.rest().startswith(b"HTTP/1.1 4")
    for raw in idle + slow:
        raw.close()


def methods(t):
    """Every request of a thousand by another method: nothing may grow by their names."""
    for i in range(1000):
        house.call(t.port, f"M{i}", t.path)
    status, text = house.call(t.port, "GET", "/metrics")
    if status == 200:
        assert len(re.findall('method="M', text)) < 100, "a metric for each method"


CASES = (bodies, fields, duplicates, content, lines, truncated, crowd, methods)
ORDERS = (bodies, lines, truncated, crowd, methods)  # of servers that take no chats


def memory(pid):
    with open(f"/proc/{pid}/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def orders(management, admin):
    """Orders that no driver gives and nodes that no operator has."""
    up = {"model": "x", "dtype": "float16", "additional_args": []}
    for wrong in ([], {}, 7, None, {"model": 7, "dtype": [], "additional_args": "x"},
                  {**up, "additional_args": [7] * 10 ** 5}, {**up, "additional_args": {}}):
        status, text = house.call(management, "POST", "/api/v1/inference/up", wrong)
        assert status == 422 and "detail" in text and len(text) < 4 << 20, (status, text[:200])
    status, text = house.call(management, "POST", "/api/v1/inference/up",
                              json.dumps({**up, "additional_args": ["x"] * 10 ** 6}))
    assert status in (413, 200) and "OK" not in text, (status, text[:200])
    node = {"id": "a", "host": "127.0.0.1", "inference_port": 1, "poc_port": 1, "max_concurrent": 1,
            "models": {"m": {"args": []}}}
    for field, values in {
            "id": ("", 7, None, [], "x" * 10 ** 6), "host": ("", 7, "a b", "http://", "x" * 10 ** 5),
            "inference_port": (-1, 0, 65536, 1e9, "x", None), "poc_port": (-5, 10 ** 30, [], 0.5),
            "max_concurrent": (-1, 0, 2 ** 31, "x"),
            "models": ({}, [], None, {"m": 7}, {"m": {"args": 7}}, {"m": {"args": [7]}},
                       {"": {"args": []}}, {"m" * 10 ** 5: {"args": []}},
                       {"m": {"args": ["x"] * 10 ** 5}}, {f"m{i}": {} for i in range(10 ** 4)})}.items():
        for value in values:
            status, text = house.call(admin, "POST", "/admin/v1/nodes", {**node, field: value})
            assert status == 400 and json.loads(text)["error"], (field, str(value)[:60], status, text)
    twice = house.call(admin, "POST", "/admin/v1/nodes/batch", [node, node])
    assert twice[0] in (201, 206, 400), twice
    house.call(admin, "DELETE", "/admin/v1/nodes/a")
    for path in ("/admin/v1/nodes/" + "x" * 5000, "/admin/v1/nodes/%ff%fe", "/admin/v1/nodes/%00",
                 "/admin/v1/nodes/a%2Fb"):
        assert house.call(admin, "DELETE", path) == (200, "false\n"), path
    listed = json.loads(house.call(admin, "GET", "/admin/v1/nodes")[1])
    assert [n["node"]["id"] for n in listed] == ["n"], listed


def main():
    chosen = sys.argv[1:]
    with house.Folder() as folder, house.NetworkNode(folder, "--allow-unsigned") as network_node, \
            house.InferenceNode() as inference_node, house.Worker(house.TINY) as worker:
        network_node.register("n", inference_node, house.TINY)
        network_node.await_model(house.TINY)
        pids = [p.process.pid for p in (worker, inference_node, network_node)]
        targets = [
            Target("worker", pids[0], worker.port, CHAT, house.TINY, (400, 404, 422)),
            Target("inference node", pids[1], inference_node.inference, CHAT, house.TINY, (400, 404, 422)),
            Target("network node", pids[2], network_node.public, CHAT, house.TINY, (400, 404, 422)),
            Target("management", pids[1], inference_node.management, "/api/v1/inference/up", None, (422, 409, 413)),
            Target("admin", pids[2], network_node.admin, "/admin/v1/nodes", None, (400, 413)),
            Target("callback", pids[2], network_node.callback, "/v1/poc-batches/generated", None, (400, 413)),
        ]
        processes = {p.arguments[2]: p.process.pid for p in (network_node, inference_node, worker)}
        processes["its worker"], = inference_node.children()
        before = {name: memory(pid) for name, pid in processes.items()}
        neighbours = [Neighbour(t.port, house.TINY) for t in targets[:3]]
        for neighbour in neighbours:
            neighbour.start()
        count = 0
        for target in targets:
            for case in CASES if target.model else ORDERS:
                if chosen and case.__name__ not in chosen:
                    continue
                begun = time.monotonic()
                case(target)
                count += 1
                print(f"ok {count} - {target.name}: {case.__name__} # "
                      f"{time.monotonic() - begun:.1f} s", flush=True)
        if not chosen or "orders" in chosen:
            orders(inference_node.management, network_node.admin)
            count += 1
            print(f"ok {count} - orders and registrations", flush=True)
        for neighbour in neighbours:
            neighbour.over.set()
            neighbour.join()
            assert not neighbour.problem, neighbour.problem
            assert neighbour.served > 10 and neighbour.slowest < NEIGHBOUR_WAITS, neighbour.slowest
        print(f"ok {count + 1} - neighbours were served # {[n.served for n in neighbours]} times, at "
              f"most {max(n.slowest for n in neighbours):.2f} s")
        grown = {name: memory(pid) - before[name] for name, pid in processes.items()}
        assert all(more < GROWTH_MAX for more in grown.values()), grown
        assert [processes["its worker"]] == inference_node.children(), "the worker was replaced"
        print(f"ok {count + 2} - nothing died, memory is bounded # "
              f"{ {name: more >> 20 for name, more in grown.items()} } MiB")
    print(f"1..{count + 2}")


main()
