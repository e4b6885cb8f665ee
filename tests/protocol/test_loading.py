"""Stopping while a model loads: at once, not when it is there."""
import glob
import json
import os
import shutil
import signal
import struct
import time

import house

ROWS = 8_000_000


def tensors_of(folder):
    """Name, shape and data of each tensor."""
    for path in glob.glob(os.path.join(folder, "*.safetensors")):
        with open(path, "rb") as file:
            size, = struct.unpack("<Q", file.read(8))
            header, data = json.loads(file.read(size)), file.read()
        header.pop("__metadata__", None)
        for name, tensor in header.items():
            begin, end = tensor["data_offsets"]
            yield name, tensor["shape"], data[begin:end]


def write_large(folder):
    """The tiny model with an embedding of many rows: 1.5 GB of a hole at the end of the file."""
    with open(os.path.join(house.TINY, "config.json")) as file:
        config = json.load(file)
    with open(os.path.join(folder, "config.json"), "w") as file:
        json.dump({**config, "vocab_size": ROWS, "tie_word_embeddings": True}, file)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(os.path.join(house.TINY, name), folder)
    header, kept = {}, b""
    for name, shape, data in tensors_of(house.TINY):
        if name not in ("model.embed_tokens.weight", "lm_head.weight"):
            header[name] = {"dtype": "BF16", "shape": shape,
                            "data_offsets": [len(kept), len(kept) + len(data)]}
            kept += data
    hole = 2 * ROWS * config["hidden_size"]
    header["model.embed_tokens.weight"] = {
        "dtype": "BF16", "shape": [ROWS, config["hidden_size"]],
        "data_offsets": [len(kept), len(kept) + hole]}
    text = json.dumps(header).encode()
    with open(os.path.join(folder, "model.safetensors"), "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + kept)
        file.truncate(file.tell() + hole)


def log_of(program):
    with open(program.log.name) as log:
        return log.read()


def worker(folder):
    with house.Program("serve", folder, "--host", "127.0.0.1", "--port", "0") as program:
        port = program.announced()["port"]

        def progress():
            status, text = house.call(port, "GET", "/health")
            assert status == 503, (status, text)
            return json.loads(text)["progress"] > 0
        house.until("the model loads", progress)
        begun = time.monotonic()
        program.process.send_signal(signal.SIGTERM)
        assert program.process.wait(20) == 0
        took = time.monotonic() - begun
        log = log_of(program)
        assert "stopped while loading" in log and "loaded: numerics" not in log, log
        assert not [line for line in log.splitlines() if line.startswith("error")], log
    return took


def main():
    print("1..1")
    with house.Folder() as folder:
        write_large(folder)
        print(f"ok 1 - worker # {worker(folder) * 1000:.0f} ms", flush=True)


main()
