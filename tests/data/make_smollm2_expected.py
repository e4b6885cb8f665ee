#!/usr/bin/env python3
"""Make tests/data/smollm2_expected.json: transformers' answers of SmolLM2-135M-Instruct.

    pip install torch transformers numpy jinja2
    python3 make_smollm2_expected.py "$(../../examples/fetch_model.sh)"

    {"prompts": [{"messages" or "text", "rendered"?, "ids", "answer",
      "f32": {"tokens": [48 ids], "top": [48 x [[id, logprob] x 5]], "min_gap"},
      "bf16": {"choices": [48 ids], "gaps": [48 numbers]}}]}

f32: float32 arithmetic over the bfloat16 weights, greedy, end tokens not heeded. bf16: bfloat16
arithmetic, fed the tokens of f32 in one pass; choices[i] is what it would have taken in place of
tokens[i], gaps[i] the difference between its two largest logits.
"""

import json
import pathlib
import sys

import torch
import transformers

STEPS = 48
PROMPTS = [
    [{"role": "user", "content": "What is the capital of France?"}],
    [{"role": "user", "content": "Write a short poem about the sea."}],
    [
        {"role": "system", "content": "You are a patient teacher who answers in two sentences."},
        {"role": "user", "content": "Why is the sky blue?"},
    ],
    [
        {"role": "user", "content": "My name is Ada and I am 36 years old."},
        {"role": "assistant", "content": "Hello Ada! How can I help you today?"},
        {"role": "user", "content": "How old will I be in 10 years?"},
    ],
    "The quick brown fox jumps over the lazy dog. The dog",
    "def fibonacci(n):\n    \"\"\"Return the n-th number.\"\"\"\n",
]


def load(folder, dtype):
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=dtype, attn_implementation="eager"
    )
    return model.eval()


def logits_of(model, ids, rows):
    with torch.no_grad():
        return model(torch.tensor([ids]), logits_to_keep=rows).logits[0].float()


def gap(top):
    return float(top.values[0] - top.values[1])


def greedy(model, ids):
    """Tokens, the five best of each step, the smallest gap."""
    tokens, best, smallest = [], [], float("inf")
    for _ in range(STEPS):
        logprobs = torch.log_softmax(logits_of(model, ids + tokens, 1)[-1], -1)
        top = torch.topk(logprobs, 5)
        tokens.append(int(top.indices[0]))
        best.append([[int(i), round(float(v), 6)] for i, v in zip(top.indices, top.values)])
        smallest = min(smallest, gap(top))
    return tokens, best, smallest


def main():
    folder = pathlib.Path(sys.argv[1])
    transformers.utils.logging.disable_progress_bar()
    tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(folder)
    full, half = load(folder, torch.float32), load(folder, torch.bfloat16)
    prompts = []
    for prompt in PROMPTS:
        entry = {"text": prompt} if isinstance(prompt, str) else {"messages": prompt}
        if "messages" in entry:
            entry["rendered"] = tokenizer.apply_chat_template(
                prompt, tokenize=False, add_generation_prompt=True
            )
        ids = tokenizer.encode(entry.get("rendered", prompt), add_special_tokens=False)
        tokens, best, smallest = greedy(full, ids)
        fed = [torch.topk(row, 2) for row in logits_of(half, ids + tokens[:-1], STEPS)]
        entry.update(
            ids=ids,
            answer=tokenizer.decode(tokens),
            f32={"tokens": tokens, "top": best, "min_gap": round(smallest, 5)},
            bf16={
                "choices": [int(top.indices[0]) for top in fed],
                "gaps": [round(gap(top), 4) for top in fed],
            },
        )
        same = sum(a == b for a, b in zip(tokens, entry["bf16"]["choices"]))
        print(f"gap {smallest:.5f}, bf16 agrees in {same} of {STEPS}: {entry['answer']!r}")
        prompts.append(entry)
    lines = ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in prompts)
    target = pathlib.Path(__file__).parent / "smollm2_expected.json"
    target.write_text('{"prompts": [\n' + lines + "\n]}\n", "utf-8")


if __name__ == "__main__":
    main()
