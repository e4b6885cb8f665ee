#!/usr/bin/env python3
"""Make tests/data/checkpoints: tiny random models with transformers' own answers.

    pip install torch transformers safetensors tokenizers numpy jinja2
    python3 make_checkpoints.py [folder]

The unit tests need only the result, which is committed; this script says where it came from. Each
folder is a complete model folder: config.json, generation_config.json, safetensors, tokenizer.json
and tokenizer_config.json, and the expected values:

    expected.json   {"vocab", "rows", "prompts": [{"ids", "text"?, "row", "count", "greedy",
                    "min_gap"}], "chat": {"messages", "text", "ids"}}
    logits.f32      [rows, vocab], row-major little-endian float32: a prompt's rows are
                    row .. row + count - 1, one for each position of ids followed by greedy

Logits are transformers' in float32 arithmetic over the stored (perhaps 16-bit) weights, eager
attention. greedy has 32 tokens, end tokens not heeded; min_gap is the smallest difference between
the two largest logits on the way. A prompt's rows stop at its last position, except for the last
prompt, whose rows go on over the continuation (count = len(ids) + 31).
"""

import json
import pathlib
import random
import sys

import numpy
import torch
import transformers
from safetensors.torch import save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers
from tokenizers import pre_tokenizers, processors, trainers

QWEN_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA_PATTERN = QWEN_PATTERN.replace(r"\p{N}|", r"\p{N}{1,3}|", 1)

CORPUS = [
    "The river runs slowly past the old mill and the children play on its banks.",
    "A host keeps a node running, and the node keeps an answer ready for the host.",
    "What is the weather like today? The weather is mild and there is a little wind.",
    "She sells apples, pears and plums in the market; he sells bread and cheese there.",
    "They're late again, aren't they? I've told them and I'll tell them once more.",
    "One, two, three: the numbers 1, 2, 3, 10, 100 and 2024 stand in a row.",
    "Das Wetter ist schön, die Straße ist nass, und der Café ist geöffnet.",
    "Every token has a number and every number has a token in the table.",
]

CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
LLAMA_CHAT = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'"
    " + message['content'] | trim + '<|eot_id|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"
)

QWEN_SPECIALS = [("<|endoftext|>", True), ("<|im_start|>", True), ("<|im_end|>", True)]
QWEN3_SPECIALS = QWEN_SPECIALS + [("<think>", False), ("</think>", False)]
LLAMA_SPECIALS = [
    ("<|begin_of_text|>", True),
    ("<|end_of_text|>", True),
    ("<|start_header_id|>", True),
    ("<|end_header_id|>", True),
    ("<|eot_id|>", True),
]

CHAT = [
    {"role": "system", "content": "You keep it short."},
    {"role": "user", "content": "What is the weather like today?"},
]

QWEN2 = {
    "architectures": ["Qwen2ForCausalLM"],
    "attention_dropout": 0.0,
    "hidden_act": "silu",
    "initializer_range": 0.02,
    "max_position_embeddings": 512,
    "model_type": "qwen2",
    "rms_norm_eps": 1e-06,
    "rope_theta": 1000000.0,
    "sliding_window": 512,
    "tie_word_embeddings": False,
    "transformers_version": "4.43.1",
    "use_cache": True,
    "use_sliding_window": False,
}

# "gain" is the standard deviation of the logits about which the head is scaled; "seed" was chosen
# such that min_gap is comfortable.
CHECKPOINTS = {
    # 12 heads over 4: tensor-parallel 1, 2, 3, 4. No size is a multiple of 128. Three shards.
    "qwen2": {
        "config": {
            **QWEN2,
            "hidden_size": 96,
            "intermediate_size": 200,
            "num_attention_heads": 12,
            "num_hidden_layers": 3,
            "num_key_value_heads": 4,
            "max_window_layers": 3,
            "torch_dtype": "bfloat16",
            "vocab_size": 419,
        },
        "shards": 3,
        "outliers": True,
        "specials": QWEN_SPECIALS,
        "tokens": 410,
        "pattern": QWEN_PATTERN,
        "template": CHATML,
    },
    # Every K is a multiple of 128; groups of 2; float16.
    "qwen2-tied": {
        "config": {
            **QWEN2,
            "hidden_size": 128,
            "intermediate_size": 256,
            "num_attention_heads": 4,
            "num_hidden_layers": 2,
            "num_key_value_heads": 2,
            "max_window_layers": 2,
            "tie_word_embeddings": True,
            "torch_dtype": "float16",
            "vocab_size": 331,
        },
        "specials": QWEN_SPECIALS,
        "tokens": 331,
        "pattern": QWEN_PATTERN,
        "template": CHATML,
    },
    # The smallest; rope interpolated by YaRN.
    "qwen2-yarn": {
        "config": {
            **QWEN2,
            "hidden_size": 64,
            "intermediate_size": 96,
            "max_position_embeddings": 32,
            "num_attention_heads": 2,
            "num_hidden_layers": 2,
            "num_key_value_heads": 1,
            "max_window_layers": 2,
            "rope_scaling": {
                "type": "yarn",
                "factor": 4.0,
                "original_max_position_embeddings": 32,
            },
            "rope_theta": 10000.0,
            "torch_dtype": "bfloat16",
            "vocab_size": 277,
        },
        "specials": QWEN_SPECIALS,
        "tokens": 276,
        "pattern": QWEN_PATTERN,
        "template": CHATML,
    },
    # 5 heads over 1: nothing divides evenly. float32. Three layers for two stages.
    "llama3": {
        "config": {
            "architectures": ["LlamaForCausalLM"],
            "attention_bias": False,
            "attention_dropout": 0.0,
            "head_dim": 16,
            "hidden_act": "silu",
            "hidden_size": 80,
            "initializer_range": 0.02,
            "intermediate_size": 132,
            "max_position_embeddings": 512,
            "mlp_bias": False,
            "model_type": "llama",
            "num_attention_heads": 5,
            "num_hidden_layers": 3,
            "num_key_value_heads": 1,
            "pretraining_tp": 1,
            "rms_norm_eps": 1e-05,
            "rope_scaling": {
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64,
                "rope_type": "llama3",
            },
            "rope_theta": 500000.0,
            "tie_word_embeddings": False,
            "torch_dtype": "float32",
            "transformers_version": "4.43.0.dev0",
            "use_cache": True,
            "vocab_size": 301,
        },
        "specials": LLAMA_SPECIALS,
        "tokens": 299,
        "pattern": LLAMA_PATTERN,
        "template": LLAMA_CHAT,
    },
    # heads x head_dim is twice hidden; config.json as transformers 5 writes it.
    "qwen3": {
        "config": {
            "architectures": ["Qwen3ForCausalLM"],
            "attention_bias": False,
            "attention_dropout": 0.0,
            "dtype": "bfloat16",
            "head_dim": 24,
            "hidden_act": "silu",
            "hidden_size": 72,
            "initializer_range": 0.02,
            "intermediate_size": 216,
            "layer_types": ["full_attention"] * 2,
            "max_position_embeddings": 512,
            "max_window_layers": 2,
            "model_type": "qwen3",
            "num_attention_heads": 6,
            "num_hidden_layers": 2,
            "num_key_value_heads": 2,
            "rms_norm_eps": 1e-06,
            "rope_parameters": {"rope_theta": 1000000, "rope_type": "default"},
            "sliding_window": None,
            "tie_word_embeddings": True,
            "transformers_version": "5.0.0",
            "use_cache": True,
            "use_sliding_window": False,
            "vocab_size": 353,
        },
        "specials": QWEN3_SPECIALS,
        "tokens": 350,
        "pattern": QWEN_PATTERN,
        "template": CHATML,
    },
}


def make_tokenizer(spec):
    """A byte-level BPE of spec["tokens"] entries, its special tokens last."""
    llama = spec["specials"] is LLAMA_SPECIALS
    tokenizer = Tokenizer(models.BPE(ignore_merges=llama))
    if not llama:
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(spec["pattern"]), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(
            vocab_size=spec["tokens"] - len(spec["specials"]),
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        ),
    )
    for content, special in spec["specials"]:
        token = AddedToken(content, special=special, normalized=False)
        (tokenizer.add_special_tokens if special else tokenizer.add_tokens)([token])
    assert tokenizer.get_vocab_size() == spec["tokens"]
    if llama:
        begin = spec["specials"][0][0]
        tokenizer.post_processor = processors.Sequence(
            [
                processors.ByteLevel(trim_offsets=False),
                processors.TemplateProcessing(
                    single=f"{begin} $A",
                    pair=f"{begin} $A {begin}:1 $B:1",
                    special_tokens=[(begin, tokenizer.token_to_id(begin))],
                ),
            ]
        )
    else:
        tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    return tokenizer


def tokenizer_config(spec, tokenizer):
    llama = spec["specials"] is LLAMA_SPECIALS
    return {
        **({} if llama else {"add_bos_token": False, "add_prefix_space": False}),
        "added_tokens_decoder": {
            str(tokenizer.token_to_id(content)): {
                "content": content,
                "lstrip": False,
                "normalized": False,
                "rstrip": False,
                "single_word": False,
                "special": special,
            }
            for content, special in spec["specials"]
        },
        "bos_token": "<|begin_of_text|>" if llama else None,
        "chat_template": spec["template"],
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|eot_id|>" if llama else "<|im_end|>",
        "model_max_length": spec["config"]["max_position_embeddings"],
        "pad_token": "<|end_of_text|>" if llama else "<|endoftext|>",
        "tokenizer_class": "PreTrainedTokenizerFast" if llama else "Qwen2Tokenizer",
        "unk_token": None,
    }


def fill(model, spec, seed):
    """Random weights whose logits are neither flat nor ruled by one token."""
    generator = torch.Generator().manual_seed(seed)

    def normal(shape, scale):
        return torch.randn(shape, generator=generator) * scale

    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("norm.weight"):
                parameter.copy_(1.0 + normal(parameter.shape, 0.25))
            elif name.endswith(".bias"):
                parameter.copy_(normal(parameter.shape, 0.5))
            elif "embed_tokens" in name:
                parameter.copy_(normal(parameter.shape, 1.0))
            elif "lm_head" in name:
                parameter.copy_(normal(parameter.shape, 3.0 / parameter.shape[1] ** 0.5))
            else:
                parameter.copy_(normal(parameter.shape, 1.2 / parameter.shape[1] ** 0.5))
        if spec["config"]["tie_word_embeddings"]:
            # The head is the embedding: a smaller one keeps a token from answering itself, and
            # the last norm brings the logits back to size.
            model.model.embed_tokens.weight.mul_(0.15)
            model.model.norm.weight.mul_(20.0 / spec["config"]["hidden_size"] ** 0.5)
        if spec.get("outliers"):
            # As trained models have them: a few channels of the residual stream tower over the
            # rest, and a few rows of a projection are large.
            layers = model.model.layers
            layers[0].mlp.down_proj.weight[5] *= 25.0
            layers[1].mlp.up_proj.weight[17] *= 10.0
            layers[1].self_attn.o_proj.weight[70] *= 12.0
            model.lm_head.weight[:, [5, 70]] *= 0.05


def logits_of(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].float()


def greedy(model, ids, count):
    ids, out, gap = list(ids), [], float("inf")
    for _ in range(count):
        top = torch.topk(logits_of(model, ids)[-1], 2)
        gap = min(gap, float(top.values[0] - top.values[1]))
        out.append(int(top.indices[0]))
        ids.append(out[-1])
    return out, gap


def prompts_of(spec, tokenizer):
    shuffle = random.Random(7)
    vocab = spec["config"]["vocab_size"]
    text = "The children aren't late: 2024 apples stand ready, and there is a little wind."
    return [
        {"ids": [vocab - 1]},
        {"ids": [shuffle.randrange(vocab) for _ in range(9)]},
        {"ids": tokenizer.encode(text, add_special_tokens=False).ids[:36], "text": text},
    ]


def save_weights(folder, tensors, shards):
    if shards == 1:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return
    names = sorted(tensors)
    total = sum(t.numel() * t.element_size() for t in tensors.values())
    parts, used = [[] for _ in range(shards)], 0
    for name in names:
        parts[min(shards - 1, used * shards // total)].append(name)
        used += tensors[name].numel() * tensors[name].element_size()
    weight_map = {}
    for number, part in enumerate(parts, 1):
        file = f"model-{number:05d}-of-{shards:05d}.safetensors"
        save_file({n: tensors[n] for n in part}, folder / file, metadata={"format": "pt"})
        weight_map.update({n: file for n in part})
    dump(
        folder / "model.safetensors.index.json",
        {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))},
    )


def dump(path, value, indent=2):
    path.write_text(json.dumps(value, indent=indent, ensure_ascii=False) + "\n", "utf-8")


def make(folder, name, spec):
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = make_tokenizer(spec)
    eos = [tokenizer.token_to_id(t) for t in ("<|im_end|>", "<|endoftext|>", "<|eot_id|>")]
    eos = [i for i in eos if i is not None]
    bos = tokenizer.token_to_id(spec["specials"][0][0])
    config = {**spec["config"], "bos_token_id": bos, "eos_token_id": eos[0]}
    dtype = getattr(torch, config.get("torch_dtype") or config["dtype"])

    dump(folder / "config.json", dict(sorted(config.items())))
    dump(
        folder / "generation_config.json",
        {
            "bos_token_id": bos,
            "do_sample": True,
            "eos_token_id": eos if len(eos) > 1 else eos[0],
            "pad_token_id": eos[-1],
            "repetition_penalty": 1.05,
            "temperature": 0.7,
            "top_k": 20,
            "top_p": 0.8,
            "transformers_version": "4.43.1",
        },
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    dump(folder / "tokenizer_config.json", tokenizer_config(spec, tokenizer))

    model_config = transformers.AutoConfig.from_pretrained(folder)
    model_config._attn_implementation = "eager"
    prompts = prompts_of(spec, tokenizer)
    for seed in range(1000):
        model = transformers.AutoModelForCausalLM.from_config(model_config).float().eval()
        fill(model, spec, seed)
        for parameter in model.parameters():  # what is stored is what is asked
            parameter.data = parameter.data.to(dtype).float()
        results = [greedy(model, p["ids"], 32) for p in prompts]
        if min(g for _, g in results) > 0.02 and all(len(set(t)) > 12 for t, _ in results):
            break
    else:
        raise SystemExit(f"{name}: no seed gives comfortable gaps")

    tensors = {k: v.to(dtype).contiguous().clone() for k, v in model.state_dict().items()}
    if config["tie_word_embeddings"]:
        tensors.pop("lm_head.weight", None)
    save_weights(folder, tensors, spec.get("shards", 1))

    # The expected values come from the files, as another program would read them.
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    rows, row = [], 0
    for prompt, (tokens, gap) in zip(prompts, results):
        ids = prompt["ids"] + (tokens[:-1] if prompt is prompts[-1] else [])
        again, _ = greedy(model, prompt["ids"], 32)
        assert again == tokens
        rows.append(logits_of(model, ids).numpy())
        prompt.update(row=row, count=len(ids), greedy=tokens, min_gap=round(gap, 4))
        row += len(ids)
    numpy.concatenate(rows).astype("<f4").tofile(folder / "logits.f32")

    wrapped = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=spec["specials"][0][0]
    )
    text = wrapped.apply_chat_template(
        CHAT, chat_template=spec["template"], tokenize=False, add_generation_prompt=True
    )
    expected = {
        "vocab": config["vocab_size"],
        "rows": row,
        "prompts": prompts,
        "chat": {
            "messages": CHAT,
            "text": text,
            "ids": tokenizer.encode(text, add_special_tokens=False).ids,
        },
    }
    (folder / "expected.json").write_text(json.dumps(expected, ensure_ascii=False) + "\n", "utf-8")
    size = sum(f.stat().st_size for f in folder.iterdir())
    spread = float(numpy.concatenate(rows).std())
    print(f"{name}: seed {seed}, {size // 1024} KiB, logits' deviation {spread:.2f}, "
          f"gap {min(g for _, g in results):.3f}")


def main():
    here = pathlib.Path(__file__).parent / "checkpoints"
    if len(sys.argv) > 1:
        here = pathlib.Path(sys.argv[1])
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    for name, spec in CHECKPOINTS.items():
        make(here / name, name, spec)


if __name__ == "__main__":
    main()
