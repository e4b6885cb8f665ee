"""The official openai client through an inference node and through a network node."""
import house

house.skip_unless("openai")
import openai  # noqa: E402

MESSAGES = [{"role": "user", "content": "What is the weather like today?"}]


def chat(client):
    asked = {"model": house.TINY, "messages": MESSAGES, "max_tokens": 24, "seed": 5,
             "logprobs": True, "top_logprobs": 5}
    whole = client.chat.completions.create(**asked)
    entries = whole.choices[0].logprobs.content
    assert len(entries) == whole.usage.completion_tokens
    assert all(len(e.top_logprobs) == 5 for e in entries)
    text, streamed, usage = "", [], None
    for chunk in client.chat.completions.create(**asked, stream=True,
                                                stream_options={"include_usage": True}):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            text += choice.delta.content or ""
            streamed += choice.logprobs.content if choice.logprobs else []
    assert text == whole.choices[0].message.content
    assert [(e.token, e.logprob) for e in streamed] == [(e.token, e.logprob) for e in entries]
    assert usage.completion_tokens == whole.usage.completion_tokens
    return text


def expect(kind, call):
    try:
        call()
    except kind:
        return
    raise AssertionError(f"no {kind.__name__}")


def errors(client):
    expect(openai.BadRequestError, lambda: client.chat.completions.create(
        model=house.TINY, messages=MESSAGES, temperature=-1))
    expect(openai.BadRequestError, lambda: client.chat.completions.create(
        model=house.TINY, messages=[]))


def main():
    answers = []
    with house.Folder() as folder, house.NetworkNode(folder, "--allow-unsigned") as network_node, \
            house.InferenceNode() as inference_node:
        network_node.register("n", inference_node, house.TINY)
        network_node.await_model(house.TINY)
        points = [("inference node", inference_node.inference),
                  ("inference node's management port", inference_node.management),
                  ("network node", network_node.public)]
        print(f"1..{len(points) + 1}")
        for number, (name, port) in enumerate(points, 1):
            client = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="any",
                                   max_retries=0)
            assert house.TINY in [m.id for m in client.models.list().data]
            answers.append(chat(client))
            errors(client)
            print(f"ok {number} - through the {name}", flush=True)
        assert len(set(answers)) == 1, answers
        stranger = openai.OpenAI(base_url=f"http://127.0.0.1:{network_node.public}/v1",
                                 api_key="any", max_retries=0)
        expect(openai.InternalServerError, lambda: stranger.chat.completions.create(
            model="nobody", messages=MESSAGES))
        print(f"ok {len(points) + 1} - the same answer everywhere, none for an unknown model")


main()
