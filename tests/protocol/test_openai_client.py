"""The official openai client against a worker: chat, streams, logprobs, completions, models."""
import json

import house

house.skip_unless("openai")
import openai  # noqa: E402

MODEL = "tiny"
MESSAGES = [{"role": "user", "content": "What is the weather like today?"}]


def models(client):
    assert [m.id for m in client.models.list().data] == [MODEL]
    assert client.models.list().data[0].owned_by == "vllm"


def chat(client):
    answer = client.chat.completions.create(
        model=MODEL, messages=MESSAGES, max_tokens=12, seed=7, logprobs=True, top_logprobs=5)
    choice = answer.choices[0]
    assert choice.message.role == "assistant" and choice.finish_reason in ("stop", "length")
    entries = choice.logprobs.content
    assert len(entries) == answer.usage.completion_tokens
    assert all(len(e.top_logprobs) == 5 and e.top_logprobs[0].token == e.token for e in entries)
    assert all(int(e.token) >= 0 and -9999 <= e.logprob <= 0 for e in entries)
    data = bytes(b for e in entries for b in e.bytes)
    assert data.decode().startswith(choice.message.content)
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def stream(client):
    asked = {"model": MODEL, "messages": MESSAGES, "max_tokens": 40, "seed": 11, "n": 2,
             "logprobs": True, "top_logprobs": 2}
    whole = client.chat.completions.create(**asked)
    texts, counts, finish, usage = ["", ""], [0, 0], [None, None], None
    for chunk in client.chat.completions.create(
            **asked, stream=True, stream_options={"include_usage": True}):
        assert chunk.object == "chat.completion.chunk"
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            counts[choice.index] += len(choice.logprobs.content) if choice.logprobs else 0
            finish[choice.index] = choice.finish_reason or finish[choice.index]
        usage = chunk.usage or usage
    assert texts == [c.message.content for c in whole.choices], texts
    assert finish == [c.finish_reason for c in whole.choices]
    assert usage.completion_tokens == whole.usage.completion_tokens == sum(counts)


def completions(client):
    asked = {"model": MODEL, "prompt": ["The children", [279, 384]], "max_tokens": 6, "seed": 1,
             "logprobs": 1}
    answer = client.completions.create(**asked, echo=True)
    assert [c.index for c in answer.choices] == [0, 1]
    assert answer.choices[0].text.startswith("The children")
    assert answer.choices[0].logprobs.token_logprobs[0] is None
    plain = client.completions.create(**asked)
    texts = ["", ""]
    for chunk in client.completions.create(**asked, stream=True):
        for choice in chunk.choices:
            texts[choice.index] += choice.text
    assert texts == [c.text for c in plain.choices]
    assert answer.choices[0].text == "The children" + texts[0]


def errors(client):
    for kind, fields in ((openai.NotFoundError, {"model": "nobody"}),
                         (openai.BadRequestError, {"n": 0}),
                         (openai.BadRequestError, {"temperature": "hot"})):
        try:
            client.chat.completions.create(**{"model": MODEL, "messages": MESSAGES, **fields})
            raise AssertionError(f"{fields} was accepted")
        except kind as error:
            assert json.loads(error.response.text)["object"] == "error"
    stranger = openai.OpenAI(base_url=client.base_url, api_key="wrong", max_retries=0)
    try:
        stranger.models.list()
        raise AssertionError("a wrong key was accepted")
    except openai.AuthenticationError:
        pass


def main():
    with house.Worker(house.TINY, "--served-model-name", MODEL, "--api-key", "k") as worker:
        client = openai.OpenAI(base_url=f"http://127.0.0.1:{worker.port}/v1", api_key="k",
                               max_retries=0)
        tests = (models, chat, stream, completions, errors)
        print(f"1..{len(tests)}")
        for number, test in enumerate(tests, 1):
            test(client)
            print(f"ok {number} - {test.__name__}", flush=True)


main()
