"""Many streams at once through both nodes: nothing lost, order right, memory flat, cuts clean."""
import json
import random
import sys
import threading

import house

STREAMS, CUT = 200, 50
GROWTH_MAX = 48 << 20  # of a node, between one round of streams and the next


def request(index):
    return {"model": house.TINY, "max_tokens": 24 + index % 9, "temperature": 0, "ignore_eos": True,
            "messages": [{"role": "user", "content": f"number {index % 20} " * (1 + index % 4)}]}


def whole(port, index):
    status, text = house.call(port, "POST", "/v1/chat/completions", request(index), timeout=300)
    assert status == 200, text
    return json.loads(text)["choices"][0]["message"]["content"]


class Reader(threading.Thread):
    def __init__(self, port, index, cut_after=None):
        super().__init__(daemon=True)
        self.port, self.index, self.cut_after = port, index, cut_after
        self.text, self.problem = "", None

    def run(self):
        try:
            stream = house.Stream(self.port, request(self.index), timeout=300)
            for count, event in enumerate(stream.events()):
                self.text += house.content(event)
                if self.cut_after is not None and count >= self.cut_after:
                    break
            stream.close()
        except Exception as problem:  # pylint: disable=broad-except
            self.problem = problem


def round_of(port, cut):
    chosen = set(random.Random(7).sample(range(STREAMS), CUT)) if cut else set()
    readers = [Reader(port, i, i % 7 if i in chosen else None) for i in range(STREAMS)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join(600)
        assert not reader.is_alive(), f"stream {reader.index} hangs"
        assert reader.problem is None, f"stream {reader.index}: {reader.problem}"
    return readers


def main():
    with house.Folder() as folder, house.NetworkNode(folder, "--allow-unsigned") as network_node, \
            house.InferenceNode() as inference_node:
        network_node.register("n", inference_node, house.TINY)
        network_node.await_model(house.TINY)
        expected = [whole(network_node.public, i) for i in range(180)]  # 20 x 9 kinds repeat
        expected = {i: expected[i % 180] for i in range(STREAMS)}

        def compare(readers):
            for reader in readers:
                if reader.cut_after is None:
                    assert reader.text == expected[reader.index], reader.index
                else:
                    assert expected[reader.index].startswith(reader.text), reader.index

        compare(round_of(network_node.public, cut=False))
        print(f"ok 1 - {STREAMS} streams came whole and in order")
        before = network_node.memory(), inference_node.memory()
        compare(round_of(network_node.public, cut=True))
        idle = house.until("cut streams free their KV blocks", lambda: house.metric(
            inference_node.inference, "vllm:num_requests_running") == 0 and house.metric(
            inference_node.inference, "vllm:gpu_cache_usage_perc") == 0)
        assert idle
        house.until("no lock is left", lambda: network_node.nodes()["n"]["state"]["lock_count"] == 0)
        print(f"ok 2 - {CUT} cut streams freed what they held")
        compare(round_of(network_node.public, cut=False))
        after = network_node.memory(), inference_node.memory()
        for was, now in zip(before, after):
            assert now - was < GROWTH_MAX, (before, after)
        print(f"ok 3 - memory is flat # {[(b - a) >> 10 for a, b in zip(before, after)]} KiB")
    print("1..3")


sys.exit(main())
