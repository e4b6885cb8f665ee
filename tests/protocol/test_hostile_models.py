"""Models that lie: each file of the small checkpoints damaged in many ways, also while it is loaded.
A worker must end with exit code 1 and an error that names the file (or, where a field or a tensor is
wrong, that), never by a signal, and never load what is damaged."""
import concurrent.futures
import copy
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import time

import house

CHECKPOINTS = os.path.dirname(house.TINY)
SHARDED, SINGLE = "qwen2", ("qwen2-tied", "llama3", "qwen3")
VANISHING_ROUNDS = 30
DEEP = b"[" * 10 ** 6


def serve(folder, model, environment=None, act=None):
    """Exit status and stderr of a worker; act: called while it loads. It is ended when it is ready."""
    process = subprocess.Popen(
        [house.GONKAHOST, "--log-level=info", "serve", model, "--unix-socket",
         os.path.join(folder, f"s{random.random()}")], stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True, errors="replace", env={**os.environ, **(environment or {})})
    if act:
        act()
    said = []
    for line in process.stderr:
        said.append(line)
        if " serve: ready " in line:
            process.terminate()
    return process.wait(30), "".join(said)


# ---- damage; each gives (name, change of the folder, words of which the error must have one) ----

def whole_file(name):
    def cut(at):
        def change(path):
            size = os.path.getsize(path)
            os.truncate(path, at if at >= 0 else size + at)
        return change

    def write(data):
        def change(path):
            with open(path, "wb") as file:
                file.write(data)
        return change

    def loop(path):
        os.remove(path)
        os.symlink(os.path.basename(path), path)

    def folder(path):
        os.remove(path)
        os.mkdir(path)

    changes = {"missing": os.remove, "empty": cut(0), "one byte": cut(1), "cut": cut(-3),
               "half": lambda p: os.truncate(p, os.path.getsize(p) // 2), "zeros": write(bytes(5000)),
               "noise": write(random.Random(1).randbytes(5000)), "deep": write(DEEP), "array": write(b"[]"),
               "null": write(b"null"), "latin": write(b'{"a":"\xe9"}'), "a loop": loop, "a folder": folder}
    return [(f"{name}: {what}", lambda folder, change=change: change(os.path.join(folder, name)), (name,))
            for what, change in changes.items()]


def json_values(name, edits):
    """edits: (path of keys, value, words)."""
    def change(folder, keys, value):
        path = os.path.join(folder, name)
        with open(path) as file:
            tree = json.load(file)
        at = tree
        for key in keys[:-1]:
            at = at[key]
        if value is json:  # stands for "not there"
            del at[keys[-1]]
        else:
            at[keys[-1]] = value
        with open(path, "w") as file:
            json.dump(tree, file)
    return [(f"{name}: {'.'.join(map(str, keys))} = {'absent' if value is json else str(value)[:30]}",
             lambda folder, keys=keys, value=value: change(folder, keys, value), words)
            for keys, value, words in edits]


def config():
    edits = []
    for key in ("hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
                "vocab_size", "intermediate_size"):
        for value in (0, -1, 10 ** 18, 2 ** 63, 2 ** 31, "x", [], None if key != "num_key_value_heads"
                      else 0.5, 7.5, 10 ** 400):
            edits.append(((key,), value, (key, "config.json", "shape", "tensor")))
    for key, value in (("architectures", ["NobodyForCausalLM"]), ("architectures", []),
                       ("architectures", 7), ("architectures", json), ("hidden_act", "nothing"),
                       ("rope_theta", -1), ("rope_theta", "x"), ("rms_norm_eps", "x"),
                       ("rms_norm_eps", -1), ("max_position_embeddings", 0),
                       ("max_position_embeddings", -5), ("num_attention_heads", 11),
                       ("num_key_value_heads", 5), ("torch_dtype", "float7"),
                       ("rope_scaling", {"rope_type": "nothing"}), ("rope_scaling", 7),
                       ("head_dim", -1), ("head_dim", 10 ** 9),
                       ("quantization_config", {"quant_method": "nothing"}),
                       ("quantization_config", 7)):
        edits.append(((key,), value, (key, "config.json", "Nobody", "shape", "head")))
    return json_values("config.json", edits)


def tokenizer():
    names = ("tokenizer.json", "both have the id")
    edits = [(("model", "vocab", "!"), value, names) for value in (-1, 10 ** 9, 2 ** 63, 0.5, "x", 1, 407)]
    edits += [(("model", key), value, names) for key, value in (
        ("vocab", {}), ("vocab", []), ("vocab", json), ("vocab", {"a": 0}), ("merges", 7),
        ("merges", ["no space"[:2]]), ("merges", [["h"]]), ("merges", [["h", "e", "y"]]),
        ("merges", [["nobody", "knows"]]), ("merges", [7]), ("type", "Unigram"),
        ("dropout", 0.5))]
    edits += [(("added_tokens", 0, key), value, names) for key, value in (
        ("id", -1), ("id", 10 ** 9), ("id", "x"), ("content", 7), ("content", json))]
    edits += [((key,), value, names) for key, value in (
        ("added_tokens", 7), ("model", 7), ("model", json), ("pre_tokenizer", {"type": "Nothing"}),
        ("pre_tokenizer", {"type": "Split", "pattern": {"Regex": "(?<=x"}, "behavior": "Isolated",
                           "invert": False}),
        ("pre_tokenizer", {"type": "Sequence", "pretokenizers": 7}), ("decoder", {"type": "Nothing"}),
        ("normalizer", {"type": "Nothing"}), ("normalizer", 7))]
    return json_values("tokenizer.json", edits) + json_values("tokenizer_config.json", [
        (("chat_template",), value, ("template", "tokenizer_config.json"))
        for value in ("{% if %}", "{{ " + "(" * 10 ** 5, "{% for x in %}", 7, "{% include 'x' %}")])


def read_header(data):
    size, = struct.unpack("<Q", data[:8])
    return json.loads(data[8:8 + size]), data[8 + size:]


def pack(header, data):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def safetensors(name):
    def first(header):
        return min((k for k in header if k != "__metadata__"), key=lambda k: header[k]["data_offsets"])

    def tensor(key, value):
        def make(header, data):
            header = copy.deepcopy(header)
            header[first(header)][key] = value(header[first(header)][key]) if callable(value) else value
            return pack(header, data)
        return make

    def without(header, data):
        header = dict(header)
        del header[first(header)]
        return pack(header, data)

    def twice(header, data):
        text = json.dumps(header)
        return pack((text[:-1] + f',"{first(header)}":{json.dumps(header[first(header)])}}}').encode(), data)

    changes = {
        "header of 0": lambda h, d: bytes(8) + d, "header of 1": lambda h, d: pack(b"{", d),
        "header of 2^64-1": lambda h, d: b"\xff" * 8 + d,
        "header of 2^63": lambda h, d: struct.pack("<Q", 1 << 63) + d,
        "header past the end": lambda h, d: struct.pack("<Q", len(d) + 9) + d,
        "header of 200 MB": lambda h, d: struct.pack("<Q", 200 << 20) + d,
        "header an array": lambda h, d: pack([], d), "header deep": lambda h, d: pack(DEEP, d),
        "header no text": lambda h, d: pack(b'{"\xff":1}', d), "a tensor twice": twice,
        "a tensor less": without, "data more": lambda h, d: pack(h, d + b"x"),
        "data less": lambda h, d: pack(h, d[:-2]), "no data": lambda h, d: pack(h, b""),
        "no tensors": lambda h, d: pack({}, b""),
        "begin after end": tensor("data_offsets", lambda o: [o[1], o[0]]),
        "overlap": tensor("data_offsets", lambda o: [o[0], o[1] + 2]),
        "hole": tensor("data_offsets", lambda o: [o[0] + 2, o[1]]),
        "offsets negative": tensor("data_offsets", [-2, 4]),
        "offsets huge": tensor("data_offsets", [1 << 62, 1 << 63]),
        "offsets no numbers": tensor("data_offsets", ["a", "b"]),
        "one offset": tensor("data_offsets", [0]), "no offsets": tensor("data_offsets", None),
        "shape overflows": tensor("shape", [1 << 32, 1 << 32, 1 << 32]),
        "shape wraps": tensor("shape", [1 << 63, 2]), "shape negative": tensor("shape", [-1, -2]),
        "shape other": tensor("shape", lambda s: [s[0] + 1] + s[1:]),
        "shape turned": tensor("shape", lambda s: s[::-1] + [1]), "shape no list": tensor("shape", 7),
        "shape of 10^5": tensor("shape", [1] * 10 ** 5), "dtype unknown": tensor("dtype", "F7"),
        "dtype other": tensor("dtype", "F64"), "dtype no text": tensor("dtype", 7),
    }

    def change(folder, make):
        path = os.path.join(folder, name)
        with open(path, "rb") as file:
            made = make(*read_header(file.read()))
        with open(path, "wb") as file:
            file.write(made)
    return [(f"{name}: {what}", lambda folder, make=make: change(folder, make), (name, "weight", "bias"))
            for what, make in changes.items()]


def index():
    name, shard = "model.safetensors.index.json", "model-00001-of-00003.safetensors"
    word = (name,)
    edits = [(("weight_map", "lm_head.weight"), value, words) for value, words in (
        ("../" + shard, word), ("/etc/passwd", word), ("a/../../b", word), ("", word), (7, word),
        ("nobody.safetensors", ("nobody.safetensors",)), ("model-00002-of-00003.safetensors", ("model-00002-of-00003.safetensors",)),
        ("x" * 5000, ("xxx",)), ("a\0b", word))]
    edits += [(("weight_map",), value, word) for value in ({}, [], 7, json)]
    return json_values(name, edits)


def cases():
    for name in ("config.json", "tokenizer.json", "model.safetensors.index.json",
                 "model-00002-of-00003.safetensors"):
        for case in whole_file(name):
            # Without an index another error says what there is instead.
            yield SHARDED, case if "index.json: missing" not in case[0] else (*case[:2], ("safetensors",))
    for group in (config(), tokenizer(), index(), safetensors("model-00003-of-00003.safetensors")):
        for case in group:
            yield SHARDED, case
    for checkpoint in SINGLE:
        for case in whole_file("model.safetensors")[:6] + safetensors("model.safetensors")[::4]:
            yield checkpoint, case


def run_case(job):
    checkpoint, (name, change, words) = job
    with house.Folder() as folder:
        model = os.path.join(folder, "model")
        shutil.copytree(os.path.join(CHECKPOINTS, checkpoint), model)
        change(model)
        status, said = serve(folder, model)
    errors = "".join(line for line in said.splitlines(True) if not line.startswith(("info", "warn")))
    good = status == 1 and any(word in errors for word in words) and len(errors) < 2000
    return None if good else f"{checkpoint} {name}: exit {status}: {errors[-600:]}"


def damaged():
    jobs = list(cases())
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        problems = [problem for problem in pool.map(run_case, jobs) if problem]
    assert not problems, "\n".join(problems)
    return f"{len(jobs)} damaged models"


def vanishing():
    """Files that change while they are read: the model loads whole or not at all."""
    rng = random.Random(5)
    ends = {}
    for count in range(VANISHING_ROUNDS):
        with house.Folder() as folder:
            model = os.path.join(folder, "model")
            shutil.copytree(os.path.join(CHECKPOINTS, SHARDED), model)
            path = os.path.join(model, f"model-0000{1 + count % 3}-of-00003.safetensors")

            def act():
                time.sleep(rng.random() * 0.03)
                if count % 2:
                    os.remove(path)
                else:
                    os.truncate(path, rng.randrange(os.path.getsize(path)))
            status, said = serve(folder, model, act=act)
        assert status in (0, 1), (status, said)
        assert status == 0 or os.path.basename(path) in said, said
        ends[status] = ends.get(status, 0) + 1
    return f"{VANISHING_ROUNDS} that change while they are read: {ends}"


def cache():
    """Folders of a cache that lead nowhere, round in circles, or out of it."""
    def put(path, text):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(text)

    def loop(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.symlink(os.path.basename(path), path)
    commit, other = "a" * 40, "b" * 40
    shapes = {
        "no such model": lambda r: None,
        "nothing in it": lambda r: os.makedirs(r),
        "refs a loop": lambda r: loop(f"{r}/refs/main"),
        "snapshots a loop": lambda r: (put(f"{r}/refs/main", commit), loop(f"{r}/snapshots")),
        "snapshot a loop": lambda r: (put(f"{r}/refs/main", commit), loop(f"{r}/snapshots/{commit}")),
        "ref to nothing": lambda r: put(f"{r}/refs/main", commit),
        "ref that leaves": lambda r: put(f"{r}/refs/main", "../../../../etc"),
        "ref of much": lambda r: put(f"{r}/refs/main", "x" * 10 ** 6),
        "ref empty": lambda r: put(f"{r}/refs/main", ""),
        "ref a folder": lambda r: os.makedirs(f"{r}/refs/main"),
        "two snapshots": lambda r: (os.makedirs(f"{r}/snapshots/{commit}"),
                                    os.makedirs(f"{r}/snapshots/{other}")),
        "config a loop": lambda r: (put(f"{r}/refs/main", commit),
                                    loop(f"{r}/snapshots/{commit}/config.json")),
        "blob missing": lambda r: (put(f"{r}/refs/main", commit), os.makedirs(f"{r}/snapshots/{commit}"),
                                   os.symlink("../../blobs/x", f"{r}/snapshots/{commit}/config.json")),
    }
    for name, shape in shapes.items():
        with house.Folder() as folder:
            shape(os.path.join(folder, "hub", "models--an--example"))
            status, said = serve(folder, "an/example", {
                "HF_HOME": folder, "HF_HUB_CACHE": os.path.join(folder, "hub"), "HF_HUB_OFFLINE": "1"})
        errors = "".join(line for line in said.splitlines(True) if line.startswith(("error", "gonkahost")))
        assert status == 1 and ("example" in errors or "refs/main" in errors) and len(errors) < 4000, (name, status, said[-800:])
        assert name != "two snapshots" or (commit in errors and other in errors), errors
    return f"{len(shapes)} damaged caches"


def main():
    tests = (damaged, vanishing, cache)
    print(f"1..{len(tests)}")
    for number, test in enumerate(tests, 1):
        begun = time.monotonic()
        print(f"ok {number} - {test()} # {time.monotonic() - begun:.1f} s", flush=True)


sys.exit(main())
