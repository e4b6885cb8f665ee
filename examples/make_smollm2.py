#!/usr/bin/env python3
"""Lay SmolLM2-135M-Instruct into a Hugging Face cache, made from its GGUF file.

    make_smollm2.py find [--cache FOLDER]              print the snapshot's folder; 1: not there
    make_smollm2.py make [--cache FOLDER] GGUF         make it and print the folder

fetch_model.sh does both and gets what is needed in between. "make" needs the Python packages gguf
and numpy, "find" nothing. The folder of the cache is found as the hub's own programs find it, unless
it is given.

What appears is an ordinary repository of the cache, bfloat16 weights, which every program that
reads the cache loads offline. It is the revision gguf-q4_1, since its weights went through four
bits; it becomes "main" as well, unless another main is there already. Blobs, snapshot and references
appear in this order, each by a rename, so that an interrupted run leaves nothing half made and two
runs at once do not harm each other.
"""

import argparse
import hashlib
import json
import os
import pathlib
import struct
import sys
import tempfile

REPOSITORY = "HuggingFaceTB/SmolLM2-135M-Instruct"
REVISION = "gguf-q4_1"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
FILES = [
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
]
CONTROL = 3  # a GGUF token type: never the result of merges


class Failure(Exception):
    """Told in one line, without a trace."""


# ---------------------------------------------------------------------------------- the cache


def cache_folder(given):
    """Where the hub's programs look, first that is set."""
    env = os.environ.get
    if given:
        path = given
    elif env("HF_HUB_CACHE") or env("HUGGINGFACE_HUB_CACHE"):
        path = env("HF_HUB_CACHE") or env("HUGGINGFACE_HUB_CACHE")
    elif env("HF_HOME"):
        path = os.path.join(env("HF_HOME"), "hub")
    elif env("XDG_CACHE_HOME"):
        path = os.path.join(env("XDG_CACHE_HOME"), "huggingface", "hub")
    else:
        path = os.path.join("~", ".cache", "huggingface", "hub")
    return pathlib.Path(path).expanduser()


def repository_folder(cache):
    return cache / ("models--" + REPOSITORY.replace("/", "--"))


def whole_safetensors(path):
    """Whether the file is as long as its header says."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    end = max(t["data_offsets"][1] for n, t in header.items() if n != "__metadata__")
    return path.stat().st_size == 8 + length + end


def whole(snapshot):
    """Whether every file is there; whatever is wrong with one, it is not."""
    try:
        return all((snapshot / name).is_file() for name in FILES) and whole_safetensors(
            snapshot / "model.safetensors"
        )
    except Exception:  # pylint: disable=broad-except
        return False


def find(cache):
    """The snapshot's folder, or None."""
    repository = repository_folder(cache)
    try:
        commit = (repository / "refs" / REVISION).read_text("ascii").strip()
    except (OSError, ValueError):
        return None
    snapshot = repository / "snapshots" / commit
    return snapshot if commit and whole(snapshot) else None


def write_atomically(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            os.fchmod(file.fileno(), 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def blob_name(path):
    """Large files are named by their sha256, small ones as git names a blob."""
    size = path.stat().st_size
    digest = hashlib.sha256() if size > 1 << 24 else hashlib.sha1(b"blob %d\0" % size)
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def install(work, repository):
    """Move the files of a folder below repository into the cache's layout."""
    names = {name: blob_name(work / name) for name in FILES}
    listing = "".join(f"{name} {names[name]}\n" for name in FILES)
    commit = hashlib.sha1(listing.encode()).hexdigest()
    snapshot = repository / "snapshots" / commit
    blobs = repository / "blobs"
    blobs.mkdir(exist_ok=True)
    snapshot.parent.mkdir(exist_ok=True)
    links = work / "links"
    links.mkdir()
    for name, blob in names.items():
        try:
            os.symlink(os.path.join("..", "..", "blobs", blob), links / name)
            os.replace(work / name, blobs / blob)
        except (NotImplementedError, PermissionError):
            os.replace(work / name, links / name)  # a file system without links
    if not whole(snapshot):
        if snapshot.exists():
            os.rename(snapshot, work / "incomplete")
        os.rename(links, snapshot)
    write_atomically(repository / "refs" / REVISION, commit.encode())
    if not (repository / "refs" / "main").exists():
        write_atomically(repository / "refs" / "main", commit.encode())
    return snapshot


# ------------------------------------------------------------------------------ from the GGUF


def read_gguf(path):
    """The metadata as a dictionary, and the tensors by name."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    if digest.hexdigest() != GGUF_SHA256:
        raise Failure(f"{path}: sha256 {digest.hexdigest()}, {GGUF_SHA256} expected")
    try:
        import gguf
    except ImportError as error:
        raise Failure(f"the Python packages gguf and numpy are needed ({error})") from None
    reader = gguf.GGUFReader(path)
    metadata = {name: field.contents() for name, field in reader.fields.items()}
    return metadata, {tensor.name: tensor for tensor in reader.tensors}


def config(meta):
    return {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": meta["tokenizer.ggml.bos_token_id"],
        "eos_token_id": meta["tokenizer.ggml.eos_token_id"],
        "hidden_act": "silu",
        "hidden_size": meta["llama.embedding_length"],
        "initializer_range": 0.041666666666666664,
        "intermediate_size": meta["llama.feed_forward_length"],
        "max_position_embeddings": meta["llama.context_length"],
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": meta["llama.attention.head_count"],
        "num_hidden_layers": meta["llama.block_count"],
        "num_key_value_heads": meta["llama.attention.head_count_kv"],
        "pad_token_id": meta["tokenizer.ggml.padding_token_id"],
        "rms_norm_eps": float(f"{meta['llama.attention.layer_norm_rms_epsilon']:.6g}"),
        "rope_scaling": None,
        "rope_theta": meta["llama.rope.freq_base"],
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "use_cache": True,
        "vocab_size": meta["llama.vocab_size"],
    }


def generation_config(meta):
    return {
        "bos_token_id": meta["tokenizer.ggml.bos_token_id"],
        "eos_token_id": meta["tokenizer.ggml.eos_token_id"],
        "pad_token_id": meta["tokenizer.ggml.padding_token_id"],
    }


def added_tokens(meta):
    """Id and flags of each special token."""
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    tokens, types = meta["tokenizer.ggml.tokens"], meta["tokenizer.ggml.token_type"]
    return {
        number: {"content": content, **flags, "special": True}
        for number, (content, kind) in enumerate(zip(tokens, types))
        if kind == CONTROL
    }


def tokenizer(meta):
    if (meta["tokenizer.ggml.model"], meta["tokenizer.ggml.pre"]) != ("gpt2", "smollm"):
        raise Failure("the GGUF's tokenizer is not the expected gpt2/smollm")
    level = {"add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": i, **flags} for i, flags in added_tokens(meta).items()],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Digits", "individual_digits": True},
                {"type": "ByteLevel", **level},
            ],
        },
        "post_processor": None,
        "decoder": {"type": "ByteLevel", **level},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": {t: i for i, t in enumerate(meta["tokenizer.ggml.tokens"])},
            "merges": meta["tokenizer.ggml.merges"],
        },
    }


def tokenizer_config(meta):
    def token(name):
        return meta["tokenizer.ggml.tokens"][meta[f"tokenizer.ggml.{name}_token_id"]]

    return {
        "add_prefix_space": False,
        "added_tokens_decoder": {str(i): flags for i, flags in added_tokens(meta).items()},
        "bos_token": token("bos"),
        "chat_template": meta["tokenizer.chat_template"],
        "clean_up_tokenization_spaces": False,
        "eos_token": token("eos"),
        "model_max_length": meta["llama.context_length"],
        "pad_token": token("padding"),
        # A class that takes tokenizer.json as it is; GPT2Tokenizer would drop the digits' rule.
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": token("unknown"),
    }


def tensor_names(meta):
    """(name in the checkpoint, name in the GGUF, heads whose rotary rows are interleaved or 0)."""
    heads = meta["llama.attention.head_count"]
    kv_heads = meta["llama.attention.head_count_kv"]
    yield "model.embed_tokens.weight", "token_embd.weight", 0
    for layer in range(meta["llama.block_count"]):
        for ours, theirs, interleaved in [
            ("input_layernorm", "attn_norm", 0),
            ("mlp.down_proj", "ffn_down", 0),
            ("mlp.gate_proj", "ffn_gate", 0),
            ("mlp.up_proj", "ffn_up", 0),
            ("post_attention_layernorm", "ffn_norm", 0),
            ("self_attn.k_proj", "attn_k", kv_heads),
            ("self_attn.o_proj", "attn_output", 0),
            ("self_attn.q_proj", "attn_q", heads),
            ("self_attn.v_proj", "attn_v", 0),
        ]:
            yield f"model.layers.{layer}.{ours}.weight", f"blk.{layer}.{theirs}.weight", interleaved
    yield "model.norm.weight", "output_norm.weight", 0


def bfloat16(values):
    """Rounded to nearest, ties to even. No weight is infinite or not a number."""
    import numpy

    bits = numpy.ascontiguousarray(values, dtype="<f4").view("<u4")
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("<u2")


def checkpoint_values(tensor, interleaved):
    from gguf import quants

    values = quants.dequantize(tensor.data, tensor.tensor_type)
    if interleaved:
        # Rows 2i and 2i + 1 of a head are its rows i and i + half.
        rows, columns = values.shape
        half = rows // interleaved // 2
        values = values.reshape(interleaved, half, 2, columns).swapaxes(1, 2)
        values = values.reshape(rows, columns)
    return values


def write_safetensors(path, meta, tensors):
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    names = list(tensor_names(meta))
    if {theirs for _, theirs, _ in names} != set(tensors):
        raise Failure("the GGUF's tensors are not those of a tied Llama")
    for ours, theirs, _ in names:
        shape = [int(n) for n in reversed(tensors[theirs].shape)]
        size = 2 * int(tensors[theirs].n_elements)
        header[ours] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, theirs, interleaved in names:
            file.write(bfloat16(checkpoint_values(tensors[theirs], interleaved)).tobytes())
        file.flush()
        os.fsync(file.fileno())
        os.fchmod(file.fileno(), 0o644)


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", "utf-8")


def make(cache, gguf):
    meta, tensors = read_gguf(gguf)
    repository = repository_folder(cache)
    repository.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=repository, prefix=".new-") as folder:
        work = pathlib.Path(folder)
        write_json(work / "config.json", config(meta))
        write_json(work / "generation_config.json", generation_config(meta))
        write_json(work / "tokenizer.json", tokenizer(meta))
        write_json(work / "tokenizer_config.json", tokenizer_config(meta))
        write_safetensors(work / "model.safetensors", meta, tensors)
        return install(work, repository)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("find", "make"):
        command = commands.add_parser(name)
        command.add_argument("--cache", help="the folder that holds models--...")
    command.add_argument("gguf", help="SmolLM2-135M-Instruct.Q4_1.gguf")
    arguments = parser.parse_args()
    cache = cache_folder(arguments.cache)
    snapshot = find(cache)
    if snapshot is None and arguments.command == "make":
        try:
            snapshot = make(cache, arguments.gguf)
        except (Failure, OSError) as error:
            sys.exit(f"make_smollm2.py: {error}")
    if snapshot is None:
        return 1
    print(snapshot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
